"""The examples, from a folder outside of the package: each runs, and its numbers are right.

They are the proof that a memory tier, an adder in a memory, a pipeline with stages of other names
and a replay of one's own need nothing but a file.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from outside import EXAMPLES, NAMES, ROOT

from simulator import Result, load_experiment, simulate
from simulator.config.catalogue import load_named
from simulator.engine.hazards import HazardCase, run_case
from simulator.hardware.catalogue import load_machine

SYSTEMS = {
    "far_memory": ("far_hybrid", "far_memory/machine.yaml"),
    "adder": ("adder_hybrid", "adder/machine.yaml"),
    "five_stages": ("five_stages", "v100_p3"),
    "own_replay": ("hashed_cache", "v100_p3"),
}
DOORS = {"simulator", "simulator.caches", "simulator.hardware", "simulator.systems"}
DOORS |= {"simulator.traces", "simulator.errors", "simulator.units"}
SMALL = ("sweep={}", "model.batch_size=64", "run.batches=4", "run.warmup_batches=2")
NO_LAST_LEVEL_CACHE = "platform.host.cpu.last_level_cache=1 B"
FREE_LINK = (
    "platform.host.far.organization.channels=4",
    "platform.host.far.mapping=server",
    "platform.host.far.controller=server",
    "platform.host.far_link.raw_bandwidth=1000000 GB/s",
    "platform.host.far_link.read_request_size=1 GB",
    "platform.host.far_link.read_request=0",
    "platform.host.far_link.latency=0 ns",
    "platform.host.far_link.load_latency=0 ns",
)
"""The far memory is as the CPU's own, and the link to it costs nothing."""


def ran(examples: Path, name: str, *overrides: str) -> Result:
    return simulate(load_experiment(examples / name / "experiment.yaml", overrides))


def metrics(result: Result) -> dict[str, Mapping[str, Any]]:
    """The metrics by system; of a run without a sweep."""
    return {row["system"]: row for row in result.metrics()}


def stages(result: Result, system: str) -> dict[str, Mapping[str, Any]]:
    return {row["stage"]: row for row in result.stages() if row["system"] == system}


def resources(result: Result, system: str) -> dict[str, Mapping[str, Any]]:
    return {row["resource"]: row for row in result.devices() if row["system"] == system}


def times(result: Result, system: str) -> list[float]:
    """Iteration times of a system over a sweep, in its order."""
    return [r["iteration_time_us"] for r in result.metrics() if r["system"] == system]


