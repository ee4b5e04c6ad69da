"""SCRec: rows as tensor-trains on the chip of a SmartSSD, in its DRAM and in its flash, by how hot
they are (Yang, Kim and Kim, "SCRec: A Scalable Computational Storage System with Statistical
Sharding and Tensor-train Decomposition for Recommendation Models", arXiv 2504.00520, 2025).
Inference only.

Verified (abstract): SmartSSDs hold very large tables; a mixed-integer program with a cost model
shards them by statistics of accesses; cores rebuild rows out of tensor-trains. Published: up to
55.77 times a system of CPU and DRAM, 13.35 times the energy efficiency of several GPUs.
Second-hand: ids are mapped anew; rows of three levels are rebuilt on the chip, read from the
drive's DRAM, or from pages of its flash; cores add them up, others run the MLPs.

Derived: products of a row of n1 n2 n3 elements in trains of rank r, 2 n1 n2 r (r + n3), and bytes
of its cores. Ours: the placement, in which the hottest rows are trains, as many as make the slowest
level the fastest that a grid of shares has, DRAM takes as many of the next as fit, and flash all
others; the MLPs run on the GPU. Left out: several drives, the accuracy of trains, which change what
a model computes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from simulator.caches.facts import LOOKUP, BatchFacts, Flow
from simulator.caches.replays.unique import UniqueReplay
from simulator.caches.tiers import Tiering
from simulator.config.model import ModelConfig
from simulator.config.parameters import Given, Parameters
from simulator.errors import ConfigError
from simulator.hardware.access import Access
from simulator.hardware.devices.computational_ssd import ComputationalSsd
from simulator.hardware.program import GRADIENT_BYTES, Elsewhere, Operation
from simulator.hardware.tensor_train import Rebuild, TensorTrain
from simulator.hardware.topology import Topology
from simulator.systems.base import Job, require_room
from simulator.systems.in_ssd import InSsd, Lane
from simulator.traces.coverage import Coverage, coverages, even_coverage
from simulator.units import PS_PER_S

__all__ = ["ScRec", "ScRecParameters"]

Share = Annotated[float | None, Field(ge=0.0, le=1.0)]
Levels = tuple[tuple[int, int, int], ...]
"""Rows of each table as trains, in DRAM and in flash."""
_PLACED = Given("assumed", "the paper's mixed-integer program is not told")
_SHARES = (0.0, *np.geomspace(1e-6, 1.0, 120).tolist())
"""Of rows as trains, that the placement chooses from."""
_ALL = range(2**62)
_READS = 1_000_000
"""That the rate of a memory is asked for."""


class ScRecParameters(Parameters):
    """Of SCRec."""

    train_share: Annotated[Share, _PLACED] = None
    """Share of each table's rows that are tensor-trains, its hottest; 0: none; null: what makes the
    slowest of the three levels as fast as can be."""
    dram_share: Annotated[Share, _PLACED] = None
    """The same of rows in the drive's DRAM, the next ones; null: as many as there is room for."""
    rank: Annotated[int, Field(ge=1, le=1024), Given("assumed", "8 to 64 are usual")] = 16
    """Width of the matrices that a tensor-train's cores hold."""


class ScRec(InSsd):
    """Rows as tensor-trains, in DRAM and in flash of a SmartSSD (inference only)."""

    name: ClassVar[str] = "screc"
    part: ClassVar[str] = "smartssd"
    source: ClassVar[str] = "Yang, Kim and Kim, SCRec, arXiv 2504.00520, 2025 (abstract)"
    unknown: ClassVar[tuple[str, ...]] = (
        "Shape and rank of its tensor-trains, number and clock of its cores; here assumed.",
        "Weights of its mixed-integer program, and which level gets the hottest rows; here it is "
        "the trains.",
        "Whether lookups of one row are served once; here each is read or rebuilt.",
        "What its cores take for the MLPs; here the GPU runs them.",
    )
    no_training: ClassVar[str] = (
        "its drive writes no table and trains no tensor-train, and the paper says nothing of "
        "gradients"
    )
    parameters: ClassVar[type[Parameters]] = ScRecParameters
    uses: ClassVar[frozenset[str]] = frozenset({"cache.profile"})
    shown_on: ClassVar[str] = "screc_v100"

    def _rows(self, job: Job, machine: Topology) -> UniqueReplay:
        self._rank = job.parameters_as(ScRecParameters).rank
        self._levels = _Placement(job, machine, self._near.at).levels()
        tiers = Tiering(self._levels, "hottest", job.cache.profile_share, job.keep)
        return UniqueReplay(_ALL, job.parts, tiers)

    def _lookup(self, facts: BatchFacts) -> tuple[Lane, ...]:
        trains = any(rows for rows, _, _ in self._levels)
        return tuple(self._read(facts)), tuple(self._rebuilt(facts)) if trains else ()

    def _read(self, facts: BatchFacts) -> Iterator[Operation]:
        """Sums of rows in DRAM and in flash."""
        near = self._near
        for own, word in zip(near.tables, near.pooled(facts), strict=True):
            _, dram, flash = _by_level(word.rows)
            rows = replace(own.store, name=own.group.named("in_dram"), memory=f"{near.at}.dram")
            yield replace(word, rows=flash, elsewhere=Elsewhere(rows, dram))

    def _rebuilt(self, facts: BatchFacts) -> Iterator[Operation]:
        """Sums of rows that trains give."""
        for own in self._near.tables:
            model = own.group.job.model
            rows, _, _ = _by_level(own.group.of(facts)[LOOKUP])
            flops = TensorTrain(max(model.rows_per_table), model.width, self._rank).flops
            name, sums = own.group.named("rebuild"), self._near.sums(own)
            yield Rebuild(name, self._near.at, rows, sums, own.width, flops)


