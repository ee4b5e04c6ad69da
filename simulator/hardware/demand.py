"""What an operation asks of a machine, once the parts that it uses have priced it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from simulator.columns import by_element, most
from simulator.results.resources import Kind

__all__ = [
    "Demand",
    "Kind",
    "Resource",
    "ResourceUse",
    "Service",
    "Spot",
    "StageDemand",
    "Turnaround",
    "loaded_latency",
]


@dataclass(frozen=True, slots=True)
class Turnaround:
    """Time that a resource loses when it serves reads and writes at once.

    `points`: (share of writes in the time of both alone, loss relative to that time), shares rising
    and between 0 and 1; none: it loses nothing. Between points, and to none at either end, the loss
    is linear. Simulated memories gather writes and drain them in batches, so that the number of
    switches, and the loss, rises with the share of writes until hardly any reads are left.
    """

    points: tuple[tuple[float, float], ...] = ()

    def __post_init__(self) -> None:
        shares = [0.0, *(share for share, _ in self.points), 1.0]
        if any(low >= high for low, high in pairwise(shares)):
            raise ValueError(f"shares of writes must rise between 0 and 1: {shares[1:-1]}")

    def factor(self, read_ps: float, write_ps: float) -> float:
        """Time of a mix of reads and writes relative to the sum of their times alone."""
        return _factor(self.points, read_ps, write_ps) if self.points else 1.0

    @classmethod
    def between(cls, read: float, write: float, mixed: Iterable[tuple[float, float]]) -> Turnaround:
        """From times a byte: of reads alone, writes alone, and (share of writes in the bytes, time)
        of mixes of both, shares rising. Losses below none count as none."""
        points = []
        for share, time in mixed:
            alone = (1.0 - share) * read + share * write
            points.append((share * write / alone, max(0.0, time / alone - 1.0)))
        return cls(tuple(points))


def _factor_of(points: tuple[tuple[float, float], ...], read_ps: float, write_ps: float) -> float:
    if read_ps <= 0.0 or write_ps <= 0.0:
        return 1.0
    writes = write_ps / (read_ps + write_ps)
    left, low = 0.0, 0.0
    for right, high in points:
        if writes <= right:
            break
        left, low = right, high
    else:
        right, high = 1.0, 0.0
    way = (writes - left) / (right - left)
    return 1.0 + low * (1.0 - way) + high * way


def _factors_of(points: tuple[tuple[float, float], ...], read_ps: Any, write_ps: Any) -> Any:
    """`_factor_of` for arrays of times."""
    ends, losses = np.array(((0.0, 0.0), *points, (1.0, 0.0))).T
    with np.errstate(all="ignore"):
        writes = write_ps / (read_ps + write_ps)
        right = 1 + np.searchsorted(ends[1:-1], writes)
        way = (writes - ends[right - 1]) / (ends[right] - ends[right - 1])
        factors = 1.0 + losses[right - 1] * (1.0 - way) + losses[right] * way
    return np.where((read_ps <= 0.0) | (write_ps <= 0.0), 1.0, factors)


_factor = by_element(_factor_of, of_floats=_factors_of)


@dataclass(frozen=True, slots=True)
class Resource:
    """Something that operations share: a memory, one direction of a link, cores, a thread pool.

    `name`: of the machine (`gpu0.hbm`); `device`: the part that brings it. `peak_bytes_per_s`: of
    its data sheet; None where it moves no bytes. `turnaround`: time that it loses when it
    serves reads and writes at once. `one_requester`: operations on it
    share one pool of outstanding requests: each of n at once has 1 / n of them. `wears`: bytes of a
    memory that writes wear out; None elsewhere.
    """

    name: str
    device: str
    kind: Kind
    peak_bytes_per_s: int | None = None
    turnaround: Turnaround = Turnaround()
    one_requester: bool = False
    wears: int | None = None

    @property
    def moves_bytes(self) -> bool:
        return self.peak_bytes_per_s is not None


_HIGHEST_LOAD = 0.95
"""Load from which on latency is taken to grow no more: requesters have finite windows."""


def loaded_latency(load: float) -> float:
    """Latency of a memory that others load, over that of an idle one.

    Mean wait of a queue with random arrivals and equal services (Pollaczek and Khinchine, M/D/1):
    1 + u / (2 (1 - u)), u: share of the time that it serves the others.
    """
    busy = min(load, _HIGHEST_LOAD)
    return 1.0 + busy / (2.0 * (1.0 - busy))


@dataclass(frozen=True, slots=True)
class Service:
    """Use of one resource by one operation.

    `read_ps` and `write_ps`: time that the resource needs for the operation's reads and writes if
    it does nothing else (picoseconds; resources without direction use `read_ps`). `bytes`: payload
    that crosses it. `energy_pj`: dynamic energy of that use, picojoule. `written`: those of its
    bytes that are written to a memory.
    """

    read_ps: float
    write_ps: float = 0.0
    bytes: int = 0
    energy_pj: float = 0.0
    written: int = 0

    @property
    def ps(self) -> float:
        return self.read_ps + self.write_ps

    def scaled(self, factor: float) -> Service:
        """With its time (not its bytes or energy) multiplied."""
        return Service(
            self.read_ps * factor,
            self.write_ps * factor,
            self.bytes,
            self.energy_pj,
            self.written,
        )

    def times(self, factor: float) -> Service:
        """Of `factor` times the work."""
        return Service(
            self.read_ps * factor,
            self.write_ps * factor,
            round(self.bytes * factor),
            self.energy_pj * factor,
            round(self.written * factor),
        )

    def __add__(self, other: Service) -> Service:
        return Service(
            self.read_ps + other.read_ps,
            self.write_ps + other.write_ps,
            self.bytes + other.bytes,
            self.energy_pj + other.energy_pj,
            self.written + other.written,
        )


@dataclass(frozen=True, slots=True)
class Demand:
    """One operation: time before it uses anything, then its use of resources, all at once.

    `minimum_ps` bounds the second part from below whatever the resources could do (threads that
    wait for memory, a kernel's critical path). `one_of_ps`: where it stands for several equal
    operations at once, how long one of them takes for the second part alone; speeds are relative
    to that.

    `host`: the host thread that submits it, a resource that does one thing after the other; it may
    not start before `submit_ps` of that thread's time, and is not done before `submit_more_ps`
    more (its other kernels, submitted while the first one runs). `host_ps`: time of the thread
    once it is done (a wait that returns). `blocks`: the host goes on only when it is done.

    `fetched`: resource -> time that the processor's read of what was submitted waits behind copies
    where they keep that resource busy all the time. `loaded`: resource -> how many times as fast as
    it runs alone its outstanding requests would let it go; it is held up where the load of others
    makes their latency longer than that. `alike`: resource -> how many equal operations it stands
    for there, which load it for each other; one where it is not told. `background`: it has what
    all others leave of its resources. `durable`: it begins only when what its mini-batch writes for
    a check-point is durable.
    """

    name: str
    services: Mapping[str, Service] = field(default_factory=dict)
    latency_ps: int = 0
    minimum_ps: int = 0
    one_of_ps: float | None = None
    host: str = ""
    submit_ps: int = 0
    submit_more_ps: int = 0
    host_ps: int = 0
    blocks: bool = False
    fetched: Mapping[str, int] = field(default_factory=dict)
    loaded: Mapping[str, float] = field(default_factory=dict)
    alike: Mapping[str, int] = field(default_factory=dict)
    background: bool = False
    durable: bool = False

    def alone_ps(self, resources: Mapping[str, Resource]) -> float:
        """Duration on the idle machine, without its latency."""
        if self.one_of_ps is not None:
            return self.one_of_ps
        times = (
            service.ps * resources[name].turnaround.factor(service.read_ps, service.write_ps)
            for name, service in self.services.items()
        )
        alone_ps: float = most(0.0, *times, 1.0 * self.minimum_ps)
        return alone_ps


Spot = tuple[int, int]
"""Where an operation stands in a stage: its lane, and its place in that."""


@dataclass(frozen=True, slots=True)
class StageDemand:
    """One stage of one mini-batch, priced: lanes side by side, operations in order.

    `waits`: operation -> those of other lanes that end before it begins. `in_turn`: one host
    thread submits for several processors: the first operation of each, then the second, and so on.
    """

    name: str
    lanes: tuple[tuple[Demand, ...], ...]
    waits: Mapping[Spot, tuple[Spot, ...]] = field(default_factory=dict)
    in_turn: bool = False


@dataclass(slots=True)
class ResourceUse:
    """What went through one resource."""

    busy_ps: float = 0.0
    """Time that it was needed for, at full rate, turnaround included."""
    bytes: float = 0.0
    energy_pj: float = 0.0
    held_ps: float = 0.0
    """Of a pool: time that its threads were held for, waiting for other resources included."""
    written: float = 0.0
    """Bytes that were written to a memory."""
