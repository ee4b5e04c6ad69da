"""How operations share devices: alone, side by side, with room left, with turnaround."""

from __future__ import annotations

import pytest
import simpy
from hypothesis import given
from hypothesis import strategies as st

from simulator.hardware.demand import Demand, Service
from simulator.hardware.machine import Machine


def run(*demands: Demand, starts: tuple[int, ...] = (), turnaround: float = 0.0) -> list[int]:
    """End times of `demands` started at `starts` (default: all at 0)."""
    env = simpy.Environment()
    machine = Machine(env, {"hbm": turnaround}, check=True)
    ends = [0] * len(demands)

    def one(number: int, demand: Demand, start: int):
        yield env.timeout(start)
        yield from machine.execute(demand)
        ends[number] = env.now

    for number, demand in enumerate(demands):
        start = starts[number] if starts else 0
        env.process(one(number, demand, start))
    env.run()
    return ends


def on(device: str, ps: float, *, minimum: int = 0, latency: int = 0) -> Demand:
    return Demand("x", {device: Service(ps)}, latency_ps=latency, minimum_ps=minimum)


def test_an_operation_alone_takes_its_latency_and_its_longest_device() -> None:
    demand = Demand("x", {"hbm": Service(700), "gpu": Service(300)}, latency_ps=50)
    assert run(demand) == [750]


def test_a_minimum_bounds_what_devices_could_do_faster() -> None:
    assert run(on("hbm", 100, minimum=400)) == [400]


def test_two_equal_operations_on_one_device_take_twice_as_long() -> None:
    assert run(on("hbm", 1000), on("hbm", 1000)) == [2000, 2000]


def test_operations_on_different_devices_do_not_meet() -> None:
    assert run(on("hbm", 1000), on("gpu", 600)) == [1000, 600]


def test_a_device_with_room_for_both_slows_neither() -> None:
    # each needs 40 % of the device over its minimum duration
    assert run(on("hbm", 400, minimum=1000), on("hbm", 400, minimum=1000)) == [1000, 1000]


def test_the_survivor_speeds_up_when_the_other_ends() -> None:
    # both run at half speed until 1000, when the short one is done; the long one has 500 left
    assert run(on("hbm", 500), on("hbm", 1000)) == [1000, 1500]


def test_a_late_start_divides_the_device_from_then_on() -> None:
    assert run(on("hbm", 1000), on("hbm", 1000), starts=(0, 500)) == [1500, 2000]


def test_a_copy_is_held_up_by_its_most_loaded_device_alone() -> None:
    copy = Demand("copy", {"pcie_h2d": Service(1000), "cpu_dram": Service(200)})
    gather = on("cpu_dram", 1000)
    # DRAM: 1 + 0.2 > 1, so both run at 1 / 1.2 of their speed until the copy or gather ends
    assert run(copy, gather) == [1200, 1200]


def test_what_a_held_up_operation_leaves_goes_to_the_others() -> None:
    # two copies share the link at half speed; the gather gets what they leave of DRAM
    copies = [
        Demand("copy", {"pcie_h2d": Service(1000), "cpu_dram": Service(400)}) for _ in range(2)
    ]
    ends = run(*copies, on("cpu_dram", 900))
    # while all run: link full at speed 0.5, DRAM has 1 - 2 * 0.5 * 0.4 = 0.6 for the gather
    assert ends[2] == 1500
    assert ends[:2] == [2000, 2000]


def test_reads_and_writes_together_cost_turnaround() -> None:
    reads = Demand("r", {"hbm": Service(1000)})
    writes = Demand("w", {"hbm": Service(0, 1000)})
    assert run(reads, writes, turnaround=0.25) == [2500, 2500]
    assert run(reads, reads, turnaround=0.25) == [2000, 2000]


def test_use_of_devices_is_accounted() -> None:
    env = simpy.Environment()
    machine = Machine(env, {})
    demand = Demand("x", {"hbm": Service(600, 0, bytes=4096, energy_pj=7.0)}, minimum_ps=1000)
    env.process(machine.execute(demand))
    env.run()
    use = machine.use["hbm"]
    assert env.now == 1000
    assert use.busy_ps == pytest.approx(600)
    assert use.bytes == pytest.approx(4096)
    assert use.energy_pj == pytest.approx(7.0)


sizes = st.integers(1, 10**6)


@given(st.lists(st.tuples(sizes, sizes, sizes, st.integers(0, 10**6)), min_size=1, max_size=6))
def test_no_device_works_faster_than_it_can(jobs: list[tuple[int, int, int, int]]) -> None:
    demands = [
        Demand("x", {"hbm": Service(a), "gpu": Service(b), "pcie_h2d": Service(c)})
        for a, b, c, _ in jobs
    ]
    ends = run(*demands, starts=tuple(start for *_, start in jobs))
    first = min(start for *_, start in jobs)
    for place in range(3):
        needed = sum(job[place] for job in jobs)
        assert max(ends) - first >= needed - len(jobs)
    for (a, b, c, start), end in zip(jobs, ends, strict=True):
        assert end - start >= max(a, b, c) - 1
    # and no slower than one after the other
    assert max(ends) <= max(start for *_, start in jobs) + sum(max(job[:3]) for job in jobs) + 9
