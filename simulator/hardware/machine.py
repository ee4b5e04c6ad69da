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

What runs in the background (`Demand.background`) has what all others leave, first come, first
served, and holds none of them up.

Approximated: within one operation all resources are used evenly from its start to its end.
Ignored: priorities among other requesters, and anything shorter than an operation.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import simpy

from simulator.errors import InvariantError
from simulator.hardware.demand import (
    Demand,
    Resource,
    ResourceUse,
)
from simulator.hardware.division import Running, divide, fill_behind

__all__ = ["DONE_PS", "Machine"]

DONE_PS = 1e-3
"""Work left below which an operation is done: rounding, far below one picosecond."""


@dataclass(eq=False)
class Machine:
    """Resources of a machine, by name, in a SimPy environment (time unit: 1 ps, integer)."""

    env: simpy.Environment
    resources: Mapping[str, Resource]
    check: bool = False
    use: dict[str, ResourceUse] = field(default_factory=dict)
    _jobs: list[Running] = field(default_factory=list)
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
        job = Running(demand.services, alone_ps, alone_ps, done, pool)
        job.loaded, job.alike = demand.loaded, demand.alike
        job.background = demand.background
        for name in demand.services:
            self.use.setdefault(name, ResourceUse())
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
        users = [job for job in self._jobs if job.share(resource) and not job.background]
        return max((job.left_ps / job.speed for job in users), default=0.0)

    def _load(self, resource: str) -> float:
        """Share of a resource that is in use now."""
        in_use = sum(job.share(resource) for job in self._jobs if not job.background)
        return in_use * self._slowdown.get(resource, 1.0)

    def alone_ps(self, demand: Demand) -> float:
        """Duration of `demand` on the idle machine, without its latency."""
        return demand.alone_ps(self.resources)

    def settle(self) -> None:
        """Bring the use of the resources up to the present, for a reading."""
        self._advance()

    def _factors(self, jobs: Sequence[Running]) -> dict[str, float]:
        """Turnaround factor of each resource in use under the mix of `jobs`."""
        reads: dict[str, float] = {}
        writes: dict[str, float] = {}
        for job in jobs:
            for resource, read, written in job.mixes:
                reads[resource] = reads.get(resource, 0.0) + read
                writes[resource] = writes.get(resource, 0.0) + written
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
                use = self.use[resource]
                use.busy_ps += share * service.ps * self._slowdown[resource]
                use.bytes += share * service.bytes
                use.energy_pj += share * service.energy_pj
                use.written += share * service.written
        self._hold(elapsed)

    def _hold(self, elapsed: int) -> None:
        """Threads of pools are held at whatever speed their operations run."""
        held: dict[str, float] = {}
        for job in self._jobs:
            for name, share in job.asked.items():
                if self.resources[name].kind == "pool":
                    held[name] = held.get(name, 0.0) + share
        for name, share in held.items():
            self.use[name].held_ps += elapsed * min(1.0, share)

    def _divide(self) -> None:
        """Give every operation its speed by progressive filling; plan the next wake-up."""
        self._wakeup += 1
        if not self._jobs:
            return
        behind = [job for job in self._jobs if job.background]
        jobs = [job for job in self._jobs if not job.background] if behind else self._jobs
        self._slowdown = self._factors(jobs)
        room = divide(jobs, self._slowdown) if jobs else {}
        if behind:
            self._slowdown = self._factors(behind) | self._slowdown
            room = dict.fromkeys(self._slowdown, 1.0) | room
            fill_behind(behind, self._slowdown, room)
        if self.check:
            self._check_division(room)
        self._plan_wakeup()

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
        first = min(job.left_ps / job.speed for job in self._jobs if job.speed)
        wakeup = self._wakeup
        timeout = self.env.timeout(max(0, math.ceil(first - DONE_PS)))
        timeout.callbacks.append(lambda _: self._wake(wakeup))

    def _wake(self, wakeup: int) -> None:
        if wakeup != self._wakeup:
            return  # divided again since: a later wake-up is planned
        self._advance()
        done = [job for job in self._jobs if job.left_ps <= DONE_PS * max(1.0, job.speed)]
        self._jobs = [job for job in self._jobs if job not in done]
        for job in done:
            job.done.succeed()
        self._divide()
