"""How fast operations go that share resources: relative speeds, the same for all as far as it goes.

Progressive filling: every operation speeds up until a resource is full or it runs as fast as its
limit; the others go on. Limits come from outstanding requests (`Demand.loaded`): the more others
load a memory, the longer its latency and the slower an operation that waits for its answers. Loads
make latencies and latencies loads: steps of 1, 1/2, 1/3 ... towards what the last loads allow, so
that they settle where each would overshoot the other.

Compiled (`simulator.hardware.filling`), for a machine with many GPUs has dozens of operations under
way.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import simpy

from simulator.hardware import filling
from simulator.hardware.demand import Service

__all__ = ["Running", "divide", "fill_behind"]


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
    words = _Words(operations, slowdown)
    filling.settle(words.m, words.x, 0)
    for operation, job in zip(operations, words.jobs, strict=True):
        operation.limit = float(words.x[job + filling.LIMIT])
        operation.speed = float(words.x[job + filling.SPEED])
    return {name: float(words.x[at + filling.ROOM]) for name, at in words.places.items()}


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
        if operation.speed < filling.FULL:
            operation.speed = 0.0
        for name, share in need.items():
            room[name] = max(0.0, room[name] - operation.speed * share)


class _Words:
    """A whole division, at address 0, as `filling` wants it told."""

    def __init__(self, operations: Sequence[Running], slowdown: Mapping[str, float]) -> None:
        uses, bounds = (
            sum(len(o.uses) for o in operations),
            sum(len(o.loaded) for o in operations),
        )
        starts, size = filling.room_for(len(operations), uses, bounds, len(slowdown))
        self.m = np.zeros(size, np.int64)
        self.x = self.m.view(np.float64)
        for word, start in starts.items():
            self.m[word] = start
        self.m[filling.WHOLE] = 1
        self.m[filling.JOBS], self.m[filling.RESOURCES] = len(operations), len(slowdown)
        first, size = starts[filling.RESOURCE], filling.RESOURCE_SIZE
        self.places = {name: first + size * number for number, name in enumerate(slowdown)}
        for name, at in self.places.items():
            self.x[at + filling.SLOW] = slowdown[name]
        first, size = starts[filling.JOB], filling.JOB_SIZE
        self.jobs = range(first, first + size * len(operations), size)
        requesters = Counter(operation.pool for operation in operations)
        self._use, self._bound = starts[filling.USE], starts[filling.BOUND]
        for operation, job in zip(operations, self.jobs, strict=True):
            pool = operation.pool
            self.x[job + filling.WEIGHT] = 1.0 if pool is None else 1.0 / requesters[pool]
            self.m[job + filling.POOL] = 0 if pool is None else self.places[pool]
            self._add_uses(operation, job)
            self._add_bounds(operation, job)

    def _add_uses(self, operation: Running, job: int) -> None:
        m, x, weight = self.m, self.x, float(self.x[job + filling.WEIGHT])
        m[job + filling.FIRST_USE] = self._use
        for name, ps in operation.uses:
            place, use = self.places[name], self._use
            slow = float(x[place + filling.SLOW])
            m[use + filling.USED] = place
            x[use + filling.NEED] = weight * ps * slow / operation.alone_ps
            x[use + filling.ASKED] = operation.asked[name]
            self._use += filling.USE_SIZE
        m[job + filling.END_OF_USES] = self._use

    def _add_bounds(self, operation: Running, job: int) -> None:
        m, x = self.m, self.x
        m[job + filling.FIRST_BOUND] = self._bound
        for name, slack in operation.loaded.items():
            bound = self._bound
            m[bound + filling.LOADED] = self.places.get(name, 0)
            x[bound + filling.SLACK] = slack
            x[bound + filling.OWN] = operation.asked.get(name, 0.0)
            x[bound + filling.ITSELF] = 1.0 - 1.0 / operation.alike.get(name, 1)
            self._bound += filling.BOUND_SIZE
        m[job + filling.END_OF_BOUNDS] = self._bound
