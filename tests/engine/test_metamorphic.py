"""What must hold between runs: faster parts, larger mini-batches, other threads."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import Any

import pytest
from small import (
    ALL,
    BOX,
    LARGE_CACHE,
    MODEL,
    PIPELINED,
    SERIAL,
    SYSTEMS,
    UNIFORM,
    base,
    devices,
    points,
    simulated,
    stages,
    time_us,
)

from simulator.engine import simulate_points
from simulator.errors import ConfigError
from simulator.hardware.demand import loaded_latency
from simulator.results.record import PointResult

ANOMALY = {"serial": 1e-4, "pipelined": 0.03}
"""What a schedule may lose to a faster part.

Pipelines: stages share the memories, and waits for a memory grow faster than its load. A CPU that
is slowed spreads its accesses, and copies beside it wait less than it loses; a stage that ends
sooner lets the next one start sooner, beside the stage that all others wait for (as in list
scheduling: Graham, SIAM J. Appl. Math., 1969). Seen: 1.1 % without a barrier.
Serial: work that the host submits ahead of the first timed mini-batch is not that ahead of the
last. Seen: 1e-5 (multiprocessors, static cache)."""


@dataclass(frozen=True)
class Twice:
    """A machine and the same with one part twice as fast; `faster`: a stage that must gain."""

    change: dict[str, Any]
    faster: tuple[str, str]
    base: dict[str, Any] = field(default_factory=dict)
    sections: dict[str, Any] = field(default_factory=dict)


TWO_CORES = {"cpu": {"cores": 2}}
"""Cores that are the limit, not DRAM."""
LARGE_MLPS = {"model": {"bottom_mlp": [4096], "top_mlp": [4096, 1]}}
HOT = {"trace": {"kind": "zipf", "alpha": 1.4}, "model": {"rows_per_table": 5_000}, **LARGE_CACHE}
"""Nearly all lookups hit L2."""
INSTRUCTIONS = {**HOT, "operators": "observed"}
"""Software whose instructions for a line are the limit, not L2 or HBM."""

FASTER = {
    "link": Twice(
        {"pcie": {"raw_bandwidth": "31.508 GB/s", "outstanding_reads": 64}},
        ("hybrid", "pooled_to_gpu"),
    ),
    "reads outstanding": Twice({"pcie": {"outstanding_reads": 64}}, ("hybrid", "pooled_to_gpu")),
    "link latency": Twice({"pcie": {"latency": "3245 ns"}}, ("hybrid", "pooled_to_gpu")),
    "DRAM clock": Twice({"cpu": {"memory": {"clock": "2400 MHz"}}}, ("hybrid", "gather_reduce")),
    "DRAM channels": Twice(
        {"cpu": {"memory": {"organization": {"channels": 8}}}}, ("hybrid", "gather_reduce")
    ),
    "HBM clock": Twice({"gpu": {"memory": {"clock": "1750 MHz"}}}, ("gpu_only", "gather_reduce")),
    "cores": Twice({"cpu": {"cores": 4}}, ("hybrid", "accumulate"), TWO_CORES),
    "misses outstanding": Twice(
        {"cpu": {"cores": 2, "miss_buffers": 20}}, ("straw_man", "insert"), TWO_CORES
    ),
    "latency of DRAM": Twice(
        {"cpu": {"cores": 2, "memory_latency": "45 ns"}}, ("hybrid", "gather_reduce"), TWO_CORES
    ),
    "streaming stores": Twice(
        {"cpu": {"cores": 2, "nontemporal_bandwidth": "16 GB/s"}},
        ("straw_man", "collect"),
        TWO_CORES,
    ),
    "last level": Twice(
        {"cpu": {"cores": 2, "last_level_cache": "4 MB"}},
        ("hybrid", "gather_reduce"),
        {"cpu": {"cores": 2, "last_level_cache": "2 MB"}},
    ),
    "fork and join": Twice({"cpu": {"thread_start": "2500 ns"}}, ("hybrid", "sort")),
    "path of rows": Twice(
        {"cpu": {"memory_path": {"random_read": "40 GB/s", "random_piece": "1 ns"}}},
        ("hybrid", "gather_reduce"),
        {"cpu": {"memory_path": {"random_read": "20 GB/s", "random_piece": "2 ns"}}},
    ),
    "writes of devices": Twice(
        {"cpu": {"cores": 2, "device_cache": "2 MB"}},
        ("straw_man", "insert"),
        {"cpu": {"cores": 2, "device_cache": "1 MB"}},
    ),
    "launch": Twice({"gpu": {"launch": "1990 ns"}}, ("hybrid", "pooled_to_gpu")),
    "kernel": Twice({"gpu": {"kernel_latency": "2643500 ps"}}, ("straw_man", "plan")),
    "kernel of a product": Twice(
        {"gpu": {"products": {"fp32": {"kernel_latency": "2936 ns"}}}}, ("hybrid", "mlp")
    ),
    "arithmetic": Twice(
        {"gpu": {"peak": {"fp32": "31.4 TFLOP/s"}}}, ("hybrid", "mlp"), sections=LARGE_MLPS
    ),
    "batched products": Twice(
        {"gpu": {"products": {"fp32": {"batched": "10.342 TFLOP/s"}}}},
        ("hybrid", "mlp"),
        sections=LARGE_MLPS,
    ),
    "pairs of an interaction": Twice(
        {"gpu": {"products": {"fp32": {"selection": 1.5082e9}}}}, ("hybrid", "mlp")
    ),
    "multiprocessors": Twice(
        {"gpu": {"sms": 80}},
        ("gpu_only", "gather_reduce"),
        {"gpu": {"sms": 40}},
        sections=INSTRUCTIONS,
    ),
    "L2": Twice(
        {"gpu": {"l2_cache": "2 MB"}},
        ("gpu_only", "gather_reduce"),
        {"gpu": {"l2_cache": "1 MB"}},
    ),
    "L2 bandwidth": Twice(
        {"gpu": {"l2_bandwidth": "4310 GB/s"}}, ("gpu_only", "gather_reduce"), sections=HOT
    ),
    "radix sort": Twice({"gpu": {"sort_rate": 12e9}}, ("gpu_only", "sort_update")),
    "radix passes": Twice({"gpu": {"sort_pass_latency": "7500 ns"}}, ("gpu_only", "sort_update")),
    "probes": Twice({"gpu": {"random_access_rate": 5.704e9}}, ("straw_man", "plan")),
    "synchronization": Twice({"gpu": {"synchronize": "2125 ns"}}, ("hybrid", "gradients_to_cpu")),
}


@cache
def _before(key: str) -> dict[str, PointResult]:
    """Results of the machine of a case, shared by cases of equal machines."""
    case = FASTER[key]
    same = next(k for k, c in FASTER.items() if (c.base, c.sections) == (case.base, case.sections))
    if same != key:
        return _before(same)
    return simulated(*ALL, platform={"base": "v100_p3", "host": case.base}, **case.sections)


def assert_no_slower(before: dict[str, PointResult], after: dict[str, PointResult]) -> None:
    for name, result in after.items():
        lost = ANOMALY["pipelined" if name in PIPELINED else "serial"]
        assert time_us(result) <= (1.0 + lost) * time_us(before[name]), name


@pytest.mark.parametrize("key", FASTER)
def test_a_part_twice_as_fast_is_never_slower(key: str) -> None:
    case = FASTER[key]
    platform = {"base": "v100_p3", "host": case.change}
    before, after = _before(key), simulated(*ALL, platform=platform, **case.sections)
    assert_no_slower(before, after)
    name, stage = case.faster
    assert stages(after[name])[stage] < stages(before[name])[stage], "the change takes hold"


@pytest.mark.parametrize("stage", ["all_to_all", "all_to_all_back"])
def test_a_link_between_gpus_twice_as_fast_is_never_slower(stage: str) -> None:
    before, after = (
        simulated("gpu_only", platform={"base": BOX, "host": {"nvlink": {"bandwidth": rate}}})
        for rate in ("25 GB/s", "50 GB/s")
    )
    assert time_us(after["gpu_only"]) < time_us(before["gpu_only"])
    gained = stages(before["gpu_only"])[stage] - stages(after["gpu_only"])[stage]
    # 7 / 8 of the pooled vectors of a table; 7 / 16 of the ports of a cube mesh (120 GB/s at 80 %
    # of 150), of which a protocol for small messages carries half
    size = 512 * 512 * 7 // 8
    assert gained == pytest.approx(0.5 * size / (120e9 * 7 / 16 / 2) * 1e6, rel=1e-3)


@pytest.mark.parametrize("word", ["gather_reduce", "sort", "accumulate", "gather", "row_scatter"])
def test_software_twice_as_fast_is_never_slower(word: str) -> None:
    profile = {
        "base": "tuned",
        word: {"threads": "one", "row_time": "100 ns", "overlap": 0.5, "source": "a test"},
    }
    better = {**profile, word: {**profile[word], "row_time": "50 ns"}}  # type: ignore[dict-item]
    before, after = (simulated(*ALL, operators=software) for software in (profile, better))
    assert_no_slower(before, after)
    assert any(time_us(after[name]) < 0.99 * time_us(before[name]) for name in before), (
        "some system spends its time there"
    )


# mini-batches


MANY_ROWS = {**MODEL, "rows_per_table": 200_000}


@pytest.mark.parametrize("batch", [128, 512, 1024])
def test_twice_the_mini_batch_takes_at_most_twice_the_time(batch: int) -> None:
    """Latencies are there once. On uniform rows, far more than any processor's cache holds: where
    it holds a share of the rows, that share falls with the distinct rows of a mini-batch, and with
    it the time of a lookup rises. Radix sorts: comparison sorts take a level more (n log n)."""
    one, two = (
        simulated(*ALL, model={**MANY_ROWS, "batch_size": size}, **UNIFORM)
        for size in (batch, 2 * batch)
    )
    for name in one:
        assert time_us(one[name]) < time_us(two[name]) <= 2.0 * time_us(one[name]) * (1 + 1e-6)


def test_a_comparison_sort_is_the_exception_and_takes_a_level_more() -> None:
    """512 x 20 lookups a table are 14 levels (13.3), twice that 15."""
    one, two = (
        simulated("hybrid", operators="paper", model={**MANY_ROWS, "batch_size": size}, **UNIFORM)[
            "hybrid"
        ]
        for size in (512, 1024)
    )
    ratio = stages(two)["sort"] / stages(one)["sort"]
    assert 2.0 < ratio < 2.0 * 15 / 14


def test_more_mini_batches_change_the_mean_but_little() -> None:
    """Uniform rows: every mini-batch is like the others."""
    few, many = (simulated(*ALL, run={"batches": count}, **UNIFORM) for count in (4, 12))
    for name in few:
        assert time_us(many[name]) == pytest.approx(time_us(few[name]), rel=0.02), name


# times


@pytest.mark.parametrize("name", [*SERIAL, "box"])
def test_a_serial_iteration_is_the_sum_of_its_stages(name: str) -> None:
    result = base()[name]
    assert sum(stages(result).values()) == pytest.approx(time_us(result), rel=1e-9)
    assert stages(result, "exposed_us") == pytest.approx(stages(result))
    assert set(stages(result, "hidden_us").values()) == {0.0}


@pytest.mark.parametrize("name", PIPELINED)
def test_exposed_stages_of_a_pipeline_are_its_iteration(name: str) -> None:
    result = base()[name]
    assert sum(stages(result, "exposed_us").values()) == pytest.approx(time_us(result), rel=1e-9)
    assert sum(stages(result).values()) > 1.5 * time_us(result), "stages overlap"


def test_a_pipeline_takes_no_longer_than_its_stages_one_after_the_other() -> None:
    straw = time_us(base()["straw_man"])
    assert all(time_us(base()[name]) < straw for name in PIPELINED)


def test_a_pipeline_takes_at_least_its_longest_stage_alone() -> None:
    longest = max(stages(base()["straw_man"]).values())
    assert all(time_us(base()[name]) >= longest for name in PIPELINED)


@pytest.mark.parametrize("name", [*SYSTEMS, "lockstep", "box"])
def test_no_resource_is_used_more_than_all_of_the_time(name: str) -> None:
    """The runs were checked (`run.check`) as well."""
    result = base()[name]
    shares = devices(result, "utilization")
    assert all(0.0 <= share <= 1.0 + 1e-9 for share in shares.values())
    assert max(shares.values()) > 0.0
    assert all(0.0 <= share <= 1.0 for share in devices(result, "share_of_peak").values())


@pytest.mark.parametrize("name", [*SYSTEMS, "lockstep", "box"])
def test_time_is_busy_time_over_utilization(name: str) -> None:
    result = base()[name]
    for row in result.devices:
        assert row["busy_us"] == pytest.approx(row["utilization"] * time_us(result), abs=1e-6)


# threads


def test_threads_of_the_cpu_change_its_time() -> None:
    """Twice the threads take half of the time while they are the limit (DRAM is far away), and
    5 us to start the second: twice for a sort, which counts and then moves."""
    times = {
        threads: stages(simulated("hybrid", run={"cpu_threads": threads})["hybrid"])
        for threads in (1, 2, 4, 20)
    }
    for stage, starts in (("gather_reduce", 1), ("sort", 2), ("accumulate", 1)):
        ordered = [times[threads][stage] for threads in (1, 2, 4, 20)]
        assert ordered == sorted(ordered, reverse=True), stage
        assert ordered[0] == pytest.approx(2.0 * (ordered[1] - 5.0 * starts), rel=0.01), stage
    gpu = [times[threads]["mlp"] for threads in (1, 2, 4, 20)]
    assert len(set(gpu)) == 1


def test_all_threads_are_as_many_as_there_are_cores() -> None:
    given, default = (simulated(*ALL, run=run) for run in ({"cpu_threads": 20}, {}))
    assert {n: time_us(r) for n, r in given.items()} == {n: time_us(r) for n, r in default.items()}


def test_more_threads_than_cores_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"run\.cpu_threads: is 21: Intel Xeon E5-2698 v4 has 20"):
        points("hybrid", run={"cpu_threads": 21})


def test_few_threads_work_on_one_list_at_a_time() -> None:
    """ScratchPipe's Collect and Insert beside each other on two threads take what both take one
    after the other, row for row, not what two threads each would take."""
    run = {"cpu_threads": 2, "batches": 8}
    serial, pipelined = (simulated(name, run=run)[name] for name in ("straw_man", "scratchpipe"))
    both = stages(serial)["collect"] + stages(serial)["insert"]
    rows = pipelined.metrics["misses_per_batch"] / serial.metrics["misses_per_batch"]
    assert time_us(pipelined) >= 0.98 * both * rows
    assert_threads_wait_for_copies(pipelined)


def assert_threads_wait_for_copies(result: PointResult) -> None:
    """Threads are never idle but for two starts of 5 us; they are slower than alone as far as
    copies load DRAM."""
    busy, size = devices(result, "utilization"), devices(result, "bytes")
    copies = busy["cpu.dram"] * (size["pcie.down"] + size["pcie.up"]) / size["cpu.dram"]
    expected = (1.0 - 2 * 5.0 / time_us(result)) / loaded_latency(copies)
    assert busy["cpu.threads"] == pytest.approx(expected, abs=0.02)


# what must change nothing


def without_clock(result: PointResult) -> dict[str, Any]:
    return {
        name: value
        for name, value in result.metrics.items()
        if not name.startswith("wall") and name not in ("realtime_factor", "point")
    }


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_point_alone_gives_what_it_gives_among_others(name: str) -> None:
    alone = simulated(name)[name]
    assert without_clock(alone) == without_clock(base()[name])
    assert alone.stages == base()[name].stages
    assert alone.devices == base()[name].devices
    assert alone.timeline == base()[name].timeline


def test_the_order_of_points_changes_nothing() -> None:
    forth = points(*SYSTEMS)
    back = simulate_points(tuple(reversed(forth)), threads=1)
    for result in back:
        assert without_clock(result) == without_clock(base()[result.point.system.label])


@pytest.mark.parametrize("name", [name for name in SYSTEMS if name != "gpu_only"])
def test_parts_that_a_system_does_not_use_change_nothing(name: str) -> None:
    more = {
        "base": "v100_p3",
        "host": {
            "gpu": {"count": 2},
            "far": {"part": "ddr4_2400"},
            "bridge": {"part": "pcie3_x16", "join": ["cpu", "far"]},
        },
    }
    result = simulated(name, platform=more)[name]
    assert time_us(result) == time_us(base()[name])
    assert result.metrics["energy_mj"] == base()[name].metrics["energy_mj"]
    idle = devices(result, "busy_us")
    assert all(idle[name] == 0.0 for name in idle if name.startswith(("gpu1", "far", "bridge")))


def test_checks_change_nothing() -> None:
    for name, result in simulated(*SYSTEMS, run={"check": False}).items():
        assert without_clock(result) == without_clock(base()[name])
