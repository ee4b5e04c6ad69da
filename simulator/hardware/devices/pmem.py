"""Persistent memory on the processor's channels: loads and stores of lines, inside in granules.

Modelled. Random pieces move whole granules; what is written in part of one is read first
(read-modify-write), unless the operation has just read it. Reads and writes have bandwidths of
their own, and what alternates between both loses time (a read waits behind the write before it).

Approximated: sequential streams fill granules; all modules share pieces evenly. Ignored: the fall
of writes with many threads, address-indirection stalls, wear; a store is posted, so that its
latency shows as bandwidth alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from simulator.config.machine import Part
from simulator.config.types import (
    Bytes,
    BytesPerSecond,
    Fraction,
    Picojoules,
    Picoseconds,
    Positive,
    Watts,
)
from simulator.hardware.access import Access
from simulator.hardware.demand import Turnaround
from simulator.hardware.devices.base import Device, Setup
from simulator.hardware.memory import Memory
from simulator.units import PS_PER_S

__all__ = ["Pmem", "PmemDevice", "PmemTiming"]

ONE_TO_ONE = 0.5
"""Share of writes in the time of both alone where write-then-read costs most."""


class Pmem(Part):
    """Persistent memory modules: byte-addressable, slower to write than to read."""

    links: ClassVar[bool | None] = False
    durable: ClassVar[bool] = True
    kind: Literal["pmem"]
    modules: Positive
    """Modules that share the rows."""
    read_bandwidth: BytesPerSecond
    """Bytes of granules per second that one module reads."""
    write_bandwidth: BytesPerSecond
    """Bytes of granules per second that one module writes."""
    latency: Picoseconds
    """What a load takes beside one from DRAM of the same processor."""
    granule: Bytes
    """Bytes that the medium reads and writes at once."""
    write_then_read: Fraction
    """Time that reads and writes one to one lose, as a share of what both take alone."""
    read_energy: Picojoules
    """Of a granule."""
    write_energy: Picojoules
    module_power: Watts
    """Of one module at rest."""
    capacity: Bytes
    """Of all modules."""

    def device(self, name: str, setup: Setup, members: tuple[str, ...]) -> PmemDevice:
        """The modules in a socket of their own."""
        return PmemDevice(name, self, setup, members)


@dataclass(frozen=True)
class PmemTiming:
    """Closed forms of the modules; see the module's docstring."""

    part: Pmem

    @property
    def peak_bandwidth(self) -> int:
        return self.part.modules * max(self.part.read_bandwidth, self.part.write_bandwidth)

    @property
    def turnaround(self) -> Turnaround:
        return Turnaround(((ONE_TO_ONE, self.part.write_then_read),))

    @property
    def standing_w(self) -> float:
        return self.part.modules * self.part.module_power

    @property
    def sampling_error(self) -> float:
        return 0.0

    def stream_ps(self, access: Access) -> float:
        part, (read, written) = self.part, self._moved(access)
        each = read / part.read_bandwidth + written / part.write_bandwidth
        return each * PS_PER_S / part.modules

    def stream_pj(self, access: Access) -> float:
        part, (read, written) = self.part, self._moved(access)
        return (read * part.read_energy + written * part.write_energy) / part.granule

    def _moved(self, access: Access) -> tuple[float, float]:
        """Bytes that the medium reads and writes."""
        granule, size = self.part.granule, access.bytes
        if access.random:
            size = access.count * -(-access.size // granule) * granule
        if not access.write:
            return size, 0.0
        partly = access.random and access.size % granule and not access.in_place
        return size if partly else 0.0, size


class PmemDevice(Device):
    """The modules on their machine: `pmem.media`."""

    part: Pmem

    def prepare(self, setup: Setup) -> None:
        del setup
        part = self.part
        self.media = Memory(
            f"{self.name}.media",
            self.name,
            "dram",
            part.capacity,
            PmemTiming(part),
            added_ps=part.latency,
        )

    @property
    def memories(self) -> tuple[Memory, ...]:
        return (self.media,)
