"""Links that give each of their members a port: NVLink behind switches.

Modelled: a port out of and one into each member. Approximated: the switch carries what the ports
carry; what several peers send at once shares a port evenly. Ignored: routes within the switch.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import ClassVar, Literal

from simulator.config.machine import Part
from simulator.config.types import BytesPerSecond, Picoseconds, Reached
from simulator.hardware.demand import Resource, Service
from simulator.hardware.devices.base import Carried, Link, Sent, Setup, Traffic
from simulator.units import PS_PER_S

__all__ = ["NvLink", "PortDevice", "PortLink"]


class PortLink(Part):
    """A port a member, out and in, behind a switch that carries what the ports carry."""

    links: ClassVar[bool | None] = True
    kind: Literal["nvlink", "network"]
    bandwidth: BytesPerSecond
    """Bytes per second out of one member, one direction, all of its links."""
    efficiency: Reached
    """Share of it that is payload of transfers and collectives."""
    latency: Picoseconds
    """One transfer with nothing to send."""

    def rate(self, traffic: Traffic | None = None) -> float:
        """Payload bytes per second of one direction of a port."""
        del traffic
        return self.bandwidth * self.efficiency

    @property
    def sums(self) -> bool:
        """Whether its switch sums what the members send."""
        return False

    def device(self, name: str, setup: Setup, members: tuple[str, ...]) -> PortDevice:
        """The link in its socket."""
        return PortDevice(name, self, setup, members)


class NvLink(PortLink):
    """NVLink behind switches."""

    kind: Literal["nvlink"]
    pairwise_efficiency: Reached | None = None
    """Share of the bandwidth that an all-to-all reaches, where it is another."""
    reduces: bool = False
    """Whether its switch sums what the members send."""

    @property
    def sums(self) -> bool:
        return self.reduces

    def rate(self, traffic: Traffic | None = None) -> float:
        share = self.pairwise_efficiency if traffic == "pairwise" else None
        return self.bandwidth * (share or self.efficiency)


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

    def beside(self, member: str) -> Iterable[str]:
        return (other for other in self.members if other != member)

    def carry(self, source: str, target: str, size: int, *, by: str | None = None) -> Carried:
        del by
        service = Service(read_ps=size * PS_PER_S / self.part.rate(), bytes=size)
        ports = {self.port(source, "out"): service, self.port(target, "in"): service}
        return Carried(ports, self.part.latency)

    def exchange(
        self, member: str, group: Sequence[str], traffic: Traffic, sent: Sent
    ) -> Carried | None:
        del group
        if traffic == "switch" and not self.part.sums:
            return None
        sizes = (sent.out, sent.into, sent.most)
        out, into, most = (size * PS_PER_S / self.part.rate(traffic) for size in sizes)
        services = {
            self.port(member, "out"): Service(read_ps=out, bytes=round(sent.out)),
            self.port(member, "in"): Service(read_ps=into, bytes=round(sent.into)),
        }
        return Carried(services, slowest_ps=most)
