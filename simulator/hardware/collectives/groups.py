"""Groups of ranks on a machine: which host each is on, what joins them, which interface each uses.

A rank uses the interface below its own root where there is one, evenly divided among the ranks
there; else those of its host, evenly divided.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from simulator.errors import ConfigError
from simulator.hardware.access import Access
from simulator.hardware.collectives.places import Places, host_of
from simulator.hardware.collectives.routed import Routed
from simulator.hardware.collectives.ways import Shape
from simulator.hardware.devices.base import Carried, Link, Sent
from simulator.hardware.devices.network import NetworkDevice
from simulator.hardware.devices.nic import NicDevice

__all__ = ["Group", "Groups", "host_of"]


@dataclass(frozen=True, slots=True)
class Group:
    """Ranks that exchange, seen from the host of one of them."""

    ranks: tuple[str, ...]
    hosts: Mapping[str, tuple[str, ...]]
    """Host -> its ranks."""
    link: Link | Routed | None
    """What joins the ranks of the host: one link, or routes; None where it has one rank."""
    interfaces: tuple[str, ...] = ()
    """That of each rank, where there are several hosts."""
    network: NetworkDevice | None = None

    @property
    def shape(self) -> Shape:
        return Shape(len(self.hosts), len(self.ranks) // len(self.hosts))

    @property
    def sharing(self) -> int:
        """Ranks that share the busiest interface."""
        return max(Counter(self.interfaces).values(), default=1)


class Groups:
    """The groups of a machine, each looked up once."""

    def __init__(self, machine: Places) -> None:
        self.machine = machine
        self._known: dict[tuple[tuple[str, ...], str], Group] = {}
        self._interfaces: dict[str, NicDevice] = {}

    def of(self, ranks: tuple[str, ...], at: str) -> Group:
        """The group of `ranks` as that of `at` sees it.

        Raises `ConfigError` where hosts have unequal numbers of them, or nothing joins them.
        """
        key = (ranks, host_of(at))
        if key not in self._known:
            self._known[key] = self._grouped(ranks, host_of(at))
        return self._known[key]

    def _grouped(self, ranks: tuple[str, ...], at: str) -> Group:
        machine = self.machine
        hosts: dict[str, list[str]] = {}
        for rank in ranks:
            hosts.setdefault(host_of(rank), []).append(rank)
        by_host = {host: tuple(members) for host, members in hosts.items()}
        counts = {len(members) for members in by_host.values()}
        if len(counts) > 1:
            raise ConfigError(
                f"{machine.name}: {len(ranks)} ranks do not fill {len(hosts)} hosts evenly "
                f"({', '.join(map(str, sorted(counts)))} of one host): use a multiple of "
                f"{max(counts)}"
            )
        link = self._joined(by_host[at]) if len(by_host[at]) > 1 else None
        if len(by_host) == 1:
            return Group(ranks, by_host, link)
        interfaces = tuple(self.interface(rank).name for rank in ranks)
        return Group(ranks, by_host, link, interfaces, self._network())

    def _joined(self, ranks: Sequence[str]) -> Link | Routed:
        """The link that joins all of `ranks` directly, or else the routes between them."""
        for link in self.machine.links_of(ranks[:1]):
            joins = set(ranks) <= set(link.members)
            if joins and link.exchange(ranks[0], ranks, "pairwise", Sent(0, 0, 0)) is not None:
                return link
        return Routed(self.machine, ranks)

    def _network(self) -> NetworkDevice:
        devices = self.machine.devices.values()
        for device in devices:
            if isinstance(device, NetworkDevice):
                return device
        raise ConfigError(
            f"{self.machine.name} has several hosts, but no network joins them: give each host "
            "`nic: {part: connectx7_ndr, count: 8}`, name it in the host's pcie.join, and add "
            "`network: {part: infiniband_ndr, join: nic}`"
        )

    def interface(self, rank: str) -> NicDevice:
        """The network interface that `rank` uses.

        Raises `ConfigError` where its host has none on the network.
        """
        if rank not in self._interfaces:
            self._interfaces |= self._assigned(host_of(rank), self.machine.devices[rank].part.kind)
        return self._interfaces[rank]

    def _assigned(self, host: str, kind: str) -> dict[str, NicDevice]:
        """The interface of every rank of a host, ranks being of one kind of part."""
        machine = self.machine
        ranks = [name for name in machine.all(kind) if host_of(name) == host]
        nics = [nic for nic in self._network().members if host_of(nic) == host]
        if not nics:
            raise ConfigError(
                f"{machine.name}: {host} has no interface on the network: add `nic: {{part: "
                "connectx7_ndr}` and name it in network.join"
            )
        chosen = _shares(ranks, nics)
        for link in machine.links_of(ranks):
            near = [nic for nic in nics if nic in link.members]
            if near:
                chosen |= _shares([rank for rank in ranks if rank in link.members[1:]], near)
        found = {rank: machine.devices[nic] for rank, nic in chosen.items()}
        return {rank: nic for rank, nic in found.items() if isinstance(nic, NicDevice)}

    def private(self, rank: str) -> tuple[str, ...]:
        """Resources of the interface of a rank and of its port on the network; none without one."""
        if not self.machine.all("network"):
            return ()
        nic, network = self.interface(rank), self._network()
        return (*(resource.name for resource in nic.resources), *network.ports(nic.name))

    def staged(self, rank: str, nic: NicDevice, sent: Sent) -> Iterator[Carried]:
        """Bytes between a rank and its interface by way of the host's memory: the links to it, the
        memory, and the threads of its processor."""
        machine = self.machine
        host = [name for name in machine.all("cpu") if host_of(name) == host_of(rank)]
        if not host:
            raise ConfigError(f"{machine.name}: {nic.part.name} needs a CPU to copy for it")
        memory = machine.memory(host[0])
        for source, target, size in (
            (rank, host[0], sent.out),
            (host[0], nic.name, sent.out),
            (nic.name, host[0], sent.into),
            (host[0], rank, sent.into),
        ):
            for hop in machine.route(source, target):
                yield hop.link.carry(hop.source, hop.target, round(size), by=hop.source)
        both = round(sent.out + sent.into)
        part = nic.part
        copies = 2 if part.send_time or part.receive_time else 1
        streams = [
            Access(memory.place, copies, both, random=False, write=write) for write in (False, True)
        ]
        yield Carried({memory.place: memory.service(streams)})
        send_ps, receive_ps = sent.out * part.send_time, sent.into * part.receive_time
        threads = machine.devices[host[0]].occupied(1, send_ps + receive_ps)
        yield Carried(threads, slowest_ps=max(send_ps, receive_ps))


def _shares(ranks: Sequence[str], nics: Sequence[str]) -> dict[str, str]:
    """Interfaces evenly divided among ranks."""
    return {rank: nics[k * len(nics) // len(ranks)] for k, rank in enumerate(ranks)}
