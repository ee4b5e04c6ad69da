"""Ranks of one host that exchange over more than one link: PCIe, bridges between pairs, switches.

Modelled: the bytes of each pair follow the route between both ends; what they ask of the links,
memories and ports on the first half of it is the sender's, of those on the second half the
receiver's, and what several ranks share (a PCIe uplink, a trunk of switches, the host's memory)
is asked for by each of them in equal parts. Below one PCIe uplink bytes turn around in the switch:
they take the lanes of both ends, and not the uplink. Between root ports they are written through
(posted) where the processor forwards them (`Cpu.forwards`); elsewhere kernels of the sender write
them to the host's memory and those of the receiver read them there. A ring goes on to the nearest
rank that it has not been at.

Approximated: lanes of a GPU below a shared uplink bound what it exchanges, but are no resource that
its copies from and to the host share. Ignored: caches of the host that devices write to, the link
between sockets.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from simulator.hardware.access import Access
from simulator.hardware.collectives.places import Places, host_of
from simulator.hardware.demand import Service
from simulator.hardware.devices.base import Carried, Hop, RootedLink, Sent, Traffic, add_services
from simulator.hardware.devices.cpu import CpuDevice

__all__ = ["Routed"]

UNIT = 1 << 30
"""Bytes that flows are priced for: what they ask grows in proportion."""

Pair = tuple[str, str]


@dataclass(slots=True)
class _Flow:
    """What `UNIT` bytes from one rank to another ask for."""

    lanes_ps: tuple[float, float]
    """Of the first link, which is the sender's, and of the last one."""
    out: dict[str, Service] = field(default_factory=dict)
    """Of the sender's half of the way."""
    into: dict[str, Service] = field(default_factory=dict)
    """Of the receiver's."""

    def ask(self, services: Mapping[str, Service], *, into: bool) -> None:
        add_services(self.into if into else self.out, services)


@dataclass(frozen=True, slots=True)
class _Loads:
    """What all ranks ask for where each sends `UNIT` bytes, a rank's part of it."""

    out: Mapping[str, Mapping[str, Service]]
    """Rank -> resource -> its part of what is asked on the way out."""
    into: Mapping[str, Mapping[str, Service]]
    """The same on the way in."""
    slowest_ps: float
    """Of the busiest resource, or lanes, of all."""


