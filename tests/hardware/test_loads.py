"""Latency of a memory that others load, and operations that it holds up: fixed points by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_machine import run, with_pools

from simulator.hardware.demand import Demand, Service, loaded_latency

MS = 10**9
"""Picoseconds."""


def job(share: float, slack: float | None = None, *, pool: float = 0.0) -> Demand:
    """A millisecond that needs a share of DRAM; `slack`: of its outstanding reads (None: posted);
    `pool`: share of the threads of a pool."""
    services = {"dram": Service(share * MS)} | ({"p": Service(pool * MS)} if pool else {})
    return Demand("x", services, minimum_ps=MS, loaded={} if slack is None else {"dram": slack})


# the curve


@pytest.mark.parametrize(
    ("load", "times"), [(0.0, 1.0), (0.5, 1.5), (0.8, 3.0), (0.9, 5.5), (0.95, 10.5)]
)
def test_latency_is_that_of_random_arrivals_with_equal_services(load: float, times: float) -> None:
    """1 + u / (2 (1 - u))."""
    assert loaded_latency(load) == pytest.approx(times)


@pytest.mark.parametrize("load", [0.96, 1.0, 1.5])
def test_latency_grows_no_more_at_the_highest_load(load: float) -> None:
    assert loaded_latency(load) == loaded_latency(0.95)


@given(st.floats(0, 2), st.floats(0, 2))
def test_more_load_never_makes_a_shorter_latency(one: float, other: float) -> None:
    less, more = sorted((one, other))
    assert 1.0 <= loaded_latency(less) <= loaded_latency(more) <= 10.5 + 1e-9


# operations beside each other


def test_reads_beside_posted_writes_slow_by_the_latency_of_their_load() -> None:
    """A load of 0.3: 1 + 0.3 / 1.4, so 14 / 17 of the work is done in the first millisecond; the
    writes wait for no answer, and room enough is left."""
    reads, writes = run(job(0.2, 1.0), job(0.3))
    assert writes == MS
    assert reads == pytest.approx(MS + MS * (1 - 14 / 17), abs=2)


@pytest.mark.parametrize(("slack", "speed"), [(1.1, 1.1 * 14 / 17), (17 / 14, 1.0), (2.0, 1.0)])
def test_requests_to_spare_hide_a_longer_latency(slack: float, speed: float) -> None:
    reads, _ = run(job(0.2, slack), job(0.3))
    assert reads == pytest.approx(MS + MS * (1 - speed), abs=2)


def test_alone_nothing_is_held_up() -> None:
    assert run(job(0.9, 1.0)) == [MS]
    assert run(job(0.0, 1.0), job(0.0, 1.0)) == [MS, MS]


def test_a_load_that_began_later_or_ended_holds_up_no_more() -> None:
    """Beside a half millisecond of writes that begins after a quarter: 1 + 0.5 / 1 = 1.5."""
    writes = Demand("w", {"dram": Service(MS / 4)}, minimum_ps=MS // 2)
    reads, _ = run(job(0.2, 1.0), writes, starts=(0, MS // 4))
    assert reads == pytest.approx(MS + MS / 2 * (1 - 1 / 1.5), abs=3)


def test_two_that_wait_for_each_other_settle_where_both_agree() -> None:
    """Each loads by u = 0.4 s and goes at s = 1 / (1 + u / (2 (1 - u))): 2.5 u^2 - 7 u + 2 = 0."""
    speed = (7 - 29**0.5) / 5 / 0.4
    assert speed == pytest.approx(0.8074, abs=1e-4)
    assert run(job(0.4, 1.0), job(0.4, 1.0)) == [pytest.approx(MS / speed, rel=1e-2)] * 2


def test_eight_that_nearly_fill_a_memory_settle_as_well() -> None:
    """Seven others load by u = 2.8 s: u^2 - 7.6 u + 5.6 = 0, s = 0.2953. DRAM alone would let them
    go at 0.3125, where the latency of seven others allows less than a quarter."""
    speed = (7.6 - 35.36**0.5) / 2 / 2.8
    assert speed == pytest.approx(0.2953, abs=1e-4)
    assert run(*[job(0.4, 1.0)] * 8) == [pytest.approx(MS / speed, rel=1e-2)] * 8


@pytest.mark.parametrize(("count", "share"), [(2, 0.4), (8, 0.4), (3, 1.0), (4, 0.1)])
def test_a_demand_that_stands_for_several_takes_as_long_as_they_do(
    count: int, share: float
) -> None:
    """They load the memory for each other, though it is one operation."""
    one = job(share, 1.0)
    dram = Service(share * MS * count)
    folded = replace(one, services={"dram": dram}, one_of_ps=float(MS), alike={"dram": count})
    ends = run(*[one] * count)
    assert run(folded) == [pytest.approx(ends[0], abs=2)]
    writes = job(0.3)
    assert run(folded, writes) == pytest.approx(run(*[one] * count, writes)[-2:], abs=4)


# pools of requests


def test_operators_of_one_pool_do_not_load_the_memory_for_each_other() -> None:
    """They share one set of requests: half of the threads each, whatever they read."""
    demands = [job(0.4, 1.0, pool=1.0)] * 2
    assert run(*demands, resources=with_pools("p")) == [2 * MS, 2 * MS]


def test_each_of_two_operators_has_half_of_the_requests_that_others_slow() -> None:
    """Beside posted writes of half of DRAM for 3 ms: 1 / 1.5 of one half each."""
    writes = Demand("w", {"dram": Service(1.5 * MS)}, minimum_ps=3 * MS)
    demands = [job(0.1, 1.0, pool=1.0)] * 2
    ends = run(*demands, writes, resources=with_pools("p"))
    assert ends == [pytest.approx(3 * MS, abs=3)] * 2 + [3 * MS]


def test_operators_of_few_threads_have_their_own_requests() -> None:
    """A sixteenth of the threads each: both at 1 / 1.5 of their speed, not at a half of that."""
    writes = Demand("w", {"dram": Service(MS)}, minimum_ps=2 * MS)
    demands = [job(0.1, 1.0, pool=1 / 16)] * 2
    ends = run(*demands, writes, resources=with_pools("p"))
    assert ends == [pytest.approx(1.5 * MS, abs=3)] * 2 + [2 * MS]


shares = st.floats(0.0, 1.0)
loaded_jobs = st.builds(
    job, shares, st.none() | st.floats(1.0, 3.0), pool=st.sampled_from([0.0, 0.1, 1.0])
)


@given(st.lists(loaded_jobs, min_size=1, max_size=5))
def test_load_only_slows_and_never_stops(demands: list[Demand]) -> None:
    """With `check`, each division leaves no resource idle that an operation may use."""
    ends = run(*demands, resources=with_pools("p"))
    assert min(ends) >= MS
    for name in ("dram", "p"):
        needed = sum(d.services[name].ps for d in demands if name in d.services)
        assert max(ends) >= needed - len(demands)
    assert max(ends) <= 10.5 * len(demands) * MS + len(demands)
