"""A network interface."""

from __future__ import annotations

from typing import ClassVar, Literal

from simulator.config.machine import Part
from simulator.config.types import BytesPerSecond, Picoseconds
from simulator.hardware.demand import Resource, Service
from simulator.hardware.devices.base import Carried, Device, Link, Setup
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
        service = Service(read_ps=size * PS_PER_S / self.part.bandwidth, bytes=size)
        return Carried({f"{self.name}.{way}": service}, self.part.latency)
