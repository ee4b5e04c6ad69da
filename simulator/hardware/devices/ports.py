"""Links that give each of their members a port: NVLink, a network of hosts."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import ClassVar, Literal

from simulator.config.machine import Part
from simulator.config.types import BytesPerSecond, Picoseconds, Reached
from simulator.hardware.demand import Resource, Service
from simulator.hardware.devices.base import Carried, Link, Setup
from simulator.units import PS_PER_S

__all__ = ["PortDevice", "PortLink"]


class PortLink(Part):
    """A port a member, out and in, behind a switch that carries what the ports carry."""

    links: ClassVar[bool | None] = True
    kind: Literal["nvlink", "network"]
    bandwidth: BytesPerSecond
    """Payload bytes per second out of one member, one direction, all of its links."""
    efficiency: Reached
    """Share of it that collective operations reach."""
    latency: Picoseconds
    """One transfer or collective operation with nothing to send."""

    def device(self, name: str, setup: Setup, members: tuple[str, ...]) -> PortDevice:
        """The link in its socket."""
        return PortDevice(name, self, setup, members)


class PortDevice(Link):
    """A link of ports on its machine: `out` and `in` of each member."""

    part: PortLink

    def port(self, member: str, way: str) -> str:
        """The name of a member's port: `host3.nvlink.gpu5.out`."""
        host = self.name.rpartition(".")[0]
        return f"{self.name}.{member.removeprefix(f'{host}.')}.{way}"

    def ports(self, member: str) -> tuple[str, ...]:
        return self.port(member, "out"), self.port(member, "in")

    @property
    def resources(self) -> tuple[Resource, ...]:
        kind = "network" if self.part.kind == "network" else "gpu_link"
        return tuple(
            Resource(self.port(member, way), self.name, kind, self.part.bandwidth)  # type: ignore[arg-type]
            for member in self.members
            for way in ("out", "in")
        )

    def pairs(self) -> Sequence[tuple[str, str]]:
        return list(itertools.combinations(self.members, 2))

    def carry(self, source: str, target: str, size: int, *, by: str | None = None) -> Carried:
        del by
        service = Service(
            read_ps=size * PS_PER_S / (self.part.bandwidth * self.part.efficiency), bytes=size
        )
        ports = {self.port(source, "out"): service, self.port(target, "in"): service}
        return Carried(ports, self.part.latency)

    def exchange(self, member: str, pattern: str, size: int) -> Carried:
        del pattern
        return self.carry(member, member, size)