class Routed:
    """`ranks` of one host, joined by the routes of `machine`.

    Raises `ConfigError` where no links lead from one to another.
    """

    def __init__(self, machine: Places, ranks: Sequence[str]) -> None:
        self._machine, self._ranks = machine, tuple(ranks)
        self._routes = {
            pair: machine.route(*pair) for pair in itertools.permutations(self._ranks, 2)
        }
        self._flows = {pair: self._flow(route) for pair, route in self._routes.items()}
        self._known: dict[Traffic, _Loads] = {}

    @property
    def label(self) -> str:
        """The parts of its links."""
        links = (hop.link for route in self._routes.values() for hop in route)
        return " and ".join(dict.fromkeys(link.part.name for link in links))

    @cached_property
    def packets(self) -> bool:
        """Whether a link of packets (PCIe) is on the way."""
        return any(h.link.part.kind == "pcie" for route in self._routes.values() for h in route)

    def exchange(
        self, member: str, group: Sequence[str], traffic: Traffic, sent: Sent
    ) -> Carried | None:
        """What a collective among all ranks asks of `member`; None for sums in a switch."""
        del group
        if traffic == "switch":
            return None
        if traffic not in self._known:
            self._known[traffic] = self._loads(traffic)
        loads, services = self._known[traffic], defaultdict[str, Service](lambda: Service(0.0))
        for asked, size in ((loads.out, sent.out), (loads.into, sent.into)):
            for name, service in asked.get(member, {}).items():
                services[name] += service.times(size / UNIT)
        return Carried(services, slowest_ps=loads.slowest_ps * sent.most / UNIT)

    # flows

    def _flow(self, route: Sequence[Hop]) -> _Flow:
        """What `UNIT` bytes ask for on their way."""
        root = _root(route)
        below_one = root is not None and route[root - 1].link is route[root].link
        staged = root is not None and not below_one and self._staged(route[root].source)
        read_from = root if staged and root is not None else len(route)
        asked = [
            _asked(hop, by=hop.target if number >= read_from else hop.source)
            for number, hop in enumerate(route)
        ]
        flow = _Flow((_ps(asked[0]), _ps(asked[-1])))
        if len(route) == 1:
            own = route[0].link.ports(route[0].target)
            for into in (False, True):
                flow.ask({n: s for n, s in asked[0].items() if (n in own) == into}, into=into)
            return flow
        for number, services in enumerate(asked):
            if not (below_one and number in (root, (root or 0) - 1)):
                flow.ask(services, into=2 * number >= len(route))
        if staged and root is not None:
            for into in (False, True):
                flow.ask(self._through_memory(route[root].source, read=into), into=into)
        return flow

    def _through_memory(self, root: str, *, read: bool) -> dict[str, Service]:
        """`UNIT` bytes that one end writes to the memory of the root, or the other reads there."""
        memory = self._machine.memory(root)
        streams = [Access(memory.place, 1, UNIT, random=False, write=not read)]
        passed = self._machine.devices[root].entered(memory, UNIT, write=not read)
        return {memory.place: memory.service(streams)} | passed

    def _staged(self, root: str) -> bool:
        """Whether bytes between links below `root` pass its memory."""
        device = self._machine.devices[root]
        if not isinstance(device, CpuDevice):
            return False
        kind = self._machine.devices[self._ranks[0]].part.kind
        peers = [name for name in self._machine.all(kind) if host_of(name) == host_of(root)]
        return len(peers) > device.part.forwards

    # loads

    def _loads(self, traffic: Traffic) -> _Loads:
        pairs = self._pairs() if traffic == "pairwise" else self._ring()
        out = self._shared(pairs, "out")
        into = self._shared(pairs, "into")
        totals: dict[str, float] = defaultdict(float)
        for asked in (*out.values(), *into.values()):
            for name, service in asked.items():
                totals[name] += service.ps
        lanes: dict[tuple[int, str], float] = defaultdict(float)
        for pair, share in pairs.items():
            for end, ps in zip(enumerate(pair), self._flows[pair].lanes_ps, strict=True):
                lanes[end] += share * ps
        return _Loads(out, into, max((*totals.values(), *lanes.values())))

    def _pairs(self) -> dict[Pair, float]:
        """Share of a rank's bytes that go to each other one."""
        return dict.fromkeys(self._flows, 1.0 / (len(self._ranks) - 1))

    def _ring(self) -> dict[Pair, float]:
        """A ring through all, from each to the nearest that it has not been at."""
        ring, left = [self._ranks[0]], list(self._ranks[1:])
        while left:
            ring.append(min(left, key=lambda rank: self._distance(ring[-1], rank)))
            left.remove(ring[-1])
        return dict.fromkeys(zip(ring, (*ring[1:], ring[0]), strict=True), 1.0)

    def _distance(self, source: str, target: str) -> tuple[float, int]:
        """Time and hops of a flow alone, for the nearest rank; of equals the first one is taken."""
        flow = self._flows[source, target]
        asked = (s.ps for half in (flow.out, flow.into) for s in half.values())
        return max((*flow.lanes_ps, *asked)), len(self._routes[source, target])

    def _shared(self, pairs: Mapping[Pair, float], half: str) -> dict[str, dict[str, Service]]:
        """Rank -> resource -> its part of what all `pairs` ask of it on one half of their way."""
        totals: dict[str, Service] = {}
        for pair, share in pairs.items():
            for name, service in getattr(self._flows[pair], half).items():
                totals[name] = totals.get(name, Service(0.0)) + service.times(share)
        users: dict[str, set[str]] = defaultdict(set)
        for pair, flow in self._flows.items():
            for name in getattr(flow, half):
                users[name].add(pair[half == "into"])
        parts: dict[str, dict[str, Service]] = {}
        for name, service in totals.items():
            for rank in users[name]:
                parts.setdefault(rank, {})[name] = service.times(1.0 / len(users[name]))
        return parts


def _root(route: Sequence[Hop]) -> int | None:
    """The number of the hop that leaves the root that bytes came up to; None: there is none."""
    for number, (up, down) in enumerate(itertools.pairwise(route), start=1):
        rooted = isinstance(up.link, RootedLink) and isinstance(down.link, RootedLink)
        if rooted and up.target == up.link.members[0] == down.link.members[0]:
            return number
    return None


def _asked(hop: Hop, *, by: str) -> Mapping[str, Service]:
    return hop.link.carry(hop.source, hop.target, UNIT, by=by).services or {}


def _ps(services: Mapping[str, Service]) -> float:
    return max((service.ps for service in services.values()), default=0.0)
