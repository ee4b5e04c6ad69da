"""Check-points: bytes by the trace, limits, deadlines; nothing changes where they are in time."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from tiered import device, points, simulated

from simulator.engine import simulate_points
from simulator.engine.pipeline import Beside, conditions
from simulator.engine.prepare import open_for
from simulator.errors import CapacityError, ConfigError
from simulator.results.record import PointResult
from simulator.systems.mlp import mlp_weight_bytes

FAST = {"ssd": {"part": "micron_9400", "write_bandwidth": "1000 TB/s", "write_iops": 10**9}}
SLOW = {"ssd": {"part": "micron_9400", "write_bandwidth": "500 MB/s"}}
SYSTEMS = ("hybrid", "static_cache", "straw_man", "scratchpipe")
OTHERS = ("torchrec_prefetch", "fbgemm_uvm", "tensor_casting", "cached_embedding")
LOG = {"kind": "undo_log", "to": "ssd"}
SNAPSHOT = {"kind": "snapshot", "to": "ssd"}
ROW, FIRST, LAST = 512, 4, 7
"""Bytes of a row of the small model; its timed mini-batches."""


def time_us(result: PointResult) -> float:
    return float(result.metrics["iteration_time_us"])


def written(result: PointResult) -> dict[str, Any]:
    assert result.checkpoint is not None
    return dict(result.checkpoint)


def unique_rows(first: int, last: int, **changes: Any) -> list[int]:
    """Distinct rows of the tables in mini-batches `first` to `last`, counted one by one."""
    (point,) = points("hybrid", **changes)
    trace = open_for(point, 1)
    batches = [trace.minibatch(index) for index in range(first, last + 1)]
    tables = len(batches[0].ids)
    return [
        len(np.unique(np.concatenate([batch.ids[table] for batch in batches])))
        for table in range(tables)
    ]


def mlp_bytes() -> int:
    (point,) = points("hybrid")
    return mlp_weight_bytes(point.model)


@pytest.mark.parametrize("system", [*SYSTEMS, *OTHERS])
@pytest.mark.parametrize("asked", [LOG, SNAPSHOT], ids=["undo_log", "snapshot"])
def test_a_drive_without_end_changes_no_time(system: str, asked: dict[str, Any]) -> None:
    (alone,) = simulated(system, host=FAST).values()
    (logged,) = simulated(system, host=FAST, checkpoint=asked).values()
    row = written(logged)
    assert time_us(logged) == pytest.approx(time_us(alone), rel=1e-9)
    assert row["rest_us"] == pytest.approx(time_us(alone), rel=1e-9)
    assert row["waited_us"] == 0.0 == row["waited_share"]
    assert row["written_bytes"] > 0
    assert alone.checkpoint is None
    names = [[s["stage"] for s in result.stages] for result in (logged, alone)]
    assert names[0] == ["checkpoint", *names[1]]


@pytest.mark.parametrize("system", SYSTEMS)
def test_an_undo_log_has_every_updated_row_once_and_the_mlps(system: str) -> None:
    (logged,) = simulated(system, checkpoint=LOG).values()
    rows = logged.metrics["unique_rows_per_batch"]
    assert rows == np.mean([sum(unique_rows(k, k)) for k in range(FIRST, LAST + 1)])
    assert written(logged)["written_bytes"] == pytest.approx(rows * ROW + mlp_bytes())


@pytest.mark.parametrize("every", [1, 2, 4])
def test_a_snapshot_has_every_row_that_changed_in_its_period_once(every: int) -> None:
    (logged,) = simulated("scratchpipe", checkpoint={**SNAPSHOT, "every": every}).values()
    periods = range(FIRST // every - 1, (LAST + 1) // every - 1)
    rows = sum(sum(unique_rows(p * every, (p + 1) * every - 1)) for p in periods)
    expected = rows * ROW + len(periods) * mlp_bytes()
    assert written(logged)["written_bytes"] * (LAST - FIRST + 1) == pytest.approx(expected)


def test_tables_of_unlike_rows_are_written_by_their_bytes() -> None:
    model = {"dim": [16, 16, 64, 64], "bottom_mlp": None, "interaction": "cat"}
    asked = {**SNAPSHOT, "every": 4}
    (logged,) = simulated("hybrid", model=model, checkpoint=asked).values()
    rows = unique_rows(0, 3, model=model)
    (point,) = points("hybrid", model=model)
    expected = sum(4 * d * n for d, n in zip((16, 16, 64, 64), rows, strict=True))
    expected += mlp_weight_bytes(point.model)
    assert written(logged)["written_bytes"] * 4 == pytest.approx(expected)


def test_a_whole_snapshot_has_all_rows_over_its_period_and_in_the_end_nothing() -> None:
    for every in (4, 1000, 10**9):
        asked = {**SNAPSHOT, "rows": "all", "every": every}
        (logged,) = simulated("hybrid", host=FAST, checkpoint=asked).values()
        whole = 4 * 100_000 * ROW + mlp_bytes()
        assert written(logged)["written_bytes"] == pytest.approx(whole / every, abs=ROW)
    assert written(logged)["waited_us"] == 0.0


@pytest.mark.parametrize("system", [*SYSTEMS, *OTHERS])
@pytest.mark.parametrize("asked", [LOG, SNAPSHOT], ids=["undo_log", "snapshot"])
def test_a_slow_drive_sets_the_pace(system: str, asked: dict[str, Any]) -> None:
    run = {"batches": 8, "warmup_batches": 4}
    (logged,) = simulated(system, host=SLOW, checkpoint=asked, run=run).values()
    row = written(logged)
    floor_us = row["written_bytes"] / 500e6 * 1e6
    assert row["write_us"] >= floor_us * (1 - 1e-9)
    assert time_us(logged) >= floor_us * (1 - 1e-9)
    assert time_us(logged) > row["rest_us"]
    assert row["waited_share"] == pytest.approx(row["waited_us"] / time_us(logged))


@pytest.mark.parametrize("system", ["hybrid", "straw_man", "static_cache"])
def test_serial_training_takes_what_it_took_and_what_it_waits(system: str) -> None:
    (logged,) = simulated(system, host=SLOW, checkpoint=LOG).values()
    row = written(logged)
    assert row["waited_us"] > 0
    assert row["rest_us"] < time_us(logged) <= (row["rest_us"] + row["waited_us"]) * (1 + 1e-3)
    if system != "static_cache":  # whose CPU and GPU update at once, and wait in turn
        assert time_us(logged) == pytest.approx(row["rest_us"] + row["waited_us"], rel=1e-3)


def test_a_faster_drive_and_rarer_snapshots_are_never_slower() -> None:
    asked = {**SNAPSHOT, "rows": "all"}
    times = []
    for rate, every in (("200 MB/s", 50), ("400 MB/s", 50), ("400 MB/s", 100), ("4 GB/s", 100)):
        host = {"ssd": {"part": "micron_9400", "write_bandwidth": rate}}
        (result,) = simulated("hybrid", host=host, checkpoint={**asked, "every": every}).values()
        times.append(time_us(result))
    assert times == sorted(times, reverse=True)
    assert times[0] > times[-1]


def test_it_has_what_the_rows_below_dram_leave_of_their_drive() -> None:
    """Tables on the drive that is written to: their reads and writes come first."""
    tables = {"tier": "ssd"}
    (alone,) = simulated("hybrid", tables=tables).values()
    (logged,) = simulated("hybrid", tables=tables, checkpoint=LOG).values()
    row = written(logged)
    assert row["rest_us"] == pytest.approx(time_us(alone), rel=1e-9)
    assert time_us(logged) == pytest.approx(row["rest_us"] + row["waited_us"], rel=1e-3)
    own, before = device(logged, "ssd.flash"), device(alone, "ssd.flash")
    assert own["bytes"] > before["bytes"] + row["written_bytes"], "old values are read there"


def test_wear_and_energy_are_counted_where_the_others_are() -> None:
    (alone,) = simulated("hybrid").values()
    (logged,) = simulated("hybrid", checkpoint=LOG).values()
    row, flash = written(logged), device(logged, "ssd.flash")
    assert flash["written_gb_per_day"] == pytest.approx(row["checkpoint_gb_per_day"])
    per_day = row["written_bytes"] / (time_us(logged) * 1e-6) * 86_400 / 1e9
    assert row["checkpoint_gb_per_day"] == pytest.approx(per_day)
    assert row["checkpoint_mj"] > 0.0
    assert logged.metrics["energy_mj"] >= alone.metrics["energy_mj"] + row["checkpoint_mj"]


def test_persistent_memory_keeps_it_too() -> None:
    (logged,) = simulated("hybrid", checkpoint={**LOG, "to": "pmem"}).values()
    row = written(logged)
    assert device(logged, "pmem.media")["bytes"] == pytest.approx(row["written_bytes"])
    own = {**LOG, "to": "pmem"}
    (both,) = simulated("hybrid", tables={"tier": "pmem"}, checkpoint=own).values()
    assert written(both)["written_bytes"] == pytest.approx(row["written_bytes"])


def test_several_gpus_write_all_of_it() -> None:
    box = {"base": "p3_16xlarge", "host": {"ssd": {"part": "micron_9400"}}}
    box["host"]["ssd_link"] = {"part": "pcie4_x4", "join": ["cpu", "ssd"]}
    for system in ({"name": "gpu_only", "gpus": 4}, {"name": "scratchpipe", "gpus": 4}):
        changes = {"platform": box, "model": {"batch_size": 512}}
        (logged,) = simulated(system, **changes, checkpoint={**SNAPSHOT, "every": 2}).values()
        rows = unique_rows(2, 3, **changes), unique_rows(4, 5, **changes)
        expected = (sum(map(sum, rows)) * ROW + 2 * mlp_bytes()) / 4
        assert written(logged)["written_bytes"] == pytest.approx(expected, rel=1e-3)


def test_a_load_stage_and_check_points_run_beside_each_other() -> None:
    load = {"cores": 1_000_000, "source_bandwidth": "1000 PB/s"}
    (alone,) = simulated("scratchpipe", host=FAST).values()
    (both,) = simulated("scratchpipe", host=FAST, load=load, checkpoint=LOG).values()
    assert [s["stage"] for s in both.stages][:2] == ["checkpoint", "preprocess"]
    assert time_us(both) == pytest.approx(time_us(alone), rel=1e-9)
    assert both.load is not None
    assert both.load["rest_us"] == pytest.approx(time_us(alone), rel=1e-9)


def test_the_timeline_has_it_and_updates_wait_for_it() -> None:
    (logged,) = simulated("hybrid", host=SLOW, checkpoint=LOG).values()
    ends = {s.batch: s.end_ps for s in logged.timeline if s.stage == "checkpoint"}
    scatters = {s.batch: s.end_ps for s in logged.timeline if s.stage == "scatter"}
    begins = {s.batch: s.start_ps for s in logged.timeline if s.stage == "checkpoint"}
    assert all(scatters[batch] >= end for batch, end in ends.items())
    assert all(begins[batch] >= scatters[batch - 1] for batch in begins if batch)


def test_a_point_without_any_is_the_point_that_it_was() -> None:
    (plain,), (logged,) = points("hybrid"), points("hybrid", checkpoint=LOG)
    assert "checkpoint" not in plain.model_dump(mode="json")
    assert plain.key() != logged.key()
    (result,) = simulate_points((plain,), threads=1)
    assert result.checkpoint is None


def test_it_follows_the_updates_of_the_mini_batch_before() -> None:
    beside = Beside(logged=2)
    assert conditions("serial", 4, 0, 0, beside=beside) == []
    assert conditions("async", 4, 3, 0, beside=beside) == [(2, 0), (2, 2)]
    for mode in ("serial", "ahead", "async", "lockstep", "streams"):
        for stage in range(3):
            rest = conditions(mode, 3, 5, stage)
            own = conditions(mode, 4, 5, stage + 1, beside=beside)
            assert own == [(batch, other + 1) for batch, other in rest], "no stage waits for it"


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"to": "ssd"}, r"checkpoint\.kind: .*(missing|required)"),
        ({"kind": "undo_log"}, r"checkpoint\.to: .*(missing|required)"),
        ({**LOG, "every": 0}, r"checkpoint\.every: is 0: must be greater than 0"),
        ({**LOG, "every": -3}, r"checkpoint\.every: is -3: must be greater than 0"),
        ({**LOG, "every": 1.5}, r"checkpoint\.every"),
        ({**LOG, "kind": "redo_log"}, r"checkpoint\.kind: .*snapshot, undo_log"),
        ({**LOG, "rows": "all"}, r"checkpoint\.rows: has no use"),
        ({**LOG, "to": "sdd"}, r"checkpoint\.to: is sdd, no drive .*did you mean 'ssd'"),
        ({**LOG, "to": "cxl"}, r"checkpoint\.to: is cxl, no drive .*it has: pmem, ssd"),
        ({**LOG, "to": "dram"}, r"checkpoint\.to: is dram, no drive"),
        ({**LOG, "too": "ssd"}, r"checkpoint\.too: unknown key"),
        ({**SNAPSHOT, "every": 5}, r"checkpoint\.every: is 5, but only 4 mini-batches .*warmup"),
        ("ssd", r"checkpoint: .*mapping"),
    ],
)
def test_what_cannot_work_is_refused_with_its_key(asked: Any, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        points("hybrid", checkpoint=asked)
    assert re.search(words, str(caught.value), re.DOTALL), str(caught.value)


def test_a_machine_without_a_drive_says_how_to_get_one() -> None:
    with pytest.raises(ConfigError, match=r"(?s)checkpoint\.to: .*has no drive.*micron_9400"):
        points("hybrid", platform="v100_p3", checkpoint=LOG)


def test_a_log_of_tables_that_live_on_gpus_alone_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"gpu.*hbm alone.*snapshot"):
        simulated("gpu_only", checkpoint=LOG)
    (result,) = simulated("gpu_only", checkpoint=SNAPSHOT).values()
    assert written(result)["written_bytes"] > 0


def test_a_snapshot_larger_than_its_drive_is_refused() -> None:
    host = {"ssd": {"part": "micron_9400", "capacity": "100 MB"}}
    with pytest.raises(CapacityError, match=r"snapshot need 2.* but ssd\.flash holds"):
        simulated("hybrid", host=host, checkpoint=SNAPSHOT)


def test_queries_write_nothing() -> None:
    with pytest.raises(ConfigError, match=r"checkpoint: is given, but queries change nothing"):
        points("hybrid", checkpoint=LOG, run={"mode": "inference"})
