"""A machine as a graph of named parts: devices, their resources, and routes between memories.

Names follow by rule: a socket with one part gives `gpu`, with eight `gpu0` to `gpu7`; with several
hosts `host3.gpu5`. Resources add what they are: `host3.gpu5.hbm`, `host3.pcie5.down`,
`host3.nvlink.gpu5.out`. The ways between them are `routes.py`, what a copy costs `moves.py`, a
collective `collectives/`, any other operation its device.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import cast

from simulator._plugins import explained
from simulator.columns import Column
from simulator.config.machine import HostConfig, MachineConfig, Part, Socket
from simulator.config.operators import OperatorProfile
from simulator.errors import ConfigError
from simulator.hardware.collectives import Groups, host_of, price_exchange
from simulator.hardware.demand import Demand, Resource, StageDemand
from simulator.hardware.devices.base import (
    Device,
    Hop,
    Link,
    Path,
    Processor,
    Setup,
)
from simulator.hardware.devices.dram import Dram
from simulator.hardware.known_prices import KnownPrices
from simulator.hardware.lanes import waits_of
from simulator.hardware.memory import Memory
from simulator.hardware.moves import price_move, price_record
from simulator.hardware.program import Exchange, Move, Operation, Record, Stage
from simulator.hardware.routes import Routes
from simulator.hardware.timing import ExactTiming, SampledTiming, TableTiming

__all__ = ["Topology", "build_topology", "member_groups"]

_FIDELITY: dict[str, type[TableTiming]] = {
    "table": TableTiming,
    "exact": ExactTiming,
    "sampled": SampledTiming,
}


@dataclass(frozen=True)
class _Timed:
    """Timing of DRAM parts; two are equal where they time alike."""

    kind: type[TableTiming]
    row_bytes: int

    def __call__(self, part: Part) -> TableTiming:
        return self.kind(cast(Dram, part), self.row_bytes)


def build_topology(
    config: MachineConfig,
    row_bytes: int,
    *,
    fidelity: str = "table",
    cpu_threads: int | None = None,
    pools: int = 1,
    beside: Mapping[str, Part] | None = None,
) -> Topology:
    """The machine that `config` describes, for embedding rows of `row_bytes`.

    `fidelity`: of DRAM timing. `cpu_threads`: threads of the operators on a CPU (None: one a
    core); `pools`: equal ones that they are divided into. `beside`: parts by name that stand in no
    socket of it. Raises `ConfigError` for links that join
    nothing.
    """
    setup = Setup(_Timed(_FIDELITY[fidelity], row_bytes), cpu_threads, pools, row_bytes)
    return Topology(config, setup, beside or {})


class Topology:
    """Named devices, their resources, and what operations cost on them; holds no clock."""

    def __init__(
        self, config: MachineConfig, setup: Setup, beside: Mapping[str, Part] | None = None
    ) -> None:
        self.config = config
        self._setup = setup
        self.devices: dict[str, Device] = {}
        """Every device by name."""
        self._sockets: dict[str, str] = {}
        for host, prefix in _hosts(config):
            self._place_host(host, prefix)
        if config.network is not None:
            self._place_network(config.network)
        for name, part in (beside or {}).items():
            self._place(name, part, name)
        self._memories = {m.place: m for d in self.devices.values() for m in d.memories}
        self.groups = Groups(self)
        """Ranks that exchange."""
        self._routes = Routes(self.name, self.devices, self.groups.interface)
        self._reaches: dict[tuple[str, str], Path] = {}
        self._exchanges: dict[tuple[Exchange, int], tuple[OperatorProfile, Demand]] = {}

    # building

    def _place_host(self, host: HostConfig, prefix: str) -> None:
        members: dict[str, list[str]] = {}
        for socket_name, socket in host.sockets.items():
            if not socket.join:
                members[socket_name] = names = _names(prefix + socket_name, socket.count)
                for name in names:
                    self._place(name, socket.part, socket_name)
        for socket_name, socket in host.sockets.items():
            if socket.join:
                groups = member_groups(socket, [members[joined] for joined in socket.join])
                names = _names(prefix + socket_name, len(groups))
                for name, group in zip(names, groups, strict=True):
                    self._place(name, socket.part, socket_name, group)

    def _place_network(self, network: Socket) -> None:
        sockets = set(network.join)
        members = tuple(name for name, socket in self._sockets.items() if socket in sockets)
        self._place("network", network.part, "network", members)

    def _place(self, name: str, part: Part, socket: str, members: Sequence[str] = ()) -> None:
        build = cast(
            "Callable[[str, Setup, tuple[str, ...]], Device]", getattr(part, "device", None)
        )
        if build is None:
            raise ConfigError(f"{name}: a part of kind {part.kind!r} cannot stand in a socket")
        if name in self.devices:
            raise ConfigError(f"{self.name} has two devices called {name!r}: rename a socket")
        with explained(name, "cannot be built from its part", type(part)):
            self.devices[name] = build(name, self._setup, tuple(members))
        self._sockets[name] = socket

    # what systems ask

    @property
    def name(self) -> str:
        return self.config.name

    def all(self, kind: str) -> tuple[str, ...]:
        """Names of all devices of one kind of part, in order."""
        return tuple(name for name, d in self.devices.items() if d.part.kind == kind)

    def first(self, kind: str, why: str) -> str:
        """The first device of a kind; `why`: who needs it, for the message where there is none."""
        names = self.all(kind)
        if not names:
            kinds = ", ".join(sorted({d.part.kind for d in self.devices.values()}))
            a = "an" if kind[0] in "aeiou" else "a"
            raise ConfigError(f"{why} needs {a} {kind}, but {self.name} has none (it has {kinds})")
        return names[0]

    def links_of(self, devices: Iterable[str]) -> tuple[Link, ...]:
        """The links that end at any of `devices`, each once."""
        return self._routes.links_of(devices)

    def only(self, kind: str, why: str, near: str = "") -> str:
        """The one device of a kind, on the host of the device `near` where that is given; where
        there are several, it is an error that says so."""
        names = [n for n in self.all(kind) if not near or host_of(n) == host_of(near)]
        name = names[0] if names else self.first(kind, why)
        count = len(names)
        if count > 1:
            hosts = len({host_of(name) for name in names})
            alike = hosts == count and len(self.config.hosts) == 1
            several = "set platform.hosts=1, or name gpu_only, which runs on several hosts"
            remedy = several if alike else "name a machine with one"
            raise ConfigError(f"{why} uses one {kind}, but {self.name} has {count}: {remedy}")
        return name

    def memory(self, place: str) -> Memory:
        """The memory at `place`: its own name, or that of the device whose main memory it is."""
        if place in self._memories:
            return self._memories[place]
        device = self.devices.get(place)
        memory = None if device is None else device.main_memory
        if memory is None:
            known = ", ".join(self._memories)
            raise ConfigError(f"{self.name} has no memory {place!r}: {known}")
        return memory

    def processor(self, place: str) -> Processor:
        """The device called `place`, which does operations."""
        device = self.devices.get(place)
        if not isinstance(device, Processor):
            known = ", ".join(n for n, d in self.devices.items() if isinstance(d, Processor))
            raise ConfigError(f"{self.name} has no processor {place!r}: {known}")
        return device

    @cached_property
    def resources(self) -> dict[str, Resource]:
        """Every resource by name."""
        resources: dict[str, Resource] = {}
        for device in self.devices.values():
            for resource in device.resources:
                if resource.name in resources:
                    raise ConfigError(f"{self.name} has two resources called {resource.name!r}")
                resources[resource.name] = resource
        return resources

    @property
    def memories(self) -> tuple[Memory, ...]:
        """Every memory."""
        return tuple(self._memories.values())

    @cached_property
    def _fetch_waits(self) -> dict[str, dict[str, int]]:
        """By processor: see `Demand.fetched`."""
        waits: dict[str, dict[str, int]] = {}
        for link in (d for d in self.devices.values() if isinstance(d, Link)):
            for member in link.members:
                wait = link.fetch_wait(member)
                if wait is not None:
                    waits.setdefault(member, {})[wait[0]] = wait[1]
        return waits

    # routes

    def route(self, source: str, target: str) -> tuple[Hop, ...]:
        """The links between two devices (or their memories), shortest way; between hosts over the
        network interfaces of both ends.

        Raises `ConfigError` where there is none, or where two are equally short.
        """
        return self._routes.between(self._device_of(source), self._device_of(target))

    def _device_of(self, place: str) -> str:
        return place if place in self.devices else self.memory(place).device

    def reach(self, processor: str, memory: str) -> Path:
        """A memory as `processor` loads and stores to it."""
        key = (processor, memory)
        if key not in self._reaches:
            there, hops = self.memory(memory), self.route(processor, memory)
            home = self.devices[there.device] if hops else None
            self._reaches[key] = Path(there, hops, home)
        return self._reaches[key]

    # prices

    def price_stage(
        self, stage: Stage, software: OperatorProfile, known: KnownPrices | None = None
    ) -> StageDemand:
        """All operations of a stage, priced.

        Raises `PluginError` where code of a part from outside fails."""
        with explained(f"stage {stage.name}", "cannot be timed"):
            lanes = tuple(
                tuple(self.price(op, software, known) for op in lane) for lane in stage.lanes
            )
        return StageDemand(stage.name, lanes, waits_of(stage))

    def price(
        self, operation: Operation, software: OperatorProfile, known: KnownPrices | None = None
    ) -> Demand:
        """Time on resources that `operation` needs on this machine; `known`: prices of machines
        before.

        Raises `ConfigError` where a device has no rule for it, or no link leads where it must.
        """
        if isinstance(operation, Record):
            return price_record(self, operation, software)
        if isinstance(operation, Move):
            return price_move(self, operation, software)
        if isinstance(operation, Exchange):
            return self._price_exchange(operation, software)
        processor = self.processor(operation.at)
        price = processor.price if known is None else partial(known.price, processor)
        demand = price(operation, software, partial(self.reach, operation.at))
        if operation.durable:
            demand = replace(demand, durable=True)
        wait = self._fetch_waits.get(operation.at)
        if not wait or not demand.submit_ps:
            return demand
        return replace(demand, fetched=wait) if known is None else known.fetched(demand, wait)

    def _price_exchange(self, exchange: Exchange, software: OperatorProfile) -> Demand:
        """As `price_exchange`, once for those of all mini-batches."""
        if any(isinstance(size, Column) for size in (exchange.bytes, *exchange.held)):
            return price_exchange(self.groups, exchange, software)
        key = (exchange, id(software))
        if key not in self._exchanges:
            demand = price_exchange(self.groups, exchange, software)
            self._exchanges[key] = (software, demand)
        return self._exchanges[key][1]

    def submission(self, places: Sequence[str], software: OperatorProfile) -> tuple[str, int]:
        """The host thread that submits work between `places`, and its time for it."""
        for place in places:
            device = self.devices[place]
            if isinstance(device, Processor):
                host, ps = device.submission(software)
                if host:
                    return host, ps
        return "", 0


def _hosts(config: MachineConfig) -> Iterator[tuple[HostConfig, str]]:
    """Every host, and what its names begin with."""
    lone = sum(host.count for host in config.hosts) == 1
    for host in config.hosts:
        for name in _names(host.name, host.count):
            yield host, "" if lone else f"{name}."


def _names(stem: str, count: int) -> list[str]:
    """The names of `count` equal parts: numbered where there are several."""
    return [stem] if count == 1 else [f"{stem}{k}" for k in range(count)]


def member_groups(socket: Socket, joined: Sequence[Sequence[str]]) -> list[tuple[str, ...]]:
    """The members of each link of a socket, given the devices of the sockets that it joins.

    One socket: all its devices in one link. Several: the devices of the second in groups of `per`
    (None: a link each), each with its share of the others, and with its root, evenly divided.
    """
    if len(joined) == 1:
        return [tuple(joined[0])]
    roots, *below = joined
    per = socket.per or 1
    links = -(-len(below[0]) // per)
    groups: list[list[str]] = [[roots[k * len(roots) // links]] for k in range(links)]
    for number, leaf in enumerate(below[0]):
        groups[number // per].append(leaf)
    for others in below[1:]:
        for number, leaf in enumerate(others):
            groups[number * links // len(others)].append(leaf)
    return [tuple(group) for group in groups]
