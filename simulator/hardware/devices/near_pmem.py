"""Persistent memory with logic beside it, behind a link: it gathers and adds up rows, updates them,
and adds changes to sums that are made already.

Modelled. The medium as `pmem` has it (granules, a bandwidth each for reads and writes, what mixes
lose); additions of one logic for all modules; a start of every operation. An operation takes the
slowest of these. Pooled vectors and gradients wait in static memory beside the logic.

Approximated: that memory has room for them, and is as fast as the medium reads. Ignored: that rows
read right after they were written wait longer than others; wear.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

from simulator.config.machine import Part
from simulator.config.operators import OperatorProfile
from simulator.config.types import AccessRate, Bytes, Picoseconds, Watts
from simulator.hardware.access import Access
from simulator.hardware.demand import Demand, Resource, ResourceUse, Service
from simulator.hardware.devices.base import Processor, Reach, Setup, dynamic_j
from simulator.hardware.devices.pmem import Pmem, PmemTiming
from simulator.hardware.early import Amend, EarlyPool
from simulator.hardware.memory import Memory
from simulator.hardware.program import GRADIENT_BYTES, Operation, Pool, Update
from simulator.hardware.static_memory import StaticMemory
from simulator.units import PS_PER_S

__all__ = ["NearPmem", "NearPmemDevice"]


class NearPmem(Part):
    """Persistent memory with logic beside it."""

    links: ClassVar[bool | None] = False
    durable: ClassVar[bool] = True
    kind: Literal["near_pmem"]
    memory: Pmem
    buffers: Bytes
    """Static memory for pooled vectors, gradients and changes of rows."""
    additions: AccessRate | None
    """fp32 additions a second; null: as many as the medium has elements for."""
    latency: Picoseconds
    """From the start of an operation to its first access."""
    logic_power: Watts

    def device(self, name: str, setup: Setup, members: tuple[str, ...]) -> NearPmemDevice:
        """The device in a socket of its own."""
        return NearPmemDevice(name, self, setup, members)


class NearPmemDevice(Processor):
    """The device: `media` of all modules, `buffers`, `adders`."""

    part: NearPmem
    rules: ClassVar[Mapping[type[Operation], str]] = {
        Pool: "_pool",
        EarlyPool: "_pool",
        Amend: "_amend",
        Update: "_update",
    }

    def prepare(self, setup: Setup) -> None:
        del setup
        part, timing = self.part, PmemTiming(self.part.memory)
        self.media = Memory(
            f"{self.name}.media",
            self.name,
            "dram",
            part.memory.capacity,
            timing,
            added_ps=part.memory.latency,
        )
        static = StaticMemory(timing.peak_bandwidth)
        self.buffers = Memory(f"{self.name}.buffers", self.name, "other", part.buffers, static)
        self._adders = f"{self.name}.adders"

    @property
    def memories(self) -> tuple[Memory, ...]:
        return (self.media, self.buffers)

    @property
    def resources(self) -> tuple[Resource, ...]:
        names = (self.buffers.place, self._adders)
        return (self.media.resource, *(Resource(name, self.name, "other") for name in names))

    def energy(self, use: Mapping[str, ResourceUse], elapsed_ps: int) -> dict[str, float]:
        """Joules of the medium and of the logic."""
        seconds = elapsed_ps / PS_PER_S
        standing_j = self.media.timing.standing_w * seconds
        return {
            self.media.place: dynamic_j(use, self.media.place) + standing_j,
            self._adders: self.part.logic_power * seconds,
        }

    # words

    def _pool(self, word: Pool, software: OperatorProfile, reach: Reach) -> Demand:
        del software, reach
        count, size = word.rows.lookups, word.reads.row_bytes
        return self._demand(word.name, [Access(self.media.place, count, size)], count * size)

    def _amend(self, word: Amend, software: OperatorProfile, reach: Reach) -> Demand:
        """Changes of rows lie in the buffers: one is added for each lookup."""
        del software, reach
        return self._demand(word.name, [], word.rows.lookups * word.row_bytes)

    def _update(self, word: Update, software: OperatorProfile, reach: Reach) -> Demand:
        """Gradients are added up by row in the logic; then rows are read and written."""
        del software, reach
        store, rows = word.writes, word.rows.rows
        sizes = [size for size in (store.row_bytes, store.state_bytes) if size]
        streams = [
            Access(self.media.place, rows, size, write, in_place=write)
            for size in sizes
            for write in (False, True)
        ]
        added = word.rows.lookups * word.gradient_bytes + rows * sum(sizes)
        return self._demand(word.name, streams, added)

    def _demand(self, name: str, streams: Sequence[Access], added_bytes: int) -> Demand:
        """`streams` of the medium, and additions of so many bytes of elements."""
        elements, rate = added_bytes / GRADIENT_BYTES, self.part.additions
        adders = Service(elements * PS_PER_S / rate if rate else 0.0)
        services = {self.media.place: self.media.service(streams), self._adders: adders}
        return Demand(name, services, latency_ps=self.part.latency if added_bytes else 0)
