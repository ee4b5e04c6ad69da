"""A network interface.

Modelled: each direction at its rate; what the software of its transport costs the host: threads
that copy (kernel TCP), bytes staged in the host's memory where it cannot reach that of a GPU.
Ignored: queue pairs, interrupts, registration of memory.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from simulator.config.machine import Part
from simulator.config.types import BytesPerSecond, Picoseconds
from simulator.hardware.demand import Resource, Service
from simulator.hardware.devices.base import Carried, Device, Link, Sent, Setup
from simulator.units import PS_PER_S

__all__ = ["Nic", "NicDevice"]


class Nic(Part):
    """Joins a host to a network; full duplex."""

    links: ClassVar[bool | None] = False
    kind: Literal["nic"]
    bandwidth: BytesPerSecond
    """Payload bytes per second of one direction."""
    latency: Picoseconds
    """A message through it with nothing to send."""
    gpu_direct: bool
    """Reads and writes the memory of GPUs; else bytes are staged in the host's memory."""
    send_time: Picoseconds
    """Of a host thread for each byte that it sends (0: none, as with RDMA)."""
    receive_time: Picoseconds
    """The same for each byte that it receives."""

    def device(self, name: str, setup: Setup, members: tuple[str, ...]) -> NicDevice:
        """The interface in its socket."""
        return NicDevice(name, self, setup, members)


class NicDevice(Device):
    """A network interface on its machine: `tx` to the network, `rx` from it."""

    part: Nic

    @property
    def resources(self) -> tuple[Resource, ...]:
        peak = self.part.bandwidth
        return tuple(
            Resource(f"{self.name}.{way}", self.name, "network", peak) for way in ("tx", "rx")
        )

    def passing(self, arriving: Link, leaving: Link, size: int) -> Carried:
        """To the network it sends, else it receives."""
        del arriving
        way = "tx" if leaving.part.kind == "network" else "rx"
        return Carried({f"{self.name}.{way}": self._service(size)}, self.part.latency)

    def exchange(self, sent: Sent) -> Carried:
        """What one rank sends and receives through it in a collective."""
        services = {
            f"{self.name}.tx": self._service(sent.out),
            f"{self.name}.rx": self._service(sent.into),
        }
        return Carried(services, slowest_ps=self._service(sent.most).ps)

    def _service(self, size: float) -> Service:
        return Service(read_ps=size * PS_PER_S / self.part.bandwidth, bytes=round(size))
