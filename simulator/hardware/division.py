"""How fast operations go that share resources: relative speeds, the same for all as far as it goes.

Progressive filling: every operation speeds up until a resource is full or it runs as fast as its
limit; the others go on. Limits come from outstanding requests (`Demand.loaded`): the more others
load a memory, the longer its latency and the slower an operation that waits for its answers. Loads
make latencies and latencies loads: steps of 1, 1/2, 1/3 ... towards what the last loads allow, so
that they settle where each would overshoot the other.

Compiled, for a machine with many GPUs has dozens of operations under way; sums are in the order of
the operations, so that results do not depend on how it is done.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import simpy

from simulator._compiled import compiled, inner_kernel
from simulator.hardware.demand import Service, loaded_latency

__all__ = ["Running", "divide", "fill_behind", "settle"]

_ROUNDS = 8
"""Times that loads and latencies are set against each other, at most."""
_SETTLED = 1e-3
"""Move of a speed below which they agree."""
_FULL = 1e-12
"""Speed below its limit at which an operation is there."""

Floats = npt.NDArray[np.float64]
Int64s = npt.NDArray[np.int64]
_latency = compiled(loaded_latency)


@dataclass(slots=True, eq=False)
class Running:
    """An operation under way."""

    services: Mapping[str, Service]
    alone_ps: float
    left_ps: float
    done: simpy.Event
    pool: str | None
    """The pool of requests that it shares with others, where it has one."""
    loaded: Mapping[str, float] = field(default_factory=dict)
    """See `Demand.loaded`."""
    alike: Mapping[str, int] = field(default_factory=dict)
    """See `Demand.alike`."""
    background: bool = False
    """It has what others leave."""
    limit: float = 1.0
    """Speed that its outstanding requests allow beside the others."""
    speed: float = 1.0
    """Relative to running alone; 1 is as fast as an idle machine allows."""
    uses: list[tuple[str, float]] = field(init=False)
    """(resource, its time), of those that it takes time of."""
    asked: dict[str, float] = field(init=False)
    """Share of a resource that it takes when it runs as alone, turnaround left out."""

    mixes: list[tuple[str, float, float]] = field(init=False)
    """(resource, share of it that its reads ask for, that its writes do)."""

    def __post_init__(self) -> None:
        alone_ps = self.alone_ps
        self.mixes = [
            (name, service.read_ps / alone_ps, service.write_ps / alone_ps)
            for name, service in self.services.items()
        ]
        self.uses = [(name, service.ps) for name, service in self.services.items() if service.ps]
        self.asked = {name: ps / alone_ps for name, ps in self.uses}

    def share(self, resource: str) -> float:
        """Share of a resource that it takes at its present speed, turnaround left out."""
        return self.speed * self.asked.get(resource, 0.0)


def divide(operations: Sequence[Running], slowdown: Mapping[str, float]) -> dict[str, float]:
    """Give each of `operations` its limit and speed; what is left of each resource.

    `slowdown`: time of each resource in use relative to what its operations ask for.
    """
    number = {name: k for k, name in enumerate(slowdown)}
    slow = np.array([*slowdown.values()], np.float64)
    requesters = Counter(operation.pool for operation in operations)
    weight = np.array([1.0 if o.pool is None else 1.0 / requesters[o.pool] for o in operations])
    pool = np.array([-1 if o.pool is None else number[o.pool] for o in operations], np.int64)
    start = _starts([len(o.uses) for o in operations])
    resource = np.array([number[name] for o in operations for name, _ in o.uses], np.int64)
    time = np.array([ps for o in operations for _, ps in o.uses], np.float64)
    asked = np.array([share for o in operations for share in o.asked.values()], np.float64)
    owner = np.repeat(np.arange(len(operations)), np.diff(start))
    alone_ps = np.array([o.alone_ps for o in operations], np.float64)
    need = weight[owner] * time * slow[resource] / alone_ps[owner]
    loads = [(o, name, slack) for o in operations for name, slack in o.loaded.items()]
    bounds = (
        _starts([len(o.loaded) for o in operations]),
        np.array([number.get(name, -1) for _, name, _ in loads], np.int64),
        np.array([slack for *_, slack in loads], np.float64),
        np.array([o.asked.get(name, 0.0) for o, name, _ in loads], np.float64),
        np.array([1.0 - 1.0 / o.alike.get(name, 1) for o, name, _ in loads], np.float64),
    )
    limit, speed = np.ones(len(operations)), np.zeros(len(operations))
    room = np.ones(len(slow))
    settle((start, resource, need, asked, owner), (weight, pool), bounds, slow, limit, speed, room)
    for operation, allowed, reached in zip(operations, limit.tolist(), speed.tolist(), strict=True):
        operation.limit, operation.speed = allowed, reached
    return dict(zip(number, room.tolist(), strict=True))


def fill_behind(
    operations: Sequence[Running], slowdown: Mapping[str, float], room: dict[str, float]
) -> None:
    """Give each of `operations` the speed that the `room` of its resources leaves to it, in order,
    and take that off the room.

    `slowdown`: as in `divide`.
    """
    for operation in operations:
        need = {name: share * slowdown[name] for name, share in operation.asked.items()}
        free = (room[name] / share for name, share in need.items() if share)
        operation.limit = 1.0
        operation.speed = min(1.0, *free) if need else 1.0
        if operation.speed < _FULL:
            operation.speed = 0.0
        for name, share in need.items():
            room[name] = max(0.0, room[name] - operation.speed * share)


def _starts(counts: Sequence[int]) -> Int64s:
    return np.cumsum([0, *counts], dtype=np.int64)


@compiled
def settle(
    uses: tuple[Int64s, Int64s, Floats, Floats, Int64s],
    requesters: tuple[Floats, Int64s],
    bounds: tuple[Int64s, Int64s, Floats, Floats, Floats],
    slow: Floats,
    limit: Floats,
    speed: Floats,
    room: Floats,
) -> None:
    """Limits and speeds that agree with each other; `room`: what is left of each resource.

    `uses`: of each operation the first of its entries; of each entry its resource, the share that a
    step of speed needs, the share that it asks for alone, its operation. `bounds`: of each
    operation the first of its entries; of each entry its resource (-1: not in use), how many times
    as fast its requests let it go, the share that it asks for there, the part of that which loads
    itself.
    """
    start, resource, need, asked, owner = uses
    weight, _ = requesters
    _fill(start, resource, need, weight, limit, speed, room)
    if not len(bounds[1]):
        return
    users, first = _by_resource(resource, len(slow))
    move = np.empty(len(limit))
    for number in range(_ROUNDS):
        most = 0.0
        for job in range(len(limit)):
            allowed = _allowed(job, users, first, asked, owner, requesters, bounds, slow, speed)
            move[job] = (allowed - limit[job]) / (number + 1)
            most = max(most, abs(move[job]))
        if most < _SETTLED:
            break
        limit += move
        _fill(start, resource, need, weight, limit, speed, room)


@inner_kernel
def _by_resource(resource: Int64s, count: int) -> tuple[Int64s, Int64s]:
    """Entries in the order of their resources, and for each of these its first one."""
    first = np.zeros(count + 1, np.int64)
    for entry in range(len(resource)):
        first[resource[entry] + 1] += 1
    for at in range(count):
        first[at + 1] += first[at]
    users, free = np.empty(len(resource), np.int64), first.copy()
    for entry in range(len(resource)):
        users[free[resource[entry]]] = entry
        free[resource[entry]] += 1
    return users, first


@inner_kernel
def _allowed(
    job: int,
    users: Int64s,
    first: Int64s,
    asked: Floats,
    owner: Int64s,
    requesters: tuple[Floats, Int64s],
    bounds: tuple[Int64s, Int64s, Floats, Floats, Floats],
    slow: Floats,
    speed: Floats,
) -> float:
    """Speed that the outstanding requests of an operation allow beside the present others."""
    pool = requesters[1]
    start, resource, slack, own, itself = bounds
    fastest = 1.0
    for bound in range(start[job], start[job + 1]):
        at, others = resource[bound], 0.0
        if at >= 0:
            for k in range(first[at], first[at + 1]):
                other = owner[users[k]]
                if other != job and (pool[job] < 0 or pool[other] != pool[job]):
                    others += speed[other] * asked[users[k]]
        load = others + speed[job] * own[bound] * itself[bound]
        factor = slow[at] if at >= 0 else 1.0
        fastest = min(fastest, slack[bound] / _latency(load * factor))
    if fastest == 1.0 or pool[job] < 0:
        return fastest
    total = 0.0
    for k in range(first[pool[job]], first[pool[job] + 1]):
        total += asked[users[k]]
    return fastest / max(1.0, total)  # it has its share of the requests of the pool


@inner_kernel
def _fill(
    start: Int64s,
    resource: Int64s,
    need: Floats,
    weight: Floats,
    limit: Floats,
    speed: Floats,
    room: Floats,
) -> None:
    """Progressive filling."""
    room[:], speed[:] = 1.0, 0.0
    rising = np.arange(len(limit))
    load = np.empty(len(room))
    while len(rising):
        load[:] = 0.0
        step = np.inf
        for job in rising:
            step = min(step, (limit[job] - speed[job]) / weight[job])
            for k in range(start[job], start[job + 1]):
                load[resource[k]] += need[k]
        full = -1
        for at in range(len(room)):
            if load[at] > 0.0 and room[at] / load[at] < step:
                step, full = room[at] / load[at], at
        for at in range(len(room)):
            room[at] = max(0.0, room[at] - step * load[at])
        left = 0
        for job in rising:
            speed[job] += step * weight[job]
            held_up = speed[job] >= limit[job] - _FULL
            for k in range(start[job], start[job + 1]):
                held_up = held_up or resource[k] == full
            if not held_up:
                rising[left] = job
                left += 1
        rising = rising[:left]
