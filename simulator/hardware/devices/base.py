"""What a part does on a machine: its resources, and what operations and bytes on it cost.

A device prices only itself. A processor gets a `Reach`, which gives it the memories that its
operation touches and the links on the way to them; it never sees the machine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol

from simulator._plugins import place_of
from simulator.columns import most
from simulator.config.machine import Part
from simulator.config.operators import OperatorProfile
from simulator.errors import ConfigError, PluginError
from simulator.hardware.access import Access
from simulator.hardware.demand import Demand, Resource, ResourceUse, Service
from simulator.hardware.memory import Memory, StreamTiming
from simulator.hardware.program import Operation
from simulator.units import PS_PER_S

__all__ = ["PJ_PER_J", "Carried", "Device", "Hop", "Link", "Path", "Processor"]
__all__ += ["Reach", "RootedLink", "Sent", "Setup", "Traffic", "add_services", "dynamic_j"]

PJ_PER_J = 1e12


@dataclass(frozen=True)
class Setup:
    """What the devices of a machine are built for."""

    timing: Callable[[Part], StreamTiming]
    """Timing of a DRAM part at the fidelity of the run."""
    cpu_threads: int | None = None
    """Threads that operators on a CPU may use; None: one a core."""
    pools: int = 1
    """Equal pools that the threads are divided into; an operator runs on one of them."""
    row_bytes: int = 64
    """Bytes of the longest embedding rows."""


class Device:
    """A part in its socket, under its name on the machine.

    `members`: what a link joins, the root first; empty for other parts.
    """

    def __init__(self, name: str, part: Part, setup: Setup, members: tuple[str, ...] = ()) -> None:
        self.name, self.part, self.members, self.setup = name, part, members, setup
        self.prepare(setup)

    def prepare(self, setup: Setup) -> None:
        """Build what the part brings (memories)."""

    @property
    def memories(self) -> tuple[Memory, ...]:
        """Memories that it brings."""
        return ()

    @property
    def main_memory(self) -> Memory | None:
        """The memory that its name alone means: the only one that it brings, unless it says else;
        None where there are several or none."""
        return self.memories[0] if len(self.memories) == 1 else None

    @property
    def resources(self) -> tuple[Resource, ...]:
        """What operations share of it, its memories included."""
        return tuple(memory.resource for memory in self.memories)

    def passing(self, arriving: Link, leaving: Link, size: int) -> Carried:
        """Cost of `size` bytes on their way from one link to another through this device."""
        del arriving, leaving, size
        return Carried()

    def entered(self, memory: Memory, size: int, *, write: bool) -> dict[str, Service]:
        """What other devices use of it that read `size` bytes of its `memory`, or write them there,
        over a link; by default nothing beside the memory itself."""
        del memory, size, write
        return {}

    def occupied(self, parts: int, ps: float) -> dict[str, Service]:
        """Use of its cores by `parts` of them (threads of a CPU, thread blocks of a GPU) for `ps`
        each; by default none."""
        del parts, ps
        return {}

    def energy(self, use: Mapping[str, ResourceUse], elapsed_ps: int) -> dict[str, float]:
        """Joules of each resource in `elapsed_ps`; by default what its memories take."""
        seconds = elapsed_ps / PS_PER_S
        return {
            memory.place: dynamic_j(use, memory.place) + memory.timing.standing_w * seconds
            for memory in self.memories
        }


def dynamic_j(use: Mapping[str, ResourceUse], resource: str) -> float:
    """Joules of what was done on `resource`."""
    return use[resource].energy_pj / PJ_PER_J if resource in use else 0.0


@dataclass(frozen=True, slots=True)
class Carried:
    """What a link (or a device on the way) asks for bytes that pass it."""

    services: Mapping[str, Service] | None = None
    latency_ps: int = 0
    read_slack: float | None = None
    """Of bytes that the far end reads: how many times as fast as the link carries them its
    outstanding requests let them come from an idle memory. None: they are posted."""
    slowest_ps: float = 0.0
    """Of a collective: time of the busiest resource of all members."""


@dataclass(frozen=True, slots=True)
class Sent:
    """Bytes of one member of a collective over a link."""

    out: float
    """What it sends."""
    into: float
    """What it receives."""
    most: float
    """What the member with the most sends."""


@dataclass(frozen=True, slots=True)
class Scattered:
    """Distinct rows at random out of `among` bytes, one after the other, or in the order in which
    they lie."""

    count: int
    among: int
    ascending: bool = False


@dataclass(frozen=True, slots=True)
class Requests:
    """Bytes that a processor loads or stores over a link, `request` at a time."""

    size: int
    request: float
    rows: tuple[Scattered, ...] = ()
    """Of each store."""


Traffic = Literal["pairwise", "ring", "switch"]
"""What each member of a collective sends to the others over a link: to all of them alike, to the
next of rings through all, or to a switch that sums."""


class Link(Device):
    """A device that carries bytes between its members."""

    def pairs(self) -> Sequence[tuple[str, str]]:
        """Members that it joins directly, in both directions."""
        raise NotImplementedError

    def carry(self, source: str, target: str, size: int, *, by: str | None = None) -> Carried:
        """Cost of `size` bytes from one member to another.

        `by`: the end whose processor stores them (`source`) or loads them (`target`); None: a copy
        with its set-up.
        """
        raise NotImplementedError

    def carry_requests(self, source: str, target: str, asked: Requests, *, by: str) -> Carried:
        """Cost of what the processor at `by` loads or stores request by request; by default as
        `carry`."""
        return self.carry(source, target, asked.size, by=by)

    def ports(self, member: str) -> tuple[str, ...]:
        """Resources that belong to one member alone; empty where members share all of it."""
        del member
        return ()

    def load_latency(self) -> int | None:
        """Picoseconds that a load through it takes beside the memory's own; None where a processor
        cannot load and store through it."""
        return None

    def load_latency_at(self, member: str) -> int | None:
        """`load_latency` of loads by the processor at `member`."""
        del member
        return self.load_latency()

    def fetch_wait(self, member: str) -> tuple[str, int] | None:
        """Where the host submits work to `member` over it: the resource, and picoseconds that what
        is submitted waits behind copies that keep it busy. None where it does not."""
        del member
        return None

    def beside(self, member: str) -> Iterable[str]:
        """Members that `member` reaches over it."""
        for one, other in self.pairs():
            if member in (one, other):
                yield other if member == one else one

    def exchange(
        self, member: str, group: Sequence[str], traffic: Traffic, sent: Sent
    ) -> Carried | None:
        """What a collective among `group` asks of the ports of `member`; None where it cannot
        carry that."""
        del member, group, traffic, sent
        return None


class RootedLink(Link):
    """A link below a root with two directions, `down` from the root and `up` to it: the first
    member is the root, the others lie below it.

    Its part has a `raw_bandwidth`, of each direction, and a `load_latency`.
    """

    part: Any

    @property
    def resources(self) -> tuple[Resource, ...]:
        peak = self.part.raw_bandwidth
        return tuple(
            Resource(f"{self.name}.{way}", self.name, "link", peak) for way in ("down", "up")
        )

    def pairs(self) -> Sequence[tuple[str, str]]:
        root, *leaves = self.members
        return [(root, leaf) for leaf in leaves]

    def load_latency(self) -> int | None:
        latency: int | None = self.part.load_latency
        return latency


@dataclass(frozen=True, slots=True)
class Hop:
    """One link of a route, from one device to the next."""

    link: Link
    source: str
    target: str


@dataclass(frozen=True, slots=True)
class Path:
    """A memory as a processor reaches it: itself, and the hops from the processor to it."""

    memory: Memory
    hops: tuple[Hop, ...] = ()
    home: Device | None = None
    """The device of the memory, where links lead to it."""

    @property
    def load_latency_ps(self) -> int:
        """Time of a load beside that of one from DRAM of the processor's own."""
        links_ps = sum(hop.link.load_latency_at(hop.source) or 0 for hop in self.hops)
        return self.memory.added_ps + links_ps

    def services(self, streams: Sequence[Access]) -> dict[str, Service]:
        """The memory's service for `streams` first, then those of the links on the way, which
        carry whole pages as copies.

        Raises `ConfigError` for reads over a link that carries copies and stores alone.
        """
        copied = self.memory.pages is not None
        services = {self.memory.place: self.memory.service(streams)}
        sizes: dict[tuple[bool, float], int] = {}
        rows: dict[tuple[bool, float], list[Scattered]] = {}
        for stream in streams:
            key = (stream.write, stream.request)
            sizes[key] = sizes.get(key, 0) + stream.bytes
            if stream.request:
                own = Scattered(stream.translated, stream.among, stream.ascending)
                rows.setdefault(key, []).append(own)
        for (write, _), size in sizes.items():
            if self.home is not None:
                add_services(services, self.home.entered(self.memory, size, write=write))
        for hop in self.hops:
            for (write, request), size in sizes.items():
                loaded = not (write or copied) and size
                if loaded and hop.link.load_latency_at(hop.source) is None:
                    raise ConfigError(
                        f"{self.hops[0].source} cannot load from {self.memory.place}: "
                        f"{hop.link.name} ({hop.link.part.name}) carries copies and stores alone "
                        "(no load_latency)"
                    )
                ends = (hop.source, hop.target) if write else (hop.target, hop.source)
                carried = (
                    hop.link.carry_requests(
                        *ends, Requests(size, request, tuple(rows[write, request])), by=hop.source
                    )
                    if request
                    else hop.link.carry(*ends, size, by=None if copied else hop.source)
                )
                add_services(services, carried.services or {})
        return services

    def alone_ps(self, services: Mapping[str, Service]) -> float:
        """Time of `services` by themselves: the slowest of the memory and the links."""
        memory_ps = self.memory.alone_ps(services[self.memory.place])
        others = (s.ps for name, s in services.items() if name != self.memory.place)
        alone_ps: float = most(memory_ps, *others)
        return alone_ps


