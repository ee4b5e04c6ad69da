"""NVMe drives: pages by requests.

Modelled. A row is asked for in whole pages, by a request that takes a thread some time and passes
the drive's PCIe lanes as a copy. The drive serves one request after the other at the longest of
1 / IOPS, bytes / bandwidth and latency / queue depth (Little's law); an operation waits for its
first answer. Writes of a part of a page read it first, unless the operation has just read it.

Approximated: every row has pages of its own in a mini-batch; pages under way are found in the
last-level cache, so that DRAM is not touched. Ignored: garbage collection, caches in the drive, the
file system, how reads and writes hold each other up beyond their sum.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from simulator.config.bounds import AtMost
from simulator.config.machine import Part
from simulator.config.types import Bytes, BytesPerSecond, Latency, Picoseconds, Watts
from simulator.hardware.access import Access
from simulator.hardware.demand import Turnaround
from simulator.hardware.devices.base import PJ_PER_J, Device, Setup
from simulator.hardware.memory import Memory, Pages
from simulator.units import PS_PER_S

__all__ = ["DriveForms", "DriveTiming", "NvmeDevice", "NvmeDrive"]

Iops = Annotated[int, Field(ge=1), AtMost(10**9, "drives serve some millions a second")]
Depth = Annotated[int, Field(ge=1), AtMost(65_535 * 65_535, "NVMe has no more queues and entries")]


class NvmeDrive(Part):
    """A solid-state drive behind PCIe: pages by requests, many at once."""

    links: ClassVar[bool | None] = False
    durable: ClassVar[bool] = True
    kind: Literal["nvme_drive"]
    read_latency: Latency
    """From a request to its answer, nothing else to do."""
    write_latency: Latency
    read_iops: Iops
    """Random reads of a page a second, at most."""
    write_iops: Iops
    read_bandwidth: BytesPerSecond
    write_bandwidth: BytesPerSecond
    queue_depth: Depth
    """Requests that the host keeps under way."""
    page: Bytes
    """What a request asks for, in whole ones."""
    request_time: Picoseconds
    """Time of a thread of the host for one request: submission and completion."""
    idle_power: Watts
    active_power: Watts
    capacity: Bytes

    def device(self, name: str, setup: Setup, members: tuple[str, ...]) -> NvmeDevice:
        """The drive in a socket of its own."""
        return NvmeDevice(name, self, setup, members)


class DriveForms:
    """What closed forms of drives have in common: mixes of reads and writes lose nothing, and all
    is computed."""

    part: Any

    @property
    def turnaround(self) -> Turnaround:
        return Turnaround()

    @property
    def standing_w(self) -> float:
        idle: float = self.part.idle_power
        return idle

    @property
    def sampling_error(self) -> float:
        return 0.0


@dataclass(frozen=True)
class DriveTiming(DriveForms):
    """Closed forms of a drive; see the module's docstring."""

    part: NvmeDrive

    @property
    def peak_bandwidth(self) -> int:
        return max(self.part.read_bandwidth, self.part.write_bandwidth)

    def stream_ps(self, access: Access) -> float:
        part, size = self.part, access.size
        if access.write:
            latency, iops, rate = part.write_latency, part.write_iops, part.write_bandwidth
        else:
            latency, iops, rate = part.read_latency, part.read_iops, part.read_bandwidth
        each = max(PS_PER_S / iops, size * PS_PER_S / rate, latency / part.queue_depth)
        return access.count * each

    def stream_pj(self, access: Access) -> float:
        """What its active power adds while it serves."""
        watts = max(0.0, self.part.active_power - self.part.idle_power)
        return watts * self.stream_ps(access) / PS_PER_S * PJ_PER_J


class NvmeDevice(Device):
    """A drive on its machine: `ssd0.flash`."""

    part: NvmeDrive

    def prepare(self, setup: Setup) -> None:
        del setup
        part = self.part
        self.flash = Memory(
            f"{self.name}.flash",
            self.name,
            "drive",
            part.capacity,
            DriveTiming(part),
            pages=Pages(part.page, part.request_time, part.read_latency),
        )

    @property
    def memories(self) -> tuple[Memory, ...]:
        return (self.flash,)
