"""Memory behind a CXL link: the link in flits, and the device with its controller and DRAM.

Modelled. The link: full duplex, in flits of slots; a read of a line of 64 B is a request one way
and data with its header the other, a write data with its header one way and an answer the other, so
that mixes of both carry more than either alone. Loads take `load_latency` beside the memory's own.
The device: its DRAM as the bank model has it, behind a controller with a fixed delay and, where one
is known, a rate that it never passes. The latency that load adds is that of its DRAM (as of any
memory: `loaded_latency`).

Approximated: slots are filled as well at any load; coherence is free. Ignored: switches, tails,
retries, devices that cache memory of the host.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from simulator.config.machine import Part
from simulator.config.types import Bytes, BytesPerSecond, Picoseconds, Positive, Watts
from simulator.hardware.access import Access
from simulator.hardware.demand import Service, Turnaround
from simulator.hardware.devices.base import Carried, Device, RootedLink, Setup
from simulator.hardware.devices.cpu_words import LINE_BYTES
from simulator.hardware.devices.dram import Dram
from simulator.hardware.memory import Memory, StreamTiming
from simulator.units import PS_PER_S

__all__ = ["Cxl", "CxlDevice", "CxlMemory", "CxlMemoryDevice"]

SLOT_BYTES = 16
"""Data in a slot of a flit."""
Slots = Annotated[float, Field(ge=0, le=16)]


class Cxl(Part):
    """A CXL link between a processor and memory: loads and stores in flits, full duplex."""

    links: ClassVar[bool | None] = True
    kind: Literal["cxl"]
    raw_bandwidth: BytesPerSecond
    """Line rate of one direction after line coding."""
    flit: Bytes
    """Bytes of a flit on the link, CRC and identifier included."""
    flit_slots: Positive
    """Slots of 16 B in a flit."""
    read_request: Slots
    """Slots of the request for a line of 64 B."""
    data_header: Slots
    """Slots beside the data of a line that is read or written."""
    write_answer: Slots
    """Slots of the answer to the write of a line."""
    load_latency: Picoseconds
    """What a load through the link takes beside the memory's own latency and its controller's."""

    def rate(self, reads: float = 1.0) -> float:
        """Bytes of lines per second of which `reads` are read, the rest written: the fuller of both
        directions bounds them."""
        data = LINE_BYTES / SLOT_BYTES + self.data_header
        to_root = reads * data + (1.0 - reads) * self.write_answer
        from_root = reads * self.read_request + (1.0 - reads) * data
        return LINE_BYTES / (max(to_root, from_root) * self._slot_s)

    @property
    def _slot_s(self) -> float:
        return self.flit / self.flit_slots / self.raw_bandwidth

    def slots_ps(self, size: int, slots: float) -> float:
        """Time of one direction for `slots` of each line of `size` bytes."""
        return size / LINE_BYTES * slots * self._slot_s * PS_PER_S

    def derived(self) -> Mapping[str, str]:
        """What it carries of reads, of writes, and of two reads a write."""
        shares = {"reads": 1.0, "writes": 0.0, "two reads a write": 2 / 3}
        return {name: f"{self.rate(share):.0f} B/s" for name, share in shares.items()}

    def device(self, name: str, setup: Setup, members: tuple[str, ...]) -> CxlDevice:
        """The link in its socket; the first of `members` is the root."""
        return CxlDevice(name, self, setup, members)


class CxlDevice(RootedLink):
    """A CXL link on its machine."""

    part: Cxl

    def carry(self, source: str, target: str, size: int, *, by: str | None = None) -> Carried:
        """Bytes to the root are read by it (or by what is joined to it), others are written."""
        link, read = self.part, target == self.members[0]
        data = link.slots_ps(size, LINE_BYTES / SLOT_BYTES + link.data_header)
        control = link.slots_ps(size, link.read_request if read else link.write_answer)
        along, back = ("up", "down") if read else ("down", "up")
        services = {
            f"{self.name}.{along}": Service(read_ps=data, bytes=size),
            f"{self.name}.{back}": Service(read_ps=control),
        }
        return Carried(services, link.load_latency if by is None else 0)


class CxlMemory(Part):
    """Memory of a CXL device: DRAM behind a controller."""

    links: ClassVar[bool | None] = False
    kind: Literal["cxl_memory"]
    memory: Dram
    controller_latency: Picoseconds
    """What a load takes in the device beside DRAM of the processor's own: controller, queues."""
    controller_bandwidth: BytesPerSecond | None = None
    """Bytes of reads and writes together that the device was seen to serve at most; null: as DRAM
    and link allow."""
    controller_power: Watts

    def device(self, name: str, setup: Setup, members: tuple[str, ...]) -> CxlMemoryDevice:
        """The device in a socket of its own."""
        return CxlMemoryDevice(name, self, setup, members)


@dataclass(frozen=True)
class _Controlled:
    """The DRAM of a device behind its controller."""

    dram: StreamTiming
    device: CxlMemory

    @property
    def peak_bandwidth(self) -> int:
        return self.dram.peak_bandwidth

    @property
    def turnaround(self) -> Turnaround:
        """That of DRAM; none where the controller is what bounds reads and writes."""
        return Turnaround() if self.device.controller_bandwidth else self.dram.turnaround

    @property
    def standing_w(self) -> float:
        return self.dram.standing_w + self.device.controller_power

    @property
    def sampling_error(self) -> float:
        return self.dram.sampling_error

    def stream_ps(self, access: Access) -> float:
        rate, dram_ps = self.device.controller_bandwidth, self.dram.stream_ps(access)
        return dram_ps if rate is None else max(dram_ps, access.bytes * PS_PER_S / rate)

    def stream_pj(self, access: Access) -> float:
        return self.dram.stream_pj(access)


class CxlMemoryDevice(Device):
    """The memory of a CXL device on its machine: `cxl0.dram`."""

    part: CxlMemory

    def prepare(self, setup: Setup) -> None:
        device = self.part
        timing = _Controlled(setup.timing(device.memory), device)
        self.dram = Memory(
            f"{self.name}.dram",
            self.name,
            "dram",
            device.memory.usable,
            timing,
            added_ps=device.controller_latency,
        )

    @property
    def memories(self) -> tuple[Memory, ...]:
        return (self.dram,)
