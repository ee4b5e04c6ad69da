"""Links between pairs of GPUs without a switch: a mesh, such as the hybrid cube mesh of a DGX-1.

Modelled: each pair's links as a resource a direction. What has no link of its own is relayed by
other members. A collective uses the routes that leave the busiest link least to carry: for an
all-to-all the best division of every pair's bytes over all ways (a linear program, then the fewest
bytes in all), for rings the best set of rings through all members (another one), or of trees that
reach all where there is no ring, such as a star around one of them. What a link's end relays for
others counts as its own. Approximated: relays cost no time of their own; a copy takes one way, the
widest of the shortest; ranks that do the same are reported with the loads of the first one's links,
the widest first, though what another one relays may lie on another link. Ignored: libraries that
divide less well (NCCL relays each pair over one way).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from simulator.config.bounds import AtMost
from simulator.config.machine import Part
from simulator.config.types import BytesPerSecond, Picoseconds
from simulator.errors import ConfigError
from simulator.hardware.demand import Resource, Service
from simulator.hardware.devices.base import Carried, Link, Sent, Setup, Traffic
from simulator.hardware.devices.mesh_loads import Edge, all_to_all_loads, ring_loads
from simulator.units import PS_PER_S

__all__ = ["Mesh", "MeshDevice"]

Member = Annotated[
    int,
    Field(ge=0),
    AtMost(7, "all rings through the members are tried: eight members, or name a link by a switch"),
]
Join = tuple[Member, Member, Annotated[int, Field(gt=0), AtMost(1_000, "no GPU has so many links")]]


class Mesh(Part):
    """Links between pairs of members, full duplex."""

    links: ClassVar[bool | None] = True
    kind: Literal["mesh"]
    bandwidth: BytesPerSecond
    """Bytes per second of one link, one direction."""
    efficiency: Annotated[float, Field(gt=0, le=1)]
    """Share of it that is payload of transfers and collectives."""
    latency: Picoseconds
    """One transfer with nothing to send."""
    joins: Annotated[tuple[Join, ...], Field(min_length=1)]
    """(member, member, links between them), members by number."""

    @property
    def rate(self) -> float:
        """Payload bytes per second of one link, one direction."""
        return self.bandwidth * self.efficiency

    def device(self, name: str, setup: Setup, members: tuple[str, ...]) -> MeshDevice:
        """The links in their socket. Raises `ConfigError` for members that no link reaches."""
        known = {number for one, other, _ in self.joins for number in (one, other)}
        if len(members) > len(known):
            raise ConfigError(
                f"{name} ({self.name}) joins {len(known)} parts, but there are {len(members)}: "
                "lower their count, or name a link by a switch"
            )
        return MeshDevice(name, self, setup, members)


class MeshDevice(Link):
    """A mesh on its machine: a resource a pair and direction, `nvlink.gpu0.gpu3`."""

    part: Mesh

    def prepare(self, setup: Setup) -> None:
        del setup
        self._number = {member: number for number, member in enumerate(self.members)}
        self._width: dict[Edge, int] = {}
        for one, other, links in self.part.joins:
            if max(one, other) < len(self.members):
                self._width[one, other] = self._width[other, one] = links

    def _name(self, edge: Edge) -> str:
        host = self.name.rpartition(".")[0]
        ends = (self.members[number].removeprefix(f"{host}.") for number in edge)
        return ".".join((self.name, *ends))

    def ports(self, member: str) -> tuple[str, ...]:
        """Its links to others, the widest first."""
        return tuple(map(self._name, self._out_of(member)))

    def _out_of(self, member: str) -> list[Edge]:
        own = [edge for edge in self._width if edge[0] == self._number[member]]
        return sorted(own, key=lambda edge: (-self._width[edge], edge))

    def out_rate(self, member: str) -> int:
        """Bytes per second out of a member over all of its links."""
        return sum(self._width[edge] for edge in self._out_of(member)) * self.part.bandwidth

    @property
    def resources(self) -> tuple[Resource, ...]:
        return tuple(
            Resource(self._name(edge), self.name, "gpu_link", links * self.part.bandwidth)
            for edge, links in sorted(self._width.items())
        )

    def pairs(self) -> Sequence[tuple[str, str]]:
        return [
            (one, other)
            for one, other in itertools.combinations(self.members, 2)
            if self._way(self._number[one], self._number[other])
        ]

    def _way(self, source: int, target: int) -> tuple[Edge, ...]:
        """The widest of the shortest ways; empty where there is none."""
        if (source, target) in self._width:
            return ((source, target),)
        relays = [
            (min(self._width[source, k], self._width[k, target]), -k)
            for k in range(len(self.members))
            if (source, k) in self._width and (k, target) in self._width
        ]
        if not relays:
            return ()
        relay = -max(relays)[1]
        return ((source, relay), (relay, target))

    def carry(self, source: str, target: str, size: int, *, by: str | None = None) -> Carried:
        del by
        way = self._way(self._number[source], self._number[target])
        return Carried({self._name(e): self._service(e, size) for e in way}, self.part.latency)

    def _service(self, edge: Edge, size: float) -> Service:
        ps = size * PS_PER_S / (self.part.rate * self._width[edge])
        return Service(read_ps=ps, bytes=round(size))

    def exchange(
        self, member: str, group: Sequence[str], traffic: Traffic, sent: Sent
    ) -> Carried | None:
        members = tuple(sorted(self._number[other] for other in group))
        inner = {edge: w for edge, w in self._width.items() if set(edge) <= set(members)}
        solve = {"pairwise": all_to_all_loads, "ring": ring_loads}.get(traffic)
        loads = None if solve is None else solve(members, tuple(sorted(inner.items())))
        if loads is None:
            return None
        own = [edge for edge in self._out_of(member) if edge in loads]
        services = {self._name(edge): self._service(edge, sent.out * loads[edge]) for edge in own}
        slowest = max(self._service(edge, sent.most * load).ps for edge, load in loads.items())
        return Carried(services, slowest_ps=slowest)