def add_services(services: dict[str, Service], more: Mapping[str, Service]) -> None:
    """Add `more` to `services`, by resource."""
    for name, service in more.items():
        services[name] = services[name] + service if name in services else service


class Reach(Protocol):
    """Gives a processor the memories that its operation touches, by the name of their place."""

    def __call__(self, memory: str) -> Path: ...


Rule = Callable[..., Demand]


class Processor(Device):
    """A device that does operations: a rule for each word that it knows.

    `rules`: operation -> the name of the method that prices it, `(operation, software, reach) ->
    Demand`. A word without a rule is an error that names the device, before anything runs.
    """

    rules: ClassVar[Mapping[type[Operation], str]] = {}

    def price(self, operation: Operation, software: OperatorProfile, reach: Reach) -> Demand:
        """Time on resources that `operation` needs here.

        Raises `ConfigError` for an operation without a rule, `PluginError` where a rule gives
        anything else.
        """
        rule = self.rules.get(type(operation))
        if rule is None:
            raise ConfigError(
                f"{self.name} ({self.part.name}) cannot do {type(operation).__name__} "
                f"({operation.name!r}): it has no rule for it"
            )
        demand: object = getattr(self, rule)(operation, software, reach)
        if not isinstance(demand, Demand):
            where = place_of(getattr(type(self), rule))
            raise PluginError(f"{self.name}: {rule} gave {demand!r:.80}, no Demand ({where})")
        return demand

    def left_changed(self, operation: Operation, software: OperatorProfile) -> int | None:
        """Bytes that `operation` leaves changed in its last cache, for the next one to drive out;
        None where it does not pass that cache."""
        del operation, software
        return None

    def submission(self, software: OperatorProfile) -> tuple[str, int]:
        """The host thread that submits copies to and from it, and picoseconds of one; an empty
        name where no host has to."""
        del software
        return "", 0

    def training_passes(
        self, software: OperatorProfile, optimizer: str = "sgd"
    ) -> tuple[tuple[str, str], ...]:
        """The passes of the backward of embeddings on it, in order: the word (of `expand`, `sort`,
        `accumulate` and `update`), and what results call it."""
        del software, optimizer
        return (("sort", "sort"), ("update", "update"))

    keeps_rows: ClassVar[bool] = True
    """Whether its last cache still holds rows of the mini-batch before when the next one looks
    rows up."""

    def cached_rows(self, row_bytes: int) -> int:
        """Rows of that size that its last cache holds beside its memory; 0: none."""
        del row_bytes
        return 0

    def pinned_rows(self, software: OperatorProfile) -> int:
        """Rows that a kernel which looks rows up finds pinned in that cache; by default none."""
        del software
        return 0