def _by_level(lookups: Flow) -> tuple[Flow, ...]:
    """Those of each level; none where nothing is told."""
    return tuple(Flow(count, count) for count in lookups.tiers or (0, 0, 0))


@dataclass(frozen=True)
class _Drive:
    """What a drive has for rows: picoseconds for one of each level, bytes of each."""

    name: str
    dram_room: int
    core_room: int | None
    """On-chip, for trains; None: it has no tensor cores."""
    row_ps: dict[int, tuple[float, float, float]]
    """By the dim of a row."""


class _Placement:
    """How many rows of each table lie in which level: in place of the paper's program."""

    def __init__(self, job: Job, machine: Topology, at: str) -> None:
        self._model, self._own = job.model, job.parameters_as(ScRecParameters)
        self._drive = _drive_of(job.model, self._own.rank, machine, at)
        self._rows = job.model.rows_per_table
        self._covered: Sequence[Coverage]
        if job.trace is None:
            self._covered = tuple(map(even_coverage, self._rows))
        else:
            self._covered = coverages(job.trace, self._rows, job.cache.profile_share)

    def levels(self) -> Levels:
        """Of each table.

        Raises `CapacityError` where what was asked for does not fit, `ConfigError` where the drive
        lacks tensor cores for it or the shares are more than all rows.
        """
        asked, room = self._own.train_share, self._drive.core_room
        if asked is None:
            fits = (share for share in _SHARES if self._core_bytes(share) <= (room or 0))
            return min(map(self._with_trains, fits), key=self._slowest_ps)
        if asked and room is None:
            raise ConfigError(
                f"screc: train_share is {asked:g}, but {self._drive.name} has no tensor cores: set "
                "it to 0, or name a drive with some (smartssd)"
            )
        require_room(
            f"Trains of rank {self._own.rank} for {asked:.3%} of the rows",
            self._core_bytes(asked),
            f"on-chip memory of {self._drive.name}",
            room or 0,
            "lower train_share or rank, or leave train_share out",
        )
        return self._with_trains(asked)

    def _trains(self, share: float) -> list[int]:
        """Rows of each table that are trains."""
        return [round(share * count) for count in self._rows]

    def _core_bytes(self, share: float) -> int:
        trains = zip(self._trains(share), self._model.dim, strict=True)
        return sum(TensorTrain(n, dim, self._own.rank).bytes for n, dim in trains if n)

    def _with_trains(self, share: float) -> Levels:
        """All rows, where `share` of them are trains."""
        trains = self._trains(share)
        rest = [count - n for count, n in zip(self._rows, trains, strict=True)]
        dram = self._in_dram(rest, share)
        return tuple((n, d, r - d) for n, d, r in zip(trains, dram, rest, strict=True))

    def _in_dram(self, rest: Sequence[int], trains: float) -> list[int]:
        """Rows of each table in DRAM: asked for, or as large a share of the `rest` as there is room
        for."""
        model, asked, room = self._model, self._own.dram_share, self._drive.dram_room
        need = sum(n * size for n, size in zip(rest, model.entry_bytes, strict=True))
        if asked is None:
            return [int(n * min(1.0, room / max(1, need))) for n in rest]
        if asked + trains > 1.0 + 1e-9 and self._own.train_share is not None:
            raise ConfigError(
                f"screc: train_share {trains:g} and dram_share {asked:g} are more than all rows: "
                "lower one of them"
            )
        dram = [min(n, round(asked * count)) for n, count in zip(rest, self._rows, strict=True)]
        require_room(
            f"{sum(dram):,} rows in DRAM, {asked:.3%} of all,",
            sum(n * size for n, size in zip(dram, model.entry_bytes, strict=True)),
            f"DRAM of {self._drive.name}",
            room,
            "lower dram_share, or leave it out",
        )
        return dram

    def _slowest_ps(self, levels: Levels) -> float:
        """Time of the slowest level for the lookups of a sample."""
        times = [0.0, 0.0, 0.0]
        model, covered = self._model, self._covered
        tables = zip(levels, covered, model.dim, model.table_lookups, strict=True)
        for rows, own, dim, lookups in tables:
            shares = np.diff([own.of(count) for count in np.cumsum((0, *rows))])
            for level, row_ps in enumerate(self._drive.row_ps[dim]):
                times[level] += lookups * shares[level] * row_ps
        return max(times)


def _drive_of(model: ModelConfig, rank: int, machine: Topology, at: str) -> _Drive:
    """What the computational SSD `at` has for rows of `model`."""
    part = machine.devices[at].part
    assert isinstance(part, ComputationalSsd), "its kind says so"
    cores, dram, flash = part.tensor_cores, machine.memory(f"{at}.dram"), machine.memory(at)
    row_ps = {}
    for dim in set(model.dim):
        size = dim * GRADIENT_BYTES
        asked = ((dram, size), (flash, part.flash.asked(size)))
        read = [m.timing.stream_ps(Access(m.place, _READS, n)) / _READS for m, n in asked]
        flops = TensorTrain(1, dim, rank).flops
        row_ps[dim] = (flops * PS_PER_S / cores.rate if cores else 0.0, read[0], read[1])
    return _Drive(part.name, dram.capacity, cores.memory if cores else None, row_ps)