def command(examples: Path, *arguments: str) -> str:
    """What `scratchpipe` prints in the folder of the examples."""
    environment = os.environ | {
        "PYTHONPATH": f"{ROOT}{os.pathsep}{examples / 'site'}",
        "NO_COLOR": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", "from simulator.cli import main; main()", *arguments],
        cwd=examples,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{arguments}\n{done.stdout}\n{done.stderr}"
    return done.stdout


# all of them


def test_every_example_is_tested() -> None:
    assert set(NAMES) == set(SYSTEMS)


@pytest.mark.parametrize("name", NAMES)
def test_an_example_runs_from_outside(examples: Path, name: str) -> None:
    system, platform = SYSTEMS[name]
    out = command(examples, "run", f"{name}/experiment.yaml", "--out", f"runs/{name}")
    assert system in out
    assert (examples / "runs" / name / "metrics.parquet").is_file()
    hazards = ("hazards", "--system", system, "--platform", platform, "--tables", "2")
    assert "0 stale reads in 4,800 row reads" in command(examples, *hazards)
    assert system in command(examples, "list", "systems")


@pytest.mark.parametrize("name", NAMES)
def test_an_example_is_one_short_file_that_comes_in_by_the_doors(name: str) -> None:
    (module,) = (EXAMPLES / name).glob("*.py")
    text = module.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 120
    imported = {
        node.module
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("simulator")
    }
    assert imported <= DOORS


# a memory behind a link


def test_a_far_memory_that_costs_nothing_is_the_memory_divided(examples: Path) -> None:
    """Where threads bound every operator: the same threads, the same time, whichever memory they
    wait for. The same bytes move, but for a row of each operation: lines that one leaves changed
    are driven out by the next one, those of an update by the next mini-batch."""
    waits = "platform.host.cpu.memory_latency=500 ns"
    result = ran(examples, "far_memory", *SMALL, *FREE_LINK, NO_LAST_LEVEL_CACHE, waits)
    far, near = stages(result, "far_hybrid"), stages(result, "hybrid")
    assert far["pool"]["busy_us"] == pytest.approx(near["gather_reduce"]["busy_us"], rel=0.01)
    passes = ("expand", "sort", "accumulate", "scatter")
    whole = sum(near[name]["busy_us"] for name in passes)
    assert far["update"]["busy_us"] == pytest.approx(whole, rel=0.05)
    moved = sum(near[name]["dram_bytes"] for name in ("gather_reduce", *passes))
    own = far["pool"]["dram_bytes"] + far["update"]["dram_bytes"]
    assert own == pytest.approx(moved, abs=10 * 512)


def test_two_memories_are_at_best_twice_as_fast(examples: Path) -> None:
    """Memory bounds the operators of `tuned`: between half of the time and all of it."""
    overrides = (*SMALL, *FREE_LINK, "operators=tuned", "model.batch_size=512")
    result = ran(examples, "far_memory", *overrides)
    far, near = stages(result, "far_hybrid"), stages(result, "hybrid")
    whole = near["gather_reduce"]["busy_us"]
    assert 0.5 * whole <= far["pool"]["busy_us"] < 0.9 * whole


def test_a_slower_link_is_slower(examples: Path) -> None:
    sweep = "sweep={platform.host.far_link.raw_bandwidth: [63 GB/s, 16 GB/s, 4 GB/s, 1 GB/s]}"
    measured = times(ran(examples, "far_memory", *SMALL[1:], sweep), "far_hybrid")
    assert measured == sorted(measured)
    assert measured[-1] > 1.1 * measured[0]
    sweep = "sweep={platform.host.far_link.load_latency: [0 ns, 150 ns, 1 us]}"
    measured = times(ran(examples, "far_memory", *SMALL[1:], sweep), "far_hybrid")
    assert measured == sorted(set(measured))


def test_a_lookup_served_far_away_crosses_the_link_in_whole_cache_lines(examples: Path) -> None:
    """A row of 24 fp32 is 96 B: two lines. Up: lookups and rows to be updated; down: rows that
    were updated. Half of 4 tables x 20 lookups x 64 samples."""
    dim = ("model.dim=24", "model.bottom_mlp=[24]")
    result = ran(examples, "far_memory", *SMALL, NO_LAST_LEVEL_CACHE, *dim)
    link = resources(result, "far_hybrid")
    up, down = link["far_link.up"]["bytes"], link["far_link.down"]["bytes"]
    lookups = 2 * 20 * 64
    assert up - down == pytest.approx(lookups * 128, rel=1e-12)
    assert 0 < down / 128 <= lookups
    assert stages(result, "far_hybrid")["pool"]["link_bytes"] == lookups * 128


def test_a_link_that_is_slow_enough_takes_as_long_as_its_bytes(examples: Path) -> None:
    """And 5 us to start threads; half of them pool the near tables for the first 51 us."""
    slow = "platform.host.far_link.raw_bandwidth=10 MB/s"
    result = ran(examples, "far_memory", *SMALL, NO_LAST_LEVEL_CACHE, slow)
    link = load_machine(str(examples / "far_memory" / "machine.yaml")).socket("far_link").part
    bandwidth = link.read_bandwidth * 10e6 / link.raw_bandwidth
    pool = stages(result, "far_hybrid")["pool"]
    start_us = 5.0
    bytes_us = pool["link_bytes"] / bandwidth * 1e6
    assert pool["busy_us"] - start_us == pytest.approx(bytes_us, abs=51 / 2)


# an adder inside a memory


def test_more_ranks_are_never_slower(examples: Path) -> None:
    """Of software whose launches do not take longer than all that the memory does."""
    sweep = "sweep={platform.host.near.ranks: [1, 2, 4, 8, 64]}"
    result = ran(examples, "adder", *SMALL[1:], "operators=tuned", sweep)
    measured = times(result, "adder_hybrid")
    assert measured == sorted(measured, reverse=True)
    assert measured[0] > measured[2]
    assert len(set(times(result, "hybrid"))) == 1


def test_only_pooled_vectors_leave_the_near_memory(examples: Path) -> None:
    result = ran(examples, "adder", *SMALL)
    forward = stages(result, "adder_hybrid")
    pooled, dense = 64 * 4 * 128 * 4, 64 * 14 * 4
    assert not forward["pool"].get("link_bytes")
    assert forward["pooled_to_gpu"]["link_bytes"] == 2 * pooled + dense  # over two links
    link = resources(result, "adder_hybrid")
    rows = link["near_link.down"]["bytes"]  # updated by the CPU
    assert link["near_link.up"]["bytes"] == rows + pooled
    inside = 64 * 4 * 20 * 128 * 4
    assert link["near.ranks"]["bytes"] == inside + pooled


def test_with_no_limit_inside_only_the_links_are_left(examples: Path) -> None:
    unlimited = ("platform.host.near.ranks=1000000000", "platform.host.near.additions=1e30")
    """And the submission of the first copy: that of the second passes meanwhile."""
    forward = stages(ran(examples, "adder", *SMALL, *unlimited), "adder_hybrid")
    machine = load_machine(str(examples / "adder" / "machine.yaml"))
    near, pcie, gpu = (machine.socket(name).part for name in ("near_link", "pcie", "gpu"))
    submission = gpu.launch + load_named("operators", "paper").gpu.submission
    pooled, dense = 64 * 4 * 128 * 4, 64 * 14 * 4
    latency = near.latency + 2 * pcie.latency  # pooled over both, dense over one
    rate = min(pcie.read_bandwidth, pcie.outstanding_bandwidth)
    wanted = (submission + latency) / 1e6 + (pooled + dense) / rate * 1e6
    assert forward["pool"]["busy_us"] < 0.001
    assert forward["pooled_to_gpu"]["busy_us"] == pytest.approx(wanted, rel=1e-4)


def test_a_gather_that_sums_outside_reads_at_the_rate_of_the_bus(examples: Path) -> None:
    """One rank is no faster than the bus, four take a quarter of its time."""
    fast_adders = "platform.host.near.additions=1e30"
    busy = []
    for ranks in (1, 4):
        result = ran(examples, "adder", *SMALL, fast_adders, f"platform.host.near.ranks={ranks}")
        busy.append(stages(result, "adder_hybrid")["pool"]["busy_us"])
    assert busy[1] == pytest.approx(busy[0] / 4, rel=1e-3)


# five stages of other names


def test_five_stages_hit_as_often_as_six(examples: Path) -> None:
    rows = metrics(ran(examples, "five_stages"))
    five, six = rows["five_stages"], rows["scratchpipe"]
    assert (five["window_past"], five["window_future"]) == (3, 2)
    same = ("lookup_hit_rate", "unique_hit_rate", "misses_per_batch", "victims_per_batch")
    same += ("dirty_victims_per_batch", "cache_rows", "window_past", "window_future")
    assert {key: five[key] for key in same} == {key: six[key] for key in same}
    serial = rows["straw_man"]["iteration_time_us"]
    assert serial / 5 <= five["iteration_time_us"] < serial


def test_the_window_and_the_depth_follow_from_what_the_stages_do(examples: Path) -> None:
    from five_stages import FiveStages

    from simulator.config.catalogue import load_named
    from simulator.hardware import build_topology
    from simulator.systems import Job

    model = load_named("models", "default")
    machine = build_topology(load_machine("v100_p3"), model.row_bytes)
    schedule = FiveStages(Job(model, load_named("operators", "paper")), machine).schedule
    assert schedule.depth == 5
    assert (schedule.window.past, schedule.window.future) == (3, 2)


@pytest.mark.parametrize("mode", ["lockstep", "async"])
@pytest.mark.parametrize("policy", ["lru", "random"])
def test_five_stages_train_like_one_batch_at_a_time(examples: Path, policy: str, mode: str) -> None:
    report = run_case(HazardCase(system="five_stages", policy=policy, mode=mode)).report
    assert not report.stale
    assert report.tables_equal


@pytest.mark.parametrize("side", ["window_past", "window_future"])
def test_a_smaller_window_is_caught_in_five_stages(examples: Path, side: str) -> None:
    needed = {"window_past": 3, "window_future": 2}
    case = HazardCase(system="five_stages", policy="random", **{side: needed[side] - 1})
    report = run_case(case).report
    assert report.stale
    assert not report.tables_equal


# a replay of one's own


def test_a_hashed_cache_hits_as_often_as_it_holds_the_rows(examples: Path) -> None:
    """Independent uniform lookups hit with the share of rows that are resident, whoever leaves."""
    uniform = ("trace={kind: uniform}", "model.rows_per_table=4000", "cache.fraction=0.5")
    rows = metrics(
        ran(
            examples,
            "own_replay",
            *uniform,
            "model.batch_size=16",
            "run.batches=40",
            "run.warmup_batches=60",
        )
    )
    assert rows["hashed_cache"]["unique_hit_rate"] == pytest.approx(0.5, abs=0.02)
    assert rows["hashed_cache"]["policy"] == "hashed"
    assert rows["hashed_cache"]["window_past"] is None
    assert rows["hashed_cache"]["cache_rows"] == 8000


def test_where_nothing_is_replaced_it_hits_as_lru_does(examples: Path) -> None:
    """An odd multiplier gives each of 4,096 rows one of 4,096 slots of its own."""
    whole = ("model.rows_per_table=4096", "cache.fraction=1.0", "model.batch_size=16")
    whole += ("cache.prefill=empty",)  # as the other's replay starts
    rows = metrics(ran(examples, "own_replay", *whole))
    hashed, lru = rows["hashed_cache"], rows["straw_man"]
    same = ("lookup_hit_rate", "unique_hit_rate", "misses_per_batch", "cold_misses_per_batch")
    assert {key: hashed[key] for key in same} == {key: lru[key] for key in same}
    assert hashed["victims_per_batch"] == hashed["capacity_misses_per_batch"] == 0
    assert hashed["iteration_time_us"] == pytest.approx(lru["iteration_time_us"], rel=0.01)


@pytest.mark.parametrize("slots", [6, 12, 60])
def test_a_hashed_cache_trains_like_one_batch_at_a_time(examples: Path, slots: int) -> None:
    report = run_case(HazardCase(system="hashed_cache", tables=3, slots=slots)).report
    assert not report.stale
    assert report.tables_equal


def test_a_mini_batch_that_no_hashed_cache_can_hold_is_refused(examples: Path) -> None:
    from simulator import CapacityError

    with pytest.raises(CapacityError, match="6 distinct rows for 4 hashed slots"):
        run_case(HazardCase(system="hashed_cache", slots=4))


# on hardware


@pytest.mark.parametrize("name", ["five_stages", "own_replay"])
def test_the_trainer_trains_what_hybrid_trains(examples: Path, name: str) -> None:
    """The same program, third reader: real tables on CPU tensors, equal to the last bit."""
    pytest.importorskip("torch", reason="PyTorch is the extra `lab`")
    from simulator.config.expand import expand
    from simulator.observe.inputs import draw, prepare
    from simulator.observe.rows import aligned, fill_rows, use_threads
    from simulator.observe.run import train_point

    model = "model={base: default, tables: 2, rows_per_table: 600, dim: 16, lookups_per_table: 3, "
    model += "batch_size: 8, bottom_mlp: [8], top_mlp: [8, 1]}"
    systems = f"systems=[hybrid, {SYSTEMS[name][0]}]"
    run = ("operators=observed", "run.batches=20", "run.cpu_threads=1", "cache.fraction=0.4")
    path = examples / name / "experiment.yaml"
    threads, trained = use_threads(1), []
    for point in expand(load_experiment(path, (model, systems, *run))):
        table = aligned(point.model.rows, point.model.width)
        fill_rows(table, threads)
        trainer = train_point(prepare(point, draw(point, 1), 1), "cpu", threads, table)
        trainer.run()
        trained.append(trainer.tables())
    assert len(trained) == 2
    assert (trained[0] == trained[1]).all()
