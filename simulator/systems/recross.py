"""ReCross: rows in DRAM at ranks, bank groups or single banks, by how hot they are ("Accelerating
Personalized Recommendation with Cross-level Near-Memory Processing", ISCA 2023).

Second-hand (a summary of the paper): the banks of a rank are three regions, 16 : 12 : 4, whose rows
are read by one adder at the rank, four at bank groups and four at banks; the hottest rows lie in
banks with adders, the long tail at ranks; a bank works on several sub-arrays at once; a mini-batch
takes as long as the slowest kind of node. A linear program places rows. Published, in inference:
15.5 times a CPU, 7.9 times RecNMP, 2.5 times TRiM-G.

The paper is about inference: how rows are trained is ours (`near_memory`). Ours as well: the
placement, in which each region takes the share of the lookups that its adders can take of all, as
far as its banks have room; how many rows of a bank are open at once (`sub_arrays` of the part).
Left out: scheduling by sub-array, several GPUs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from simulator.caches.replays.nodes import NodesReplay
from simulator.config.parameters import Given, Parameters
from simulator.errors import ConfigError
from simulator.hardware.devices.near_memory_levels import Regions
from simulator.systems.base import require_room
from simulator.systems.near_memory import OURS, NearMemorySystem, PoolParameters
from simulator.traces.coverage import Coverage, coverages, even_coverage

__all__ = ["ReCross", "ReCrossParameters"]

Share = Annotated[float | None, Field(ge=0.0, le=1.0)]
_BY_RATE = Given("derived", "the paper's linear program is not told")


class ReCrossParameters(PoolParameters):
    """Of ReCross."""

    bank_share: Annotated[Share, _BY_RATE] = None
    """Share of each table's lookups that its rows in banks with adders take, its hottest; null: the
    share of all that those adders can take."""
    group_share: Annotated[Share, _BY_RATE] = None
    """The same of rows in bank groups with adders, the next ones."""


class ReCross(NearMemorySystem):
    """Adders at ranks, bank groups and banks (an inference paper: training is ours)."""

    name: ClassVar[str] = "recross"
    source: ClassVar[str] = "ReCross, ISCA 2023 (a summary)"
    training_is_ours: ClassVar[bool] = True
    unknown: ClassVar[tuple[str, ...]] = (
        OURS,
        "What its linear program minimises in full; here shares follow what adders can take.",
        "Timing of sub-arrays; here a bank has a few rows open at once, whose columns take turns.",
    )
    parameters: ClassVar[type[Parameters]] = ReCrossParameters
    shown_on: ClassVar[str] = "recross_v100"
    keys: ClassVar[dict[str, str]] = {"cut": "horizontal", "level": "regions"}

    def _rows(self) -> NodesReplay:
        if self.near.part.cache:
            raise ConfigError(
                "recross places hot rows in banks and has no caches beside its nodes: set "
                f'platform.host.{self.near.name}.cache="0 B"'
            )
        return replace(super()._rows(), placed=self._placed())

    def _placed(self) -> tuple[tuple[int, ...], ...]:
        """Rows of each table at ranks, in bank groups and in banks.

        Raises `CapacityError` where those of a region do not fit into its banks.
        """
        model, regions = self._job.model, self._regions
        rows = model.rows_per_table
        if self._job.trace is None:
            covered: Sequence[Coverage] = tuple(map(even_coverage, rows))
        else:
            covered = coverages(self._job.trace, rows)
        shares, asked = self._shares(), self._job.parameters_as(ReCrossParameters)
        rooms = self._rooms()
        bank = self._hottest(covered, shares[2], [0] * len(rows), rooms[2], asked.bank_share)
        group = self._hottest(covered, shares[1] + shares[2], bank, rooms[1], asked.group_share)
        rest = [own - a - b for own, a, b in zip(rows, group, bank, strict=True)]
        require_room(
            f"{sum(rest):,} rows at ranks ({regions.rank_banks} of {sum(regions.banks)} banks)",
            sum(n * size for n, size in zip(rest, model.entry_bytes, strict=True)),
            f"that share of {self.near.dram}",
            rooms[0],
            "raise group_share or bank_share, or use a smaller model",
        )
        return tuple(zip(rest, group, bank, strict=True))

    @property
    def _regions(self) -> Regions:
        regions = self.near.part.regions
        assert regions is not None, "its level says so"
        return regions

    def _shares(self) -> tuple[float, float, float]:
        """Of the lookups, for each region: asked for, or what its adders can take of what is left
        for others."""
        own = self._job.parameters_as(ReCrossParameters)
        rates = self._regions.rates(self.near.part.memory, max(self._job.model.dim) * 4)
        group, bank = (rate / sum(rates) for rate in rates[1:])
        bank = bank if own.bank_share is None else own.bank_share
        group = group if own.group_share is None else own.group_share
        if bank + group > 1.0 + 1e-9 and None not in (own.bank_share, own.group_share):
            raise ConfigError(
                f"recross: bank_share {bank:g} and group_share {group:g} are more than all "
                "lookups: lower one of them"
            )
        group = min(group, 1.0 - bank)
        return 1.0 - bank - group, group, bank

    def _rooms(self) -> tuple[int, ...]:
        """Bytes of the banks of each region; none where nothing reads them."""
        regions = self._regions
        capacity, banks = self._machine.memory(self.near.dram).capacity, sum(regions.banks)
        read = (1, regions.group_adders, regions.bank_adders)
        return tuple(
            capacity * own // banks if adders else 0
            for own, adders in zip(regions.banks, read, strict=True)
        )

    def _hottest(
        self,
        covered: Sequence[Coverage],
        share: float,
        before: Sequence[int],
        room: int,
        asked: float | None,
    ) -> list[int]:
        """The hottest rows of each table that take `share` of its lookups, less those `before`: as
        many as fit into `room` bytes, or an error where they were `asked` for."""
        counts = [
            max(0, int(np.ceil(np.interp(share, own.share, own.rows))) - done)
            for own, done in zip(covered, before, strict=True)
        ]
        sizes = self._job.model.entry_bytes
        need = sum(n * size for n, size in zip(counts, sizes, strict=True))
        if need <= room:
            return counts
        if asked is None:
            return [int(n * room / need) for n in counts]
        require_room(
            f"{sum(counts):,} hot rows", need, f"their region of {self.near.dram}", room,
            "lower bank_share or group_share, or leave it out",
        )  # fmt: skip
        return counts
