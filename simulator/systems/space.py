"""SPACE: the hottest rows in HBM whose base die has adders, all others in DIMMs beside it (Kal, Lee
and Ro, "SPACE: Locality-Aware Processing in Heterogeneous Memory for Personalized Recommendations",
ISCA 2021). Answers queries alone.

Second-hand (a summary of the paper): the controller of the CPU tells ids of rows in HBM, of pair
sums and of rows in DIMMs apart; HBM gathers and adds up while rows of DIMMs come to its die as
immediates and are added there; pooled vectors go out. HBM gets the hottest rows, so that its share
of the lookups is its share of the bandwidth (about 4 : 1), and in what is left sums of frequent
pairs. Published: 3.2 times TensorDIMM in inference.

Derived: the share of the lookups that HBM takes, h* = B_HBM / (B_HBM + B_DIMM), which makes both
take as long. Sums of pairs are rows of the trace (`trace.transform: {algorithm: space}`), hot or
not as others are. No training: every update of a row would invalidate all its pair sums. Left out:
the time of telling ids apart, caches of the CPU, several GPUs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from simulator.caches.facts import HIT, LOOKUP, BatchFacts
from simulator.caches.replays.hot_nodes import HotNodesReplay
from simulator.caches.replays.static import HIT_LOOKUP, MISS_LOOKUP
from simulator.config.parameters import Given, Parameters
from simulator.hardware.devices.cpu import Cpu
from simulator.hardware.program import (
    GRADIENT_BYTES,
    Buffer,
    Elsewhere,
    Operation,
    Pool,
    Stage,
    Store,
)
from simulator.hardware.topology import Topology
from simulator.systems.base import Job, System, SystemGroup, move, require_room
from simulator.systems.groups import Group, groups_of, table_groups
from simulator.systems.mlp import dense_bytes, mlp_step
from simulator.systems.operators import pooled_bytes
from simulator.systems.pools import pool_of
from simulator.systems.schedule import Serial
from simulator.traces.coverage import coverages, even_coverage

__all__ = ["Space", "SpaceParameters", "even_share"]


def even_share(near: float, far: float) -> float:
    """The share of the lookups for a memory of `near` bytes a second that makes one beside it, of
    `far`, take as long: with it the longer of both times is as short as can be."""
    return near / (near + far)


@dataclass(frozen=True)
class _Rows:
    """Tables of one dim: the rows of them in HBM, and all in the DIMMs."""

    group: Group
    hot: Store
    cold: Store


class SpaceParameters(Parameters):
    """Of SPACE."""

    hot_share: Annotated[
        float | None,
        Field(ge=0.0, le=1.0),
        Given("second-hand", "access share as bandwidth share"),
    ] = None
    """Share of each table's lookups that its rows in HBM take; null: the share of the bandwidth
    that HBM has."""


class Space(System):
    """The hottest rows in HBM with adders, all others in DIMMs beside it; inference alone."""

    group: ClassVar[SystemGroup] = "rival"
    source: ClassVar[str] = "Kal, Lee and Ro, SPACE, ISCA 2021 (a summary)"
    unknown: ClassVar[tuple[str, ...]] = (
        "How it would train: sums of pairs do not survive an update of their rows.",
        "How much of HBM is for rows and how much for sums of pairs; here the hottest of both lie "
        "there.",
        "How fast its controller tells ids apart; here it takes no time.",
    )
    no_training: ClassVar[str] = (
        "every update of a row would invalidate all sums of pairs that hold it, so that nothing "
        "is left of them"
    )
    parameters: ClassVar[type[Parameters]] = SpaceParameters
    uses: ClassVar[frozenset[str]] = frozenset({"cache.profile"})
    refused: ClassVar[dict[str, str]] = {"gpus": "its HBM answers one GPU"}
    shown_on: ClassVar[str] = "space_v100"

    def __init__(self, job: Job, machine: Topology) -> None:
        self._job, self._machine = job, machine
        self.near = pool_of(machine, "space", self.shown_on, cut="horizontal", sums_meet="pool")
        self.gpu = machine.first("gpu", "space")
        self.cpu = machine.only("cpu", "space", near=self.gpu)
        self._dram, self._hbm = (machine.memory(place).place for place in (self.cpu, self.gpu))
        groups = groups_of(job)
        self.pinned = self._pinned()
        self._rows = tuple(
            _Rows(group, self._hot(group), cold)
            for group, cold in zip(
                groups, table_groups(groups, job, machine, self.cpu), strict=True
            )
        )
        part = self.near.part
        sizes = (dim * GRADIENT_BYTES for dim in job.model.dim)
        homes = tuple(part.homes_of(table, size) for table, size in enumerate(sizes))
        self.replay = HotNodesReplay(
            self.pinned, job.keep, job.cache.profile_share, job.parts, homes=homes
        )
        self.schedule = Serial.of("gather_reduce", "mlp")

    def _pinned(self) -> tuple[int, ...]:
        """Rows of each table in HBM: as few as take their share of the lookups.

        Raises `CapacityError` where a share that was asked for does not fit.
        """
        model, asked = self._job.model, self._job.parameters_as(SpaceParameters).hot_share
        room = self._machine.memory(self.near.dram).capacity
        share = self._even_share() if asked is None else asked
        most = [
            min(rows, room // entry)
            for rows, entry in zip(model.rows_per_table, model.entry_bytes, strict=True)
        ]
        if self._job.trace is None:
            covered = tuple(map(even_coverage, model.rows_per_table))
        else:
            covered = coverages(self._job.trace, most, self._job.cache.profile_share)
        counts = [
            min(limit, int(np.ceil(np.interp(share, own.share, own.rows))))
            for own, limit in zip(covered, most, strict=True)
        ]
        need = sum(count * entry for count, entry in zip(counts, model.entry_bytes, strict=True))
        if asked is None and need > room:
            return tuple(int(count * room / need) for count in counts)
        require_room(
            f"{sum(counts):,} rows that take {share:.1%} of the lookups",
            need,
            f"{self.near.dram} of {self._machine.name}",
            room,
            "lower hot_share, or leave it out",
        )
        return tuple(counts)

    def _even_share(self) -> float:
        """The share of the lookups that makes HBM and DIMMs take as long."""
        cpu = self._machine.devices[self.cpu].part
        assert isinstance(cpu, Cpu), "its kind says so"
        near = self.near.part
        return even_share(near.nodes * near.memory.peak_bytes_per_s, cpu.memory.peak_bytes_per_s)

    def _hot(self, group: Group) -> Store:
        """The rows of a group in HBM."""
        model = group.job.model
        return Store(
            group.named("hot"), self.near.dram, model.row_bytes, model.state_bytes, model.tables,
            slotted=True,
        )  # fmt: skip

    def stages(self, facts: BatchFacts) -> tuple[Stage, ...]:
        pools = tuple(self._pool(own, own.group.of(facts)) for own in self._rows)
        return (
            Stage("gather_reduce", (pools, self._told(facts), (self._sent(),))),
            Stage("mlp", ((mlp_step(self._job.model, self.gpu),),)),
        )

    def _pool(self, own: _Rows, facts: BatchFacts) -> Pool:
        """Lookups of rows in HBM, and of those whose rows come from the DIMMs to its die."""
        model = own.group.job.model
        into = Buffer(own.group.named("sums"), self.near.buffers, pooled_bytes(model))
        longest = facts[LOOKUP].longest
        return Pool(
            own.group.named("gather_reduce"),
            self.near.name,
            own.hot,
            facts[HIT_LOOKUP],
            into,
            max(map(max, model.lookups_per_table)) if longest is None else longest,
            features=model.features,
            elsewhere=Elsewhere(own.cold, facts[MISS_LOOKUP]),
        )

    def _told(self, facts: BatchFacts) -> tuple[Operation, ...]:
        """What HBM is told of its rows."""
        bus = self.near.part.instructions
        if bus is None:
            return ()
        size = bus.bytes_for(facts[HIT].lookups)
        return (move("instructions", self._dram, self.near.buffers, size),)

    def _sent(self) -> Operation:
        """Pooled vectors, and dense features with them, on their way to the GPU."""
        model = self._job.model
        size = pooled_bytes(model) + dense_bytes(model)
        return move("pooled_to_gpu", self.near.buffers, self._hbm, size)
