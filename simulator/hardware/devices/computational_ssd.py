"""A computational SSD: a flash array and DRAM with logic beside them, which gathers and adds up
rows of either, copies rows between them, updates rows in DRAM, amends sums and copies, and makes
rows out of tensor-trains where it has cores for that.

Modelled. The array as `flash` has it, its DRAM at bank level; additions of the logic, products of
its tensor cores, and the time that its controller takes for every row that it reads or writes
(firmware on a core). An operation starts after `latency`, waits for the first page where it reads
some, then takes the slowest of these.

Approximated: vectors and gradients wait in `buffers`, static memory as fast as the DRAM, without
traffic there. Ignored: what the translation layer keeps in the same DRAM, wear.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import ClassVar, Literal

from simulator.config.machine import Part
from simulator.config.operators import OperatorProfile
from simulator.config.types import AccessRate, Bytes, FlopPerSecond, Frozen, Picoseconds, Watts
from simulator.errors import ConfigError
from simulator.hardware.access import Access
from simulator.hardware.demand import Demand, Resource, ResourceUse, Service
from simulator.hardware.devices.base import Processor, Reach, Setup, dynamic_j
from simulator.hardware.devices.dram import Dram
from simulator.hardware.devices.flash import FlashArray, FlashTiming
from simulator.hardware.early import Amend, EarlyPool
from simulator.hardware.memory import Memory
from simulator.hardware.program import (
    GRADIENT_BYTES,
    Gather,
    Operation,
    Pool,
    Scatter,
    Store,
    Update,
    ZeroCopy,
)
from simulator.hardware.static_memory import StaticMemory
from simulator.hardware.tensor_train import Rebuild
from simulator.units import PS_PER_S

__all__ = ["ComputationalSsd", "ComputationalSsdDevice", "TensorCores"]


class TensorCores(Frozen):
    """What makes rows out of tensor-trains."""

    rate: FlopPerSecond
    """Products and sums a second."""
    memory: Bytes
    """On-chip, for the cores of all tables."""


class ComputationalSsd(Part):
    """A flash array and DRAM with logic beside them."""

    links: ClassVar[bool | None] = False
    durable: ClassVar[bool] = True
    kind: Literal["computational_ssd"]
    flash: FlashArray
    memory: Dram
    buffers: Bytes
    """Static memory for ids, pooled vectors and gradients."""
    additions: AccessRate | None
    """fp32 additions a second; null: never the limit."""
    row_time: Picoseconds
    """Of the controller for a row that it reads or writes, in either memory."""
    latency: Picoseconds
    """From the start of an operation to its first access."""
    logic_power: Watts
    tensor_cores: TensorCores | None = None
    """null: its logic makes no rows."""

    def device(self, name: str, setup: Setup, members: tuple[str, ...]) -> ComputationalSsdDevice:
        """The drive in a socket of its own."""
        return ComputationalSsdDevice(name, self, setup, members)


class ComputationalSsdDevice(Processor):
    """The drive: `flash`, `dram`, `buffers`, `controller`, `adders`, and, where it has some,
    `tensor_cores`."""

    part: ComputationalSsd
    rules: ClassVar[Mapping[type[Operation], str]] = {
        Pool: "_pool",
        EarlyPool: "_pool",
        Amend: "_amend",
        Gather: "_gather",
        Scatter: "_scatter",
        ZeroCopy: "_copy",
        Update: "_update",
        Rebuild: "_rebuild",
    }

    def prepare(self, setup: Setup) -> None:
        part = self.part
        timing = setup.timing(part.memory)
        static = StaticMemory(timing.peak_bandwidth)
        self.flash = part.flash.memory(self.name)
        self.dram = Memory(f"{self.name}.dram", self.name, "dram", part.memory.usable, timing)
        self.buffers = Memory(f"{self.name}.buffers", self.name, "other", part.buffers, static)
        self._controller, self._adders = f"{self.name}.controller", f"{self.name}.adders"
        self._tensor_cores = f"{self.name}.tensor_cores"

    @property
    def main_memory(self) -> Memory:
        """The flash, as the host has it."""
        return self.flash

    @property
    def memories(self) -> tuple[Memory, ...]:
        return (self.flash, self.dram, self.buffers)

    @property
    def resources(self) -> tuple[Resource, ...]:
        names = [self.buffers.place, self._controller, self._adders]
        names += [self._tensor_cores] * (self.part.tensor_cores is not None)
        others = (Resource(name, self.name, "other") for name in names)
        return (self.flash.resource, self.dram.resource, *others)

    def energy(self, use: Mapping[str, ResourceUse], elapsed_ps: int) -> dict[str, float]:
        """Joules of array, DRAM and logic."""
        seconds = elapsed_ps / PS_PER_S
        kept = {
            memory.place: dynamic_j(use, memory.place) + memory.timing.standing_w * seconds
            for memory in (self.flash, self.dram)
        }
        return {**kept, self._adders: self.part.logic_power * seconds}

    # words

    def _pool(self, word: Pool, software: OperatorProfile, reach: Reach) -> Demand:
        """A row for each lookup, in either memory."""
        del software, reach
        pairs = [(word.reads, word.rows)]
        if word.elsewhere is not None:
            pairs.append((word.elsewhere.store, word.elsewhere.rows))
        streams = [self._access(s, rows.lookups, s.row_bytes) for s, rows in pairs]
        return self._demand(word.name, streams, sum(access.bytes for access in streams))

    def _amend(self, word: Amend, software: OperatorProfile, reach: Reach) -> Demand:
        """Changes of rows lie in the buffers: one is added for each lookup, and to each copy."""
        del software, reach
        streams: list[Access] = []
        added = word.rows.lookups * word.row_bytes
        if word.copies is not None and word.copied is not None:
            streams += self._changed(word.copies, word.copied.rows)
            added += word.copied.rows * word.copies.entry_bytes
        return self._demand(word.name, streams, added)

    def _gather(self, word: Gather, software: OperatorProfile, reach: Reach) -> Demand:
        del software, reach
        read = self._access(word.reads, word.rows.rows, word.reads.entry_bytes)
        return self._demand(word.name, [read])

    def _scatter(self, word: Scatter, software: OperatorProfile, reach: Reach) -> Demand:
        del software, reach
        written = self._access(word.writes, word.rows.rows, word.writes.entry_bytes, write=True)
        return self._demand(word.name, [written])

    def _copy(self, word: ZeroCopy, software: OperatorProfile, reach: Reach) -> Demand:
        del software, reach
        count, size = word.rows.rows, word.reads.entry_bytes
        read, written = (
            self._access(store, count, size, write=write)
            for store, write in ((word.reads, False), (word.writes, True))
        )
        return self._demand(word.name, [read, written])

    def _update(self, word: Update, software: OperatorProfile, reach: Reach) -> Demand:
        """Gradients are added up by row in the logic; then rows are read and written."""
        del software, reach
        store, rows = word.writes, word.rows.rows
        added = word.rows.lookups * word.gradient_bytes + rows * store.entry_bytes
        return self._demand(word.name, list(self._changed(store, rows)), added)

    def _rebuild(self, word: Rebuild, software: OperatorProfile, reach: Reach) -> Demand:
        """Products of the cores, a row for each lookup.

        Raises `ConfigError` where the drive has no tensor cores.
        """
        del software, reach
        if self.part.tensor_cores is None:
            raise ConfigError(f"{self.name} ({self.part.name}) has no tensor_cores to make rows")
        made = self._demand(word.name, (), word.rows.lookups * word.row_bytes)
        ps = word.rows.lookups * word.flops * PS_PER_S / self.part.tensor_cores.rate
        return replace(made, services={**made.services, self._tensor_cores: Service(ps)})

    # what they come to

    def _changed(self, store: Store, rows: int) -> Iterator[Access]:
        """Rows with their optimizer state, read and written."""
        for write in (False, True):
            yield self._access(store, rows, store.entry_bytes, write=write)

    def _access(self, store: Store, count: int, size: int, *, write: bool = False) -> Access:
        """Rows of a store here, at any place.

        Raises `ConfigError` for rows that lie elsewhere.
        """
        if store.memory not in (self.flash.place, self.dram.place):
            raise ConfigError(
                f"{self.name} ({self.part.name}) has no rows of {store.memory}: its logic reads "
                f"and writes {self.flash.place} and {self.dram.place}"
            )
        if store.memory == self.flash.place:
            size = self.part.flash.asked(size, write=write)
        return Access(store.memory, count, size, write, in_place=write)

    def _demand(self, name: str, streams: Sequence[Access], added_bytes: int = 0) -> Demand:
        """`streams` of both memories, and additions of so many bytes of elements."""
        part, flash = self.part, self.flash.place
        of_flash = [access for access in streams if access.memory == flash and access.count]
        of_dram = [access for access in streams if access.memory == self.dram.place]
        handled = sum(access.count for access in streams)
        elements = added_bytes / GRADIENT_BYTES
        services = {
            flash: self.flash.service(of_flash),
            self.dram.place: self.dram.service(of_dram),
            self._controller: Service(float(handled * part.row_time)),
            self._adders: Service(elements * PS_PER_S / part.additions if part.additions else 0.0),
        }
        timing = FlashTiming(part.flash)
        read = [timing.latency_ps(a.size) for a in of_flash if not a.write]
        busy = added_bytes or any(access.count for access in streams)
        latency_ps = part.latency + round(max(read, default=0.0)) if busy else 0
        return Demand(name, services, latency_ps=latency_ps)
