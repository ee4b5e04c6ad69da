"""Energy of a run: the sum of its resources, standing power by time, work by what was done."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
from small import BOX, SYSTEMS, devices, simulated, time_us

from simulator.hardware.catalogue import load_machine
from simulator.hardware.topology import Topology, build_topology
from simulator.results.record import PointResult

BOXED = {"name": "gpu_only", "label": "box", "platform": BOX}
CPU_IDLE, GPU_IDLE = 34.0, 40.0
"""Watts of a Xeon E5-2698 v4 and of the board of a V100."""


@cache
def base() -> dict[str, PointResult]:
    return simulated(*SYSTEMS, BOXED)


@cache
def machine(name: str = "v100_p3") -> Topology:
    return build_topology(load_machine(name), 512)


def standing_w(place: str, name: str = "v100_p3") -> float:
    return machine(name).memory(place).timing.standing_w


def energy(result: PointResult) -> dict[str, float]:
    """Millijoules a mini-batch by resource, of those that anybody accounts for."""
    return devices(result, "energy_mj")


def changed(name: str, host: dict[str, Any], **sections: Any) -> PointResult:
    return simulated(name, platform={"base": "v100_p3", "host": host}, **sections)[name]


@pytest.mark.parametrize("name", [*SYSTEMS, "box"])
def test_energy_is_that_of_all_resources(name: str) -> None:
    result = base()[name]
    assert sum(energy(result).values()) == pytest.approx(result.metrics["energy_mj"], rel=1e-12)
    assert min(energy(result).values()) > 0.0


@pytest.mark.parametrize("name", SYSTEMS)
def test_processors_and_their_memories_are_accounted_for(name: str) -> None:
    assert set(energy(base()[name])) == {"cpu.cores", "cpu.dram", "gpu.sm", "gpu.hbm"}


def test_eight_gpus_count_each() -> None:
    """Of four tables: each GPU as busy as it is, those without a table alike."""
    joules = energy(base()["box"])
    assert len(joules) == 2 + 2 * 8
    for what in ("sm", "hbm"):
        each = [joules[f"gpu{k}.{what}"] for k in range(8)]
        assert each[4:] == [each[4]] * 4
        assert min(each[:4]) > each[4]
    cpu = joules["cpu.cores"] + joules["cpu.dram"]
    gpus = sum(joules[f"gpu{k}.{what}"] for k in range(8) for what in ("sm", "hbm"))
    assert base()["box"].metrics["energy_mj"] == pytest.approx(gpus + cpu)


@pytest.mark.parametrize("gpus", [1, 2, 4])
def test_gpus_that_are_not_used_take_nothing(gpus: int) -> None:
    """As links and power supplies do: the energy is that of what the program uses."""
    result = simulated({**BOXED, "gpus": gpus})["box"]
    assert set(energy(result)) == {
        *("cpu.cores", "cpu.dram"),
        *(f"gpu{k}.{what}" for k in range(gpus) for what in ("sm", "hbm")),
    }


@pytest.mark.parametrize("name", ["hybrid", "static_cache", "straw_man"])
def test_standing_power_scales_with_time(name: str) -> None:
    """The same work with a slower synchronization: what is added is idle power over the time that
    is added, of the package, of DRAM, and of the board with its HBM."""
    before, after = base()[name], changed(name, {"gpu": {"synchronize": "1009 us"}})
    added_us = time_us(after) - time_us(before)
    assert added_us > 999.9, "one or more waits an iteration"
    watts = {
        "cpu.cores": CPU_IDLE,
        "cpu.dram": standing_w("cpu"),
        "gpu.hbm": standing_w("gpu"),
        "gpu.sm": GPU_IDLE - standing_w("gpu"),
    }
    for resource, power in watts.items():
        added = energy(after)[resource] - energy(before)[resource]
        assert added == pytest.approx(power * added_us * 1e-3, rel=1e-3), resource


def stalled_us(result: PointResult) -> float:
    """Time for which threads of a serial system hold cores that are not busy."""
    busy = devices(result, "busy_us")
    return max(0.0, busy["cpu.threads"] - busy["cpu.cores"])


def load_us(result: PointResult) -> float:
    """Busy time of the cores, and half of the time that threads only hold them."""
    return devices(result, "busy_us")["cpu.cores"] + 0.5 * stalled_us(result)


def test_idle_power_twice_as_high_adds_itself_over_the_idle_time() -> None:
    """Of the package: 34 W more while its cores are neither busy nor held."""
    before, after = base()["hybrid"], changed("hybrid", {"cpu": {"idle_power": "68 W"}})
    idle_us = time_us(before) - load_us(before)
    added = energy(after)["cpu.cores"] - energy(before)["cpu.cores"]
    assert added == pytest.approx(34.0 * idle_us * 1e-3)
    assert time_us(after) == time_us(before)


def test_active_power_counts_while_cores_are_busy() -> None:
    """135 W more over the busy time of the cores, half of it while threads only hold them."""
    before, after = base()["hybrid"], changed("hybrid", {"cpu": {"active_power": "270 W"}})
    added = energy(after)["cpu.cores"] - energy(before)["cpu.cores"]
    assert added == pytest.approx(135.0 * load_us(before) * 1e-3)


def test_threads_that_wait_take_power() -> None:
    """`paper` operators wait for DRAM and page faults: 101 W between idle and busy, half of it,
    over the time that their threads hold cores beyond what they do."""
    before = changed("hybrid", {}, operators="paper")
    after = changed("hybrid", {"cpu": {"stalled_power": 0.0}}, operators="paper")
    assert stalled_us(before) > 0.2 * time_us(before)
    saved = energy(before)["cpu.cores"] - energy(after)["cpu.cores"]
    assert saved == pytest.approx(0.5 * 101.0 * stalled_us(before) * 1e-3)
    assert time_us(after) == time_us(before)


def test_threads_that_other_stages_hold_up_take_power() -> None:
    """In a pipeline whose DRAM is full, threads are held for longer than their work alone takes: by
    more than what they wait alone, at half of 101 W."""
    sizes = {"dim": 256, "batch_size": 2048}
    cache = {"fraction": 0.8}
    before = changed("scratchpipe", {}, model=sizes, cache=cache)
    after = changed("scratchpipe", {"cpu": {"stalled_power": 0.0}}, model=sizes, cache=cache)
    alone = 0.5 * 101.0 * stalled_us(before) * 1e-3
    saved = energy(before)["cpu.cores"] - energy(after)["cpu.cores"]
    assert saved - alone > 0.02 * energy(after)["cpu.cores"]


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_package_takes_between_idle_and_active_power(name: str) -> None:
    result = base()[name]
    seconds = time_us(result) * 1e-3
    joules = energy(result)
    assert CPU_IDLE * seconds <= joules["cpu.cores"] * (1 + 1e-12) <= 135.0 * seconds
    assert GPU_IDLE * seconds <= joules["gpu.sm"] + joules["gpu.hbm"] <= 300.0 * seconds


@pytest.mark.parametrize("name", ["v100_p3", "a100", "h100", "h200", "gh200"])
def test_an_idle_board_takes_more_than_its_hbm_standing_still(name: str) -> None:
    """Else idle power of data sheet and of the bank model contradict each other."""
    gpu = machine(name).devices["gpu"].part
    assert 0.0 < standing_w("gpu", name) < gpu.idle_power  # type: ignore[attr-defined]


@pytest.mark.parametrize("place", ["cpu.dram", "gpu.hbm"])
def test_a_memory_takes_its_standing_power_and_its_work(place: str) -> None:
    """Work of two systems in proportion to their bytes, to within what rows and streams differ."""
    work = {}
    for name in ("hybrid", "straw_man"):
        result = base()[name]
        standing = standing_w(place.partition(".")[0]) * time_us(result) * 1e-3
        work[name] = (energy(result)[place] - standing) / devices(result, "bytes")[place]
        assert work[name] > 0.0
    assert work["hybrid"] == pytest.approx(work["straw_man"], rel=0.5)


def test_bytes_that_cost_twice_the_energy_add_their_work() -> None:
    """Twice the energy of each activate, read and write; background and refresh as before."""
    dram = machine().devices["cpu"].part.memory.energy  # type: ignore[attr-defined]
    costs = {key: f"{2 * getattr(dram, key)} pJ" for key in ("activate", "read", "write")}
    before, after = base()["hybrid"], changed("hybrid", {"cpu": {"memory": {"energy": costs}}})
    standing = standing_w("cpu") * time_us(before) * 1e-3
    work = energy(before)["cpu.dram"] - standing
    assert energy(after)["cpu.dram"] == pytest.approx(standing + 2.0 * work, rel=1e-9)


def test_energy_is_of_a_mini_batch() -> None:
    """Not of all that were timed."""
    few, many = (
        simulated("hybrid", trace={"kind": "uniform"}, run={"batches": count})["hybrid"]
        for count in (2, 8)
    )
    assert few.metrics["energy_mj"] == pytest.approx(many.metrics["energy_mj"], rel=0.01)


def test_a_faster_iteration_of_the_same_work_takes_less_energy() -> None:
    slow, fast = base()["hybrid"], changed("hybrid", {"pcie": {"raw_bandwidth": "31.508 GB/s"}})
    saved_us = time_us(slow) - time_us(fast)
    saved = slow.metrics["energy_mj"] - fast.metrics["energy_mj"]
    idle = CPU_IDLE + standing_w("cpu") + GPU_IDLE
    assert saved == pytest.approx(idle * saved_us * 1e-3, rel=0.01)
