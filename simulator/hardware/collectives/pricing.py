"""What a collective costs on a machine: alpha (steps) and beta (bytes over every link on the way).

    time = base + steps and peers, by the links that they cross        (software, wire, interfaces)
         + the most of (bytes through a resource / its rate)           (ports, meshes, NICs, spine)

of the algorithm and protocol for which that is least, or of the algorithm that is named. Kernels
hold thread blocks all the while. A rank's demand is what passes its own ports (what it relays
included), its interface and what it shares with others, so that ranks together ask for all of it.

Modelled: bytes by level; interfaces that ranks share; staging in the host's memory and threads that
copy where an interface cannot reach a GPU's memory; uneven buffers. Approximated: within the host
and between hosts at once (chunks are cut through); memory is read and written once for each byte
sent. Ignored: the NVLink hop of a rank whose interface is beside another GPU, PCIe lanes between a
GPU and the interface below the same root, congestion among collectives beyond fair shares.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from simulator.config.collectives import Collectives, Protocol
from simulator.config.operators import OperatorProfile
from simulator.errors import ConfigError
from simulator.hardware.access import Access
from simulator.hardware.collectives.groups import Groups, host_of
from simulator.hardware.collectives.routed import Routed
from simulator.hardware.collectives.ways import Way, ways
from simulator.hardware.demand import Demand, Service
from simulator.hardware.devices.base import Carried, Link, Sent
from simulator.hardware.program import Exchange

__all__ = ["price_exchange"]


@dataclass(frozen=True, slots=True)
class _Cost:
    way: Way
    latency_ps: int
    services: Mapping[str, Service]
    slowest_ps: float
    """Of the busiest resource of any rank."""

    @property
    def ps(self) -> float:
        return self.latency_ps + self.busy_ps

    @property
    def busy_ps(self) -> float:
        return max((self.slowest_ps, *(service.ps for service in self.services.values())))


def price_exchange(groups: Groups, exchange: Exchange, software: OperatorProfile) -> Demand:
    """The time on resources that the rank `exchange.at` needs for its part of a collective.

    Raises `ConfigError` where nothing joins the ranks, or the algorithm that is named cannot be.
    """
    if len(exchange.group) == 1:
        return Demand(exchange.name)
    machine = groups.machine
    costs = _Costs(groups, exchange, software.collectives)
    best = min(costs.all(), key=lambda cost: cost.ps)
    memory, rank = machine.memory(exchange.at), machine.devices[exchange.at]
    sent = [costs.sent(best.way, across) for across in (False, True)]
    streams = [
        Access(memory.place, 1, round(sum(size)), random=False, write=write)
        for write, size in ((False, [s.out for s in sent]), (True, [s.into for s in sent]))
    ]
    services = {memory.place: memory.service(streams), **best.services}
    services |= rank.occupied(software.collectives.blocks, best.busy_ps)
    host, submit_ps = machine.submission((memory.device,), software)
    return Demand(
        name=exchange.name,
        services=services,
        latency_ps=best.latency_ps,
        minimum_ps=round(best.slowest_ps),
        host=host,
        submit_ps=submit_ps + software.gpu.collective if host else 0,
    )


class _Costs:
    """What one collective costs one of its ranks, by every algorithm and protocol."""

    def __init__(self, groups: Groups, exchange: Exchange, library: Collectives) -> None:
        self._groups, self._exchange, self._library = groups, exchange, library
        self._group = groups.of(exchange.group, exchange.at)
        self._held = exchange.held or (exchange.bytes,) * len(exchange.group)

    def all(self) -> list[_Cost]:
        """Every one that there is, of the named algorithm where one is named."""
        exchange, library = self._exchange, self._library
        named = exchange.algorithm or library.algorithms.get(exchange.pattern)
        costs = [
            cost
            for way in ways(exchange.pattern, self._group.shape)
            if named in (None, way.algorithm) and way.algorithm not in library.without
            for protocol in self._protocols(way)
            if (cost := self._cost(way, protocol)) is not None
        ]
        if costs:
            return costs
        what = f"{exchange.pattern} by {named}" if named else exchange.pattern
        link = self._group.link
        name = "" if link is None else link.part.name if isinstance(link, Link) else link.label
        joined = f" over {name}" if name else ""
        raise ConfigError(
            f"{self._groups.machine.name}: no {what} among {len(exchange.group)} ranks{joined}: "
            "choose another algorithm (operators.collectives.algorithms) or number of GPUs"
        )

    def _protocols(self, way: Way) -> list[Protocol]:
        protocols = self._library.protocols.values()
        if way.algorithm == "switch":
            return [max(protocols, key=lambda protocol: protocol.share)]
        return [p for p in protocols if p.pairwise or way.traffic != "pairwise"]

    def _cost(self, way: Way, protocol: Protocol) -> _Cost | None:
        """None where the links of the host cannot carry it."""
        group, at = self._group, self._exchange.at
        asked: list[Carried] = []
        if way.inside and group.link is not None:
            ranks, sent = group.hosts[host_of(at)], self.sent(way, False)
            carried = group.link.exchange(at, ranks, way.traffic, sent)
            if carried is None:
                return None
            asked.append(carried)
        if way.across:
            asked += self._across(way, self.sent(way, True))
        share = protocol.share
        share *= self._library.switch_share if way.algorithm == "switch" else 1.0
        services: dict[str, Service] = {}
        for name, service in (s for a in asked for s in (a.services or {}).items()):
            scaled = service.scaled(1.0 / share)
            services[name] = services[name] + scaled if name in services else scaled
        slowest = max((carried.slowest_ps for carried in asked), default=0.0) / share
        return _Cost(way, self._latency(way, protocol), services, slowest)

    def sent(self, way: Way, across: bool) -> Sent:
        """Bytes that the rank sends and receives within its host, or between hosts."""
        part = float(way.across if across else way.inside)
        own: float = self._held[self._exchange.group.index(self._exchange.at)]
        if not self._exchange.held:
            return Sent(own * part, own * part, own * part * float(way.busiest if across else 1))
        host = host_of(self._exchange.at)
        here = [held for rank, held in self._by_rank() if host_of(rank) == host]
        away = [held for rank, held in self._by_rank() if host_of(rank) != host]
        others = away if across else here
        into = sum(others) - (0 if across else own)
        count = len(others) - (0 if across else 1)
        mean = into / count if count else 0.0
        if across and way.algorithm == "hierarchical":
            own = sum(here) / len(here)
        return Sent(own * part, mean * part, max(self._held) * part)

    def _by_rank(self) -> Iterator[tuple[str, int]]:
        return zip(self._exchange.group, self._held, strict=True)

    def _across(self, way: Way, sent: Sent) -> Iterator[Carried]:
        """What the interface of the rank, the network and, where bytes are staged, the host do."""
        group, at = self._group, self._exchange.at
        nic = self._groups.interface(at)
        assert group.network is not None
        shared = Sent(sent.out, sent.into, sent.most * group.sharing)
        yield nic.exchange(shared)
        carried = group.network.exchange(nic.name, group.interfaces, way.traffic, shared)
        if carried is not None:
            yield carried
        if not nic.part.gpu_direct:
            yield from self._groups.staged(at, nic, sent)

    def _latency(self, way: Way, protocol: Protocol) -> int:
        """Steps one after the other."""
        steps, library = way.steps, self._library
        wire = self._wire() if way.across else 0
        if way.algorithm == "switch":
            return library.switch_latency + steps.across * (library.switch_network_step + wire)
        tree = way.algorithm == "tree"
        near = protocol.tree_step if tree else protocol.step
        if isinstance(self._group.link, Routed) and self._group.link.packets:
            near = protocol.pcie_tree_step if tree else protocol.pcie_step
        far = (protocol.tree_network_step if tree else protocol.network_step) + wire
        batches = math.ceil(steps.peers / library.peers_at_once)
        far_batches = math.ceil(steps.network_peers / library.peers_at_once)
        peers = steps.peers * library.peer + steps.network_peers * library.network_peer
        in_turn = (steps.inside + batches) * near + (steps.across + far_batches) * far
        return protocol.base + in_turn + peers

    def _wire(self) -> int:
        """A message from one interface to another."""
        nic, network = self._groups.interface(self._exchange.at), self._group.network
        return 2 * nic.part.latency + (0 if network is None else network.part.latency)
