"""How operations share resources: alone, side by side, with room, with turnaround, in pools."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from typing import Any

import pytest
import simpy
from hypothesis import given
from hypothesis import strategies as st

from simulator.errors import InvariantError
from simulator.hardware.demand import (
    Demand,
    Resource,
    ResourceUse,
    Service,
    Turnaround,
)
from simulator.hardware.machine import Machine

NAMES = ("hbm", "gpu", "link", "dram")
PLAIN = {name: Resource(name, name, "other") for name in NAMES}


def even(loss: float) -> Turnaround:
    """Turnaround that half-and-half mixes lose most to."""
    return Turnaround(((0.5, loss),))


def with_pools(*pools: str, **turnaround: float) -> dict[str, Resource]:
    """The plain resources, some with turnaround, and pools of threads."""
    resources = {
        name: Resource(name, name, "other", turnaround=even(turnaround.get(name, 0.0)))
        for name in NAMES
    }
    return resources | {pool: Resource(pool, pool, "pool", one_requester=True) for pool in pools}


def machine_after(
    demands: Sequence[Demand],
    starts: Sequence[int] = (),
    resources: Mapping[str, Resource] = PLAIN,
) -> tuple[Machine, list[int]]:
    """A machine on which `demands` ran that began at `starts` (default: all at 0), and their
    ends."""
    env = simpy.Environment()
    machine = Machine(env, resources, check=True)
    ends = [0] * len(demands)

    def job(number: int, demand: Demand, start: int) -> Generator[simpy.Event, Any, None]:
        yield env.timeout(start)
        yield from machine.execute(demand)
        ends[number] = int(env.now)

    for number, demand in enumerate(demands):
        env.process(job(number, demand, starts[number] if starts else 0))
    env.run()
    return machine, ends


def run(*demands: Demand, starts: tuple[int, ...] = (), **options: Any) -> list[int]:
    """Ends of `demands`."""
    return machine_after(demands, starts, **options)[1]


def on(resource: str, ps: float, *, minimum: int = 0, latency: int = 0) -> Demand:
    return Demand("x", {resource: Service(ps)}, latency_ps=latency, minimum_ps=minimum)


def uses(**ps: float) -> Demand:
    return Demand("x", {name: Service(each) for name, each in ps.items()})


# alone


def test_an_operation_alone_takes_its_latency_and_its_longest_resource() -> None:
    demand = Demand("x", {"hbm": Service(700), "gpu": Service(300)}, latency_ps=50)
    assert run(demand) == [750]


def test_a_minimum_bounds_what_resources_could_do_faster() -> None:
    assert run(on("hbm", 100, minimum=400)) == [400]


def test_what_nothing_is_asked_of_takes_its_latency() -> None:
    assert run(Demand("x", latency_ps=70), Demand("x", {"hbm": Service(0.0)})) == [70, 0]


@pytest.mark.parametrize(("ps", "end"), [(0.4, 1), (1.0, 1), (1.5, 2), (1000.2, 1001)])
def test_an_operation_ends_at_the_picosecond_after_its_work(ps: float, end: int) -> None:
    assert run(on("hbm", ps)) == [end]


def test_one_of_several_equal_operations_gives_the_speed_of_all() -> None:
    """Four copies of 100 each on a link of their own, 400 of DRAM together: DRAM is the limit, and
    a gather beside them has a fifth of it, as beside four copies (load 4 + 1)."""
    folded = Demand("x", {"link": Service(100), "dram": Service(400)}, one_of_ps=100.0)
    assert run(folded) == [400]
    env = simpy.Environment()
    machine = Machine(env, PLAIN)
    assert machine.alone_ps(folded) == 100.0
    assert run(folded, on("dram", 100)) == [500, 500]


# side by side


def test_two_equal_operations_on_one_resource_take_twice_as_long() -> None:
    assert run(on("hbm", 1000), on("hbm", 1000)) == [2000, 2000]


def test_operations_on_different_resources_do_not_meet() -> None:
    assert run(on("hbm", 1000), on("gpu", 600)) == [1000, 600]


def test_a_resource_with_room_for_both_slows_neither() -> None:
    # each needs 40 % of it over its minimum duration
    assert run(on("hbm", 400, minimum=1000), on("hbm", 400, minimum=1000)) == [1000, 1000]


def test_a_resource_without_room_slows_both_alike() -> None:
    # each needs 80 % of it: speed 1 / 1.6
    assert run(on("hbm", 800, minimum=1000), on("hbm", 800, minimum=1000)) == [1600, 1600]


def test_the_survivor_speeds_up_when_the_other_ends() -> None:
    # both run at half speed until 1000, when the short one is done; the long one has 500 left
    assert run(on("hbm", 500), on("hbm", 1000)) == [1000, 1500]


def test_a_late_start_divides_the_resource_from_then_on() -> None:
    assert run(on("hbm", 1000), on("hbm", 1000), starts=(0, 500)) == [1500, 2000]


def test_latency_takes_nothing_of_a_resource() -> None:
    assert run(on("hbm", 1000, latency=1000), on("hbm", 1000)) == [2000, 1000]


def test_a_copy_is_held_up_by_its_most_loaded_resource_alone() -> None:
    # DRAM: 1 + 0.2 > 1, so both run at 1 / 1.2 of their speed until both end
    assert run(uses(link=1000, dram=200), on("dram", 1000)) == [1200, 1200]


def test_what_a_held_up_operation_leaves_goes_to_the_others() -> None:
    # two copies share the link at half speed: DRAM has 1 - 2 * 0.5 * 0.4 = 0.6 for the gather
    copies = [uses(link=1000, dram=400) for _ in range(2)]
    ends = run(*copies, on("dram", 900))
    assert ends[2] == 1500
    assert ends[:2] == [2000, 2000]


def test_max_min_over_a_chain_of_two_full_resources() -> None:
    """A on one, B on both, C on the other, each alone 1000: one half each, both full."""
    assert run(on("hbm", 1000), uses(hbm=1000, dram=1000), on("dram", 1000)) == [2000] * 3


def test_max_min_lifts_whoever_is_not_at_the_full_resource() -> None:
    """HBM holds A and B at one half; C has 1 - 0.5 * 0.2 = 0.9 of DRAM until it ends at 1111.1."""
    assert run(on("hbm", 1000), uses(hbm=1000, dram=200), on("dram", 1000)) == [2000, 2000, 1112]


def test_shares_are_relative_to_the_speed_alone() -> None:
    """DRAM is asked for 0.3 + 0.3 + 1.0 of what it can do: all run at 1 / 1.6. The fast reader ends
    at 640, when the slow ones (bound by their threads) have 600 of 1000 left."""
    slow = on("dram", 300, minimum=1000)
    assert run(slow, slow, on("dram", 400)) == [1240, 1240, 640]


def test_progressive_filling_over_two_levels() -> None:
    """DRAM (0.5 + 1 + 1) fills first and holds B, C and D at 0.4; A gets the 0.6 of the link that B
    leaves. C and D end at 600 / 0.4 = 1500. Then A and B share the link: A has 100 left and ends at
    1700, B 400, of which 100 are done then."""
    a, b = on("link", 1000), uses(link=1000, dram=500)
    assert run(a, b, on("dram", 600), on("dram", 600)) == [1700, 2000, 1500, 1500]


# turnaround


def test_reads_and_writes_together_cost_turnaround() -> None:
    reads, writes = Demand("r", {"hbm": Service(1000)}), Demand("w", {"hbm": Service(0, 1000)})
    resources = with_pools(hbm=0.25)
    assert run(reads, writes, resources=resources) == [2500, 2500]
    assert run(reads, reads, resources=resources) == [2000, 2000]


@pytest.mark.parametrize(
    ("read", "write", "factor"), [(1000, 1000, 1.2), (1000, 0, 1.0), (3000, 1000, 1.1)]
)
def test_a_mix_within_one_operation_costs_turnaround(read: int, write: int, factor: float) -> None:
    """A loss of 0.2 at one half is 0.1 at a quarter."""
    demand = Demand("x", {"hbm": Service(read, write)})
    assert run(demand, resources=with_pools(hbm=0.2)) == [round(factor * (read + write))]


def test_losses_are_linear_between_the_simulated_mixes() -> None:
    """Shares of writes 1/8, 1/4, 3/8, 1/2, 3/4, 7/8 of the time."""
    turnaround = Turnaround(((0.25, 0.1), (0.5, 0.3), (0.75, 0.2)))
    factors = [turnaround.factor(8 - w, w) for w in (1, 2, 3, 4, 6, 7)]
    assert factors == pytest.approx([1.05, 1.1, 1.2, 1.3, 1.2, 1.1])
    assert turnaround.factor(1.0, 0.0) == turnaround.factor(0.0, 1.0) == 1.0
    assert turnaround.factor(0.0, 0.0) == Turnaround().factor(1.0, 1.0) == 1.0


def test_mixes_by_bytes_become_losses_by_time() -> None:
    """2 a byte read, 6 written: half the bytes take 4 alone, three quarters of it writes."""
    turnaround = Turnaround.between(2.0, 6.0, [(0.25, 3.0), (0.5, 5.0)])
    assert turnaround.points == ((0.5, 0.0), (0.75, 0.25))
    assert Turnaround.between(1.0, 1.0, [(0.5, 0.9)]).points == ((0.5, 0.0),)


@pytest.mark.parametrize("shares", [(0.5, 0.5), (0.6, 0.4), (0.0,), (1.0,)])
def test_shares_that_do_not_rise_are_refused(shares: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="must rise between 0 and 1"):
        Turnaround(tuple((share, 0.1) for share in shares))


losses = st.lists(st.floats(0, 2), min_size=3, max_size=3)


@given(losses, st.floats(0, 1e9), st.floats(0, 1e9))
def test_a_mix_loses_no_more_than_the_worst_that_was_simulated(
    lost: list[float], reads: float, writes: float
) -> None:
    points = tuple(zip((0.2, 0.5, 0.9), lost, strict=True))
    factor = Turnaround(points).factor(reads, writes)
    assert 1.0 <= factor <= 1.0 + max(lost) + 1e-12
    mirrored = tuple((1.0 - share, loss) for share, loss in reversed(points))
    assert factor == pytest.approx(Turnaround(mirrored).factor(writes, reads))


# pools of requests


def pooled(pool: str, dram: float, ps: float) -> Demand:
    """An operator that takes threads of a pool for `ps`, and DRAM for `dram` of it."""
    return Demand("x", {"dram": Service(dram), pool: Service(ps)}, minimum_ps=round(ps))


def test_operators_of_one_pool_share_its_threads() -> None:
    assert run(pooled("a", 0, 1000), pooled("a", 0, 1000), resources=with_pools("a")) == [2000] * 2


def test_operators_of_two_pools_do_not_wait_for_each_other() -> None:
    demands = [pooled("a", 0, 1000), pooled("b", 0, 1000)]
    assert run(*demands, resources=with_pools("a", "b")) == [1000] * 2


def test_each_of_n_operators_of_a_pool_has_its_share_of_requests() -> None:
    """DRAM: two operators of one pool weigh one half each, the copy one: 1/4, 1/4 and 1/2 of it.
    The copy of 500 ends at 1000; the operators have 750 left each, and DRAM and the pool full."""
    demands = [pooled("a", 1000, 1000), pooled("a", 1000, 1000), on("dram", 500)]
    assert run(*demands, resources=with_pools("a")) == [2500, 2500, 1000]


def test_pools_weigh_alike_however_many_operators_they_hold() -> None:
    """Two in pool a, one in pool b: 1/4, 1/4 and 1/2 of DRAM; then as above."""
    demands = [pooled("a", 1000, 1000), pooled("a", 1000, 1000), pooled("b", 500, 500)]
    assert run(*demands, resources=with_pools("a", "b")) == [2500, 2500, 1000]


def test_three_pools_share_dram_in_thirds() -> None:
    demands = [pooled(pool, 1000, 1000) for pool in "abc"]
    assert run(*demands, resources=with_pools("a", "b", "c")) == [3000] * 3


def test_an_operator_alone_in_its_pool_runs_as_without_one() -> None:
    assert run(pooled("a", 1000, 1000), resources=with_pools("a")) == [1000]


# accounting


def test_use_of_resources_is_accounted() -> None:
    demand = Demand("x", {"hbm": Service(600, 0, bytes=4096, energy_pj=7.0)}, minimum_ps=1000)
    machine, (end,) = machine_after([demand])
    use = machine.use["hbm"]
    assert end == 1000
    assert use.busy_ps == pytest.approx(600)
    assert use.bytes == pytest.approx(4096)
    assert use.energy_pj == pytest.approx(7.0)


def test_threads_are_held_while_their_operation_waits_for_other_resources() -> None:
    """Half of the threads for 1000 ps alone; DRAM shared with a copy doubles that. A full pool is
    held once, however many operators ask for it."""
    demands = [Demand("x", {"dram": Service(1000), "a": Service(500)}), on("dram", 1000)]
    machine, ends = machine_after(demands, resources=with_pools("a"))
    assert ends == [2000, 2000]
    assert machine.use["a"].busy_ps == pytest.approx(500)
    assert machine.use["a"].held_ps == pytest.approx(1000)
    assert machine.use["dram"].held_ps == 0.0
    machine, ends = machine_after([pooled("a", 0, 1000)] * 2, resources=with_pools("a"))
    assert machine.use["a"].held_ps == pytest.approx(2000) == ends[0]


def test_a_reading_in_the_middle_has_what_was_done_until_then() -> None:
    env = simpy.Environment()
    machine = Machine(env, PLAIN)
    env.process(machine.execute(Demand("x", {"hbm": Service(1000, bytes=4000, energy_pj=8.0)})))
    env.run(until=250)
    machine.settle()
    assert machine.use["hbm"] == ResourceUse(250.0, 1000.0, 2.0)


def test_turnaround_is_busy_time() -> None:
    demand = Demand("x", {"hbm": Service(500, 500)})
    machine, (end,) = machine_after([demand], resources=with_pools(hbm=0.2))
    assert machine.use["hbm"].busy_ps == pytest.approx(1200) == end


work = st.integers(0, 10**6)
jobs = st.tuples(
    st.tuples(work, work, work, work),
    st.integers(0, 10**5),
    st.integers(0, 10**6),
    st.sampled_from(["", "p", "q"]),
    st.integers(0, 10**6),
)
"""Work on each resource, latency, minimum, pool, start."""


def demand_of(job: tuple[tuple[int, ...], int, int, str, int]) -> Demand:
    """Half of the odd work is writes; ten bytes and a third of a picojoule a picosecond."""
    needs, latency, minimum, pool, _ = job
    services = {
        name: Service(ps / 2, ps / 2, 10 * ps, ps / 3)
        if ps % 2
        else Service(ps, 0, 10 * ps, ps / 3)
        for name, ps in zip(NAMES, needs, strict=True)
        if ps
    }
    if pool:
        services[pool] = Service(max([minimum, *needs]))
    return Demand("x", services, latency, minimum)


@given(st.lists(jobs, min_size=1, max_size=6), st.sampled_from([0.0, 0.3]))
def test_utilization_never_passes_one_and_nothing_is_lost(
    drawn: list[tuple[tuple[int, ...], int, int, str, int]], turnaround: float
) -> None:
    """With `check`, each division is one that leaves no resource idle while work waits."""
    demands = [demand_of(job) for job in drawn]
    resources = with_pools("p", "q", dram=turnaround, hbm=turnaround)
    machine, ends = machine_after(demands, [job[-1] for job in drawn], resources)
    elapsed = max(ends) - min(job[-1] for job in drawn)
    for name, use in machine.use.items():
        services = [d.services[name] for d in demands if name in d.services]
        assert use.busy_ps <= elapsed + 1e-6 * elapsed + len(demands)
        assert use.bytes == pytest.approx(sum(s.bytes for s in services), rel=1e-2, abs=20)
        assert use.energy_pj == pytest.approx(sum(s.energy_pj for s in services), rel=1e-2, abs=1)
        assert use.busy_ps >= 0.99 * sum(s.ps for s in services) - 2 * len(demands)
        if not turnaround:
            assert use.busy_ps <= sum(s.ps for s in services) * (1 + 1e-9) + 1


sizes = st.integers(1, 10**6)


@given(st.lists(st.tuples(sizes, sizes, sizes, st.integers(0, 10**6)), min_size=1, max_size=6))
def test_no_resource_works_faster_than_it_can(drawn: list[tuple[int, int, int, int]]) -> None:
    demands = [uses(hbm=a, gpu=b, link=c) for a, b, c, _ in drawn]
    ends = run(*demands, starts=tuple(start for *_, start in drawn))
    first = min(start for *_, start in drawn)
    for place in range(3):
        needed = sum(job[place] for job in drawn)
        assert max(ends) - first >= needed - len(drawn)
    for (a, b, c, start), end in zip(drawn, ends, strict=True):
        assert end - start >= max(a, b, c) - 1
    # and no slower than one after the other
    assert max(ends) <= max(start for *_, start in drawn) + sum(max(job[:3]) for job in drawn) + 9


@given(st.lists(st.tuples(sizes, sizes), min_size=1, max_size=5), st.integers(2, 4))
def test_a_resource_k_times_as_fast_is_never_slower(
    drawn: list[tuple[int, int]], times: int
) -> None:
    """The last end; a single operation may be overtaken."""
    slow = run(*(uses(hbm=a, dram=b) for a, b in drawn))
    fast = run(*(uses(hbm=a / times, dram=b) for a, b in drawn))
    assert max(fast) <= max(slow) + len(drawn)


# what the checks refuse


class Lazy(Machine):
    """Divides at half of the speed that there is room for."""

    def _plan_wakeup(self) -> None:
        for job in self._jobs:
            job.speed = 0.5
        if self.check:
            self._check_division(dict.fromkeys(self.resources, 0.5))
        super()._plan_wakeup()


class Greedy(Machine):
    """Lets every operation run at its own speed."""

    def _plan_wakeup(self) -> None:
        for job in self._jobs:
            job.speed = 1.0
        if self.check:
            self._check_division(dict.fromkeys(self.resources, 0.0))
        super()._plan_wakeup()


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (Lazy, r"runs at 0\.500000 of its speed with no resource full"),
        (Greedy, r"hbm is asked for 2\.000000 of what it can do"),
    ],
)
def test_a_division_that_wastes_or_overbooks_is_refused(kind: type[Machine], message: str) -> None:
    env = simpy.Environment()
    machine = kind(env, PLAIN, check=True)
    for _ in range(2):
        env.process(machine.execute(on("hbm", 1000)))
    with pytest.raises(InvariantError, match=message):
        env.run()
