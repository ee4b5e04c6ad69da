"""A machine in time: operations run at once and share its resources.

Modelled: operations as fluid jobs that use several resources at the same time (a copy to the GPU
uses CPU DRAM, one PCIe direction and HBM together). Whenever an operation starts or ends, the
resources are divided again: every operation runs at the same speed relative to running alone,
and where a resource has room left, the operations that are not held up elsewhere speed up, up to
their speed alone (progressive filling, which gives the max-min fair division). A memory that
serves reads and writes at once loses time to bus turnaround.

Why relative speed: a closed-loop requester keeps a fixed number of requests outstanding, so the
share it gets of a busy resource is proportional to the rate it had alone. Operators on one CPU are
one requester: they share one pool of threads, so each of n at once has 1 / n of its requests.

Latency of a memory grows with the load of others (`loaded_latency`). Operations that keep a fixed
number of reads outstanding (threads of a CPU, copies that a device reads) go no faster than those
allow; copies that are posted writes do not wait for an answer and are not held up by it.

A host thread is no such resource: it does one thing after the other, first come, first served.

Approximated: within one operation all resources are used evenly from its start to its end.
Ignored: priorities among requesters, and anything shorter than an operation.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Any

import simpy

from simulator.errors import InvariantError
from simulator.hardware.demand import (
    Demand,
    Resource,
    ResourceUse,
    Service,
    loaded_latency,
)

__all__ = ["Machine"]

_ROUNDS = 8
"""Times that loads and latencies are set against each other, at most."""
_SETTLED = 1e-3
"""Move of a speed below which they agree."""
_DONE_PS = 1e-3
"""Work left below which an operation is done: rounding, far below one picosecond."""


@dataclass(slots=True, eq=False)
class _Job:
    services: Mapping[str, Service]
    alone_ps: float
    left_ps: float
    done: simpy.Event
    pool: str | None
    """The pool of requests that it shares with others, where it has one."""
    weight: float = 1.0
    """Share of its requester's outstanding requests."""
    loaded: Mapping[str, float] = field(default_factory=dict)
    """See `Demand.loaded`."""
    alike: Mapping[str, int] = field(default_factory=dict)
    """See `Demand.alike`."""
    limit: float = 1.0
    """Speed that its outstanding requests allow beside the others."""
    speed: float = 1.0
    """Relative to running alone; 1 is as fast as an idle machine allows."""


def _asked(job: _Job, resource: str) -> float:
    """Share of a resource that an operation takes when it runs as alone, turnaround left out."""
    service = job.services.get(resource)
    return 0.0 if service is None else service.ps / job.alone_ps


def _share(job: _Job, resource: str) -> float:
    """The same at its present speed."""
    return job.speed * _asked(job, resource)


