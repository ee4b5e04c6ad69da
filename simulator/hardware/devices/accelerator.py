"""A card beside a host's CPU that looks ids up and moves single rows between memories.

Made for Hotline (ISCA 2024), whose text beyond the introduction was not read: a reconstruction.

Modelled: a pass over ids, read in order from the memory where they lie, each looked up in a table
of its own SRAM (`logger`); rows that it reads where they lie and writes where they go, in requests,
over the links on the way and through its `engine` (ZeroCopy); both start after `latency`. No thread
of a host submits to it. Power is proportional to the busier of both.

Ignored: sets and replacement of its table, its own memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from simulator.config.machine import Part
from simulator.config.operators import OperatorProfile
from simulator.config.types import AccessRate, Bytes, BytesPerSecond, Picoseconds, Watts
from simulator.hardware.access import Access
from simulator.hardware.demand import Demand, Resource, ResourceUse, Service
from simulator.hardware.devices.base import Processor, Reach, Setup
from simulator.hardware.program import Operation, Split, Store, ZeroCopy
from simulator.units import PS_PER_S

__all__ = ["Accelerator", "AcceleratorDevice"]


class Accelerator(Part):
    """A card that looks ids up and moves rows."""

    links: ClassVar[bool | None] = False
    kind: Literal["accelerator"]
    lookup_rate: AccessRate
    """Ids that it looks up a second."""
    bandwidth: BytesPerSecond
    """Bytes of rows a second that pass it."""
    request: Bytes
    """Bytes of a row that it asks for at once."""
    latency: Picoseconds
    """From the start of an operation to its first access."""
    idle_power: Watts
    active_power: Watts
    """Of the card under full load."""

    def device(self, name: str, setup: Setup, members: tuple[str, ...]) -> AcceleratorDevice:
        """The card in its socket."""
        return AcceleratorDevice(name, self, setup, members)


class AcceleratorDevice(Processor):
    """An accelerator on its machine; brings no memory."""

    part: Accelerator
    rules: ClassVar[Mapping[type[Operation], str]] = {Split: "_split", ZeroCopy: "_zero_copy"}

    def prepare(self, setup: Setup) -> None:
        self._logger, self._engine = f"{self.name}.logger", f"{self.name}.engine"

    @property
    def resources(self) -> tuple[Resource, ...]:
        return tuple(Resource(name, self.name, "other") for name in (self._logger, self._engine))

    def energy(self, use: Mapping[str, ResourceUse], elapsed_ps: int) -> dict[str, float]:
        card = self.part
        busy = max(
            use[name].busy_ps if name in use else 0.0 for name in (self._logger, self._engine)
        )
        load = min(1.0, busy / elapsed_ps)
        watts = card.idle_power + (card.active_power - card.idle_power) * load
        return {self._engine: watts * elapsed_ps / PS_PER_S}

    def _split(self, word: Split, software: OperatorProfile, reach: Reach) -> Demand:
        del software
        if not word.lookups:
            return Demand(word.name)
        services = {self._logger: Service(read_ps=word.lookups * PS_PER_S / self.part.lookup_rate)}
        for buffer, write in ((word.ids, False), (word.lists, True)):
            if buffer is not None:
                access = Access(buffer.memory, 1, buffer.bytes, write, random=False)
                services = _added(services, reach(buffer.memory).services([access]))
        return Demand(word.name, services, latency_ps=self.part.latency)

    def _zero_copy(self, word: ZeroCopy, software: OperatorProfile, reach: Reach) -> Demand:
        del software
        rows, size = word.rows.rows, word.reads.entry_bytes
        if not rows:
            return Demand(word.name)
        services = {self._engine: Service(read_ps=rows * size * PS_PER_S / self.part.bandwidth)}
        for store, write in ((word.reads, False), (word.writes, True)):
            access = self._requested(word, store, write)
            services = _added(services, reach(store.memory).services([access]))
        return Demand(word.name, services, latency_ps=self.part.latency)

    def _requested(self, word: ZeroCopy, store: Store, write: bool) -> Access:
        """The rows in one of both stores, in requests as large as fit one row."""
        size = store.entry_bytes
        request = size / -(-size // self.part.request)
        pieces = store.pieces(word.rows)
        return Access(store.memory, word.rows.rows, size, write, pieces=pieces, request=request)


def _added(services: dict[str, Service], more: Mapping[str, Service]) -> dict[str, Service]:
    """`services` and `more` of the same operation."""
    both = {name: services[name] + service for name, service in more.items() if name in services}
    return {**services, **more, **both}
