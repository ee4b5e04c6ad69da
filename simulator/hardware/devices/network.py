"""A network that joins interfaces: a port each, and a spine that all of them share.

Modelled: ports, and where leaf switches have less bandwidth upwards than downwards
(`oversubscription`) a spine of that rate, which traffic between leaves crosses. Leaves are
rail-optimised: interfaces with the same number of `hosts_per_leaf` hosts share one. Approximated:
the spine is one resource (routing spreads flows evenly). Ignored: congestion within a leaf, loss.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Annotated, Literal

from pydantic import Field

from simulator.config.bounds import AtMost
from simulator.config.machine import Count
from simulator.hardware.demand import Resource, Service
from simulator.hardware.devices.base import Carried, Sent, Setup, Traffic
from simulator.hardware.devices.ports import PortDevice, PortLink
from simulator.units import PS_PER_S

__all__ = ["Network", "NetworkDevice"]

_THINNEST = AtMost(1_000, "leaves have a few times the bandwidth of the spine")


class Network(PortLink):
    """Switches between network interfaces."""

    kind: Literal["network"]
    oversubscription: Annotated[float, Field(ge=1), _THINNEST] = 1.0
    """Bandwidth of a leaf towards its interfaces over that towards the spine."""
    hosts_per_leaf: Count = 1
    """Hosts whose interfaces of equal number share a leaf."""

    def device(self, name: str, setup: Setup, members: tuple[str, ...]) -> NetworkDevice:
        """The network of a machine."""
        return NetworkDevice(name, self, setup, members)


class NetworkDevice(PortDevice):
    """A network on its machine."""

    part: Network

    @property
    def spine(self) -> str | None:
        """What traffic between leaves shares; None where it never binds."""
        return f"{self.name}.spine" if self.part.oversubscription > 1.0 else None

    @property
    def resources(self) -> tuple[Resource, ...]:
        ports = super().resources
        peak = round(len(self.members) * self.part.bandwidth / self.part.oversubscription)
        spine = () if self.spine is None else (Resource(self.spine, self.name, "network", peak),)
        return (*ports, *spine)

    @cached_property
    def _leaves(self) -> dict[str, int]:
        """Member -> the number of its host's leaves."""
        hosts = dict.fromkeys(map(_host, self.members))
        number = {host: index // self.part.hosts_per_leaf for index, host in enumerate(hosts)}
        return {member: number[_host(member)] for member in self.members}

    def carry(self, source: str, target: str, size: int, *, by: str | None = None) -> Carried:
        carried = super().carry(source, target, size, by=by)
        if self.spine is None or self._leaves[source] == self._leaves[target]:
            return carried
        services = {**(carried.services or {}), self.spine: self._on_spine(size)}
        return Carried(services, carried.latency_ps)

    def exchange(
        self, member: str, group: Sequence[str], traffic: Traffic, sent: Sent
    ) -> Carried | None:
        carried = super().exchange(member, group, traffic, sent)
        if carried is None or self.spine is None:
            return carried
        service = self._on_spine(sent.out * self._away(member, group, traffic))
        services = {**(carried.services or {}), self.spine: service}
        every_ps = service.ps * len(group)
        return Carried(services, slowest_ps=max(carried.slowest_ps, every_ps))

    def _away(self, member: str, group: Sequence[str], traffic: Traffic) -> float:
        """Share of the bytes of a member that leave its leaf: those of hosts elsewhere; along a
        ring of hosts as they stand, each leaf has one way out."""
        leaves = {_host(other): self._leaves[other] for other in group}
        numbers = list(leaves.values())
        if traffic == "ring":
            return len(set(numbers)) / len(numbers) if len(set(numbers)) > 1 else 0.0
        own = self._leaves[member]
        return sum(number != own for number in numbers) / max(1, len(numbers) - 1)

    def _on_spine(self, size: float) -> Service:
        """Bytes that leave a leaf: each asks for its share of what the spine carries."""
        rate = len(self.members) * self.part.rate() / self.part.oversubscription
        return Service(read_ps=size * PS_PER_S / rate, bytes=round(size))


def _host(member: str) -> str:
    return member.rpartition(".")[0]
