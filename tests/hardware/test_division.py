"""Speeds of operations that share resources: the compiled kernel against a plain reference."""

from __future__ import annotations

from collections import Counter

import pytest
import simpy
from hypothesis import given
from hypothesis import strategies as st

from simulator.hardware.demand import Service, loaded_latency
from simulator.hardware.division import Running, divide

RESOURCES = ("dram", "link", "hbm", "pool")


def running(uses: dict[str, int], slack: float | None, pool: bool, alike: int) -> Running:
    services = {name: Service(float(ps)) for name, ps in uses.items()}
    alone_ps = float(max([*uses.values(), 1]))
    owner = "pool" if pool and "pool" in uses else None
    job = Running(services, alone_ps, alone_ps, simpy.Environment().event(), owner)
    job.loaded = {} if slack is None else {"dram": slack}
    job.alike = {"dram": alike}
    return job


operations = st.lists(
    st.builds(
        running,
        st.dictionaries(st.sampled_from(RESOURCES), st.integers(0, 50), min_size=1),
        st.one_of(st.none(), st.floats(1.0, 3.0)),
        st.booleans(),
        st.integers(1, 4),
    ),
    min_size=1,
    max_size=12,
)


def slowdown_of(jobs: list[Running]) -> dict[str, float]:
    names = dict.fromkeys(name for job in jobs for name in job.services)
    return {name: 1.0 + 0.1 * k for k, name in enumerate(names)}


def asked(job: Running, resource: str) -> float:
    return job.services[resource].ps / job.alone_ps if resource in job.services else 0.0


class Plain:
    """The same, operation by operation, as it is said in the docstring of the module."""

    def __init__(self, jobs: list[Running], slowdown: dict[str, float]) -> None:
        self.jobs, self.slowdown = jobs, slowdown
        requesters = Counter(job.pool for job in jobs)
        self.weight = [1.0 if job.pool is None else 1.0 / requesters[job.pool] for job in jobs]
        self.limit = [1.0] * len(jobs)
        self.speed = [0.0] * len(jobs)
        self.room = self.fill()
        for number in range(8 if any(job.loaded for job in jobs) else 0):
            wanted = [self.allowed(k) for k in range(len(jobs))]
            moves = [(to - now) / (number + 1) for to, now in zip(wanted, self.limit, strict=True)]
            if max(map(abs, moves)) < 1e-3:
                break
            self.limit = [now + move for now, move in zip(self.limit, moves, strict=True)]
            self.room = self.fill()

    def allowed(self, k: int) -> float:
        job, speed = self.jobs[k], 1.0
        for resource, slack in job.loaded.items():
            load = sum(
                self.speed[n] * asked(other, resource)
                for n, other in enumerate(self.jobs)
                if n != k and (job.pool is None or other.pool != job.pool)
            )
            own = self.speed[k] * asked(job, resource)
            load += own * (1.0 - 1.0 / job.alike.get(resource, 1))
            load *= self.slowdown.get(resource, 1.0)
            speed = min(speed, slack / loaded_latency(load))
        if speed == 1.0 or job.pool is None:
            return speed
        return speed / max(1.0, sum(asked(other, job.pool) for other in self.jobs))

    def fill(self) -> dict[str, float]:
        room = dict.fromkeys(self.slowdown, 1.0)
        rising = list(range(len(self.jobs)))
        self.speed = [0.0] * len(self.jobs)
        while rising:
            load = {
                name: sum(
                    self.weight[k] * asked(self.jobs[k], name) * self.slowdown[name] for k in rising
                )
                for name in room
            }
            step = min((self.limit[k] - self.speed[k]) / self.weight[k] for k in rising)
            full = None
            for name, need in load.items():
                if need and room[name] / need < step:
                    step, full = room[name] / need, name
            for k in rising:
                self.speed[k] += step * self.weight[k]
            room = {name: max(0.0, left - step * load[name]) for name, left in room.items()}
            rising = [
                k
                for k in rising
                if self.speed[k] < self.limit[k] - 1e-12
                and not (full and asked(self.jobs[k], full))
            ]
        return room


@given(operations)
def test_the_kernel_divides_as_the_plain_reference(jobs: list[Running]) -> None:
    slowdown = slowdown_of(jobs)
    room = divide(jobs, slowdown)
    plain = Plain(jobs, slowdown)
    assert [job.speed for job in jobs] == pytest.approx(plain.speed, rel=1e-9)
    assert [job.limit for job in jobs] == pytest.approx(plain.limit, rel=1e-9)
    assert room == pytest.approx(plain.room, abs=1e-9)


@given(operations)
def test_nothing_is_used_beyond_its_rate_and_nothing_idles(jobs: list[Running]) -> None:
    slowdown = slowdown_of(jobs)
    room = divide(jobs, slowdown)
    for name, left in room.items():
        used = sum(job.share(name) for job in jobs) * slowdown[name]
        assert used + left == pytest.approx(1.0)
    for job in jobs:
        held_up = any(room[name] < 1e-9 for name, _ in job.uses)
        assert held_up or job.speed == pytest.approx(job.limit)


def test_two_equal_operations_share_alike_and_one_of_another_resource_does_not_care() -> None:
    jobs = [running({"link": 10}, None, False, 1) for _ in range(2)]
    jobs.append(running({"hbm": 10}, None, False, 1))
    assert divide(jobs, {"link": 1.0, "hbm": 1.0}) == {"link": 0.0, "hbm": 0.0}
    assert [job.speed for job in jobs] == [0.5, 0.5, 1.0]