@dataclass(eq=False)
class Machine:
    """Resources of a machine, by name, in a SimPy environment (time unit: 1 ps, integer)."""

    env: simpy.Environment
    resources: Mapping[str, Resource]
    check: bool = False
    use: dict[str, ResourceUse] = field(default_factory=dict)
    _jobs: list[_Job] = field(default_factory=list)
    _slowdown: dict[str, float] = field(default_factory=dict)
    """Turnaround factor of each resource since the last division."""
    _free_ps: dict[str, int] = field(default_factory=dict)
    """When each host thread has done what it was given."""
    _since_ps: int = 0
    _wakeup: int = 0

    def execute(self, demand: Demand) -> Generator[simpy.Event, Any, None]:
        """Run one operation to its end (a SimPy process fragment: `yield from`)."""
        if demand.latency_ps:
            yield self.env.timeout(demand.latency_ps)
        alone_ps = self.alone_ps(demand)
        if alone_ps <= 0:
            return
        pool = next((r for r in demand.services if self.resources[r].one_requester), None)
        done = self.env.event()
        job = _Job(demand.services, alone_ps, alone_ps, done, pool)
        job.loaded, job.alike = demand.loaded, demand.alike
        self._advance()
        self._jobs.append(job)
        self._divide()
        yield job.done

    def on_host(self, host: str, ps: int) -> Generator[simpy.Event, Any, None]:
        """`ps` of a host thread, after all that it was given before (`yield from`)."""
        if not host or not ps:
            return
        now = int(self.env.now)
        end = self._free_ps[host] = max(now, self._free_ps.get(host, 0)) + ps
        yield self.env.timeout(end - now)
        self.use.setdefault(host, ResourceUse()).busy_ps += ps

    def fetch(self, demand: Demand) -> Generator[simpy.Event, Any, None]:
        """What was submitted reaches the processor, behind the copies that are under way: no later
        than they end."""
        self._advance()
        waits = (min(self._load(r) * ps, self._left_ps(r)) for r, ps in demand.fetched.items())
        wait_ps = round(sum(waits))
        if wait_ps:
            yield self.env.timeout(wait_ps)

    def _left_ps(self, resource: str) -> float:
        """Until the last of its operations ends, as fast as they go now."""
        users = [job for job in self._jobs if _share(job, resource)]
        return max((job.left_ps / job.speed for job in users), default=0.0)

    def _load(self, resource: str) -> float:
        """Share of a resource that is in use now."""
        in_use = sum(_share(job, resource) for job in self._jobs)
        return in_use * self._slowdown.get(resource, 1.0)

    def alone_ps(self, demand: Demand) -> float:
        """Duration of `demand` on the idle machine, without its latency."""
        return demand.alone_ps(self.resources)

    def settle(self) -> None:
        """Bring the use of the resources up to the present, for a reading."""
        self._advance()

    def _factors(self) -> dict[str, float]:
        """Turnaround factor of each resource in use under the present mix of operations."""
        reads: dict[str, float] = {}
        writes: dict[str, float] = {}
        for job in self._jobs:
            for resource, service in job.services.items():
                reads[resource] = reads.get(resource, 0.0) + service.read_ps / job.alone_ps
                writes[resource] = writes.get(resource, 0.0) + service.write_ps / job.alone_ps
        return {d: self.resources[d].turnaround.factor(reads[d], writes[d]) for d in reads}

    def _advance(self) -> None:
        """Account for what happened since the last division."""
        now = int(self.env.now)
        elapsed, self._since_ps = now - self._since_ps, now
        if not elapsed or not self._jobs:
            return
        for job in self._jobs:
            done_ps = min(job.speed * elapsed, job.left_ps)
            job.left_ps -= done_ps
            share = done_ps / job.alone_ps
            for resource, service in job.services.items():
                use = self.use.setdefault(resource, ResourceUse())
                use.busy_ps += share * service.ps * self._slowdown[resource]
                use.bytes += share * service.bytes
                use.energy_pj += share * service.energy_pj
        self._hold(elapsed)

    def _hold(self, elapsed: int) -> None:
        """Threads of pools are held at whatever speed their operations run."""
        held: dict[str, float] = {}
        for job in self._jobs:
            for name, service in job.services.items():
                if self.resources[name].kind == "pool":
                    held[name] = held.get(name, 0.0) + service.ps / job.alone_ps
        for name, share in held.items():
            self.use[name].held_ps += elapsed * min(1.0, share)

    def _divide(self) -> None:
        """Give every operation its speed by progressive filling; plan the next wake-up."""
        self._wakeup += 1
        if not self._jobs:
            return
        self._slowdown = self._factors()
        for job in self._jobs:
            job.limit = job.speed = 1.0
        room = self._fill()
        if any(job.loaded for job in self._jobs):
            room = self._set_against_loads(room)
        if self.check:
            self._check_division(room)
        self._plan_wakeup()

    def _set_against_loads(self, room: dict[str, float]) -> dict[str, float]:
        """Speeds whose loads make the latencies that allow those speeds; what is left of each
        resource. Loads make latencies and latencies loads: steps of 1, 1/2, 1/3 ... towards what
        the last loads allow, so that they settle where each would overshoot the other."""
        for number in range(_ROUNDS):
            allowed = [self._allowed(job) for job in self._jobs]
            moves = [
                (limit - job.limit) / (number + 1)
                for job, limit in zip(self._jobs, allowed, strict=True)
            ]
            if max(map(abs, moves)) < _SETTLED:
                break
            for job, move in zip(self._jobs, moves, strict=True):
                job.limit += move
            room = self._fill()
        return room

    def _allowed(self, job: _Job) -> float:
        """Speed that the outstanding requests of an operation allow beside the present others."""
        speed = 1.0
        for resource, slack in job.loaded.items():
            load = self._load_of_others(job, resource)
            speed = min(speed, slack / loaded_latency(load))
        if speed == 1.0 or job.pool is None:
            return speed
        asked = sum(_asked(other, job.pool) for other in self._jobs)
        return speed / max(1.0, asked)  # it has its share of the requests of the pool

    def _load_of_others(self, job: _Job, resource: str) -> float:
        """Share of a resource that other requesters use now."""
        others = sum(
            _share(other, resource)
            for other in self._jobs
            if other is not job and (job.pool is None or other.pool != job.pool)
        )
        others += _share(job, resource) * (1.0 - 1.0 / job.alike.get(resource, 1))
        return others * self._slowdown.get(resource, 1.0)

    def _fill(self) -> dict[str, float]:
        """Progressive filling; what is left of each resource."""
        factors = self._slowdown
        room = dict.fromkeys(factors, 1.0)
        rising = list(self._jobs)
        requesters = Counter(job.pool for job in rising)
        for job in rising:
            job.speed = 0.0
            job.weight = 1.0 if job.pool is None else 1.0 / requesters[job.pool]
        while rising:
            load = dict.fromkeys(room, 0.0)
            for job in rising:
                for resource, service in job.services.items():
                    load[resource] += job.weight * service.ps * factors[resource] / job.alone_ps
            step = min((job.limit - job.speed) / job.weight for job in rising)
            full: str | None = None
            for resource, needed in load.items():
                if needed > 0.0 and room[resource] / needed < step:
                    step, full = room[resource] / needed, resource
            for job in rising:
                job.speed += step * job.weight
            for resource, needed in load.items():
                room[resource] = max(0.0, room[resource] - step * needed)
            rising = [
                job
                for job in rising
                if job.speed < job.limit - 1e-12
                and not (full is not None and full in job.services and job.services[full].ps)
            ]
        return room

    def _check_division(self, room: Mapping[str, float]) -> None:
        """No resource idles while work that it could do waits; none does more than it can."""
        load = dict.fromkeys(room, 0.0)
        for job in self._jobs:
            held_up = any(
                service.ps and room[resource] < 1e-9 for resource, service in job.services.items()
            )
            if job.speed < job.limit - 1e-9 and not held_up:
                raise InvariantError(
                    f"an operation runs at {job.speed:.6f} of its speed with no resource full"
                )
            for resource, service in job.services.items():
                needed = service.ps * self._slowdown[resource] / job.alone_ps
                load[resource] += job.speed * needed
        for resource, share in load.items():
            if share > 1.0 + 1e-9:
                raise InvariantError(f"{resource} is asked for {share:.6f} of what it can do")

    def _plan_wakeup(self) -> None:
        first = min(job.left_ps / job.speed for job in self._jobs)
        wakeup = self._wakeup
        timeout = self.env.timeout(max(0, math.ceil(first - _DONE_PS)))
        timeout.callbacks.append(lambda _: self._wake(wakeup))

    def _wake(self, wakeup: int) -> None:
        if wakeup != self._wakeup:
            return  # divided again since: a later wake-up is planned
        self._advance()
        done = [job for job in self._jobs if job.left_ps <= _DONE_PS * max(1.0, job.speed)]
        self._jobs = [job for job in self._jobs if job not in done]
        for job in done:
            job.done.succeed()
        self._divide()
