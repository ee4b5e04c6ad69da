"""ReCXL: what neighbours share is waited for, the rest is hidden behind the MLPs."""

from __future__ import annotations

from typing import Any

import pytest
from rivalry import executed, replayed, simulated, stage_times, without_wait, words

from simulator.caches.facts import LOOKUP, UNIQUE
from simulator.caches.replays.overlap import AGAIN_LOOKUP, ALONE, FRESH_LOOKUP, SHARED
from simulator.engine.hazards import HazardCase, run_case
from simulator.hardware.program import Move, Pool, Update
from simulator.results.record import PointResult

BASE = {"name": "recxl", "platform": "recxl_v100"}
ROW = 512
LARGE_MLP = {"bottom_mlp": [1024, 1024], "top_mlp": [2048, 2048, 1]}
UNIFORM: dict[str, Any] = {
    "trace": {"kind": "uniform"},
    "model": {"rows_per_table": 2_000_000, **LARGE_MLP},
}
"""Neighbours share hardly a row, and MLPs take longer than the pool."""


def ran(overlap: str, pool: dict[str, Any] | None = None, **changes: Any) -> PointResult:
    machine = {
        "base": "recxl_v100",
        "name": "pool",
        "host": {"near_memory": {"part": "recxl_ddr5", **(pool or {})}},
    }
    entry = {"name": "recxl", "platform": machine, "overlap": overlap}
    return simulated(entry, **changes)["recxl"]


def near_bytes(result: PointResult) -> float:
    rows = {row["resource"]: row for row in result.devices}
    return float(rows["near_memory.dram"]["bytes"])


@pytest.mark.parametrize(
    ("alpha", "rows", "shared", "covered"),
    [
        (0.0, 40_876, 0.004, 0.004),
        (0.6, 40_161, 0.024, 0.033),
        (0.9, 29_402, 0.115, 0.339),
        (1.05, 17_374, 0.182, 0.633),
    ],
)
def test_zipf_traces_share_what_is_known_of_them(
    alpha: float, rows: int, shared: float, covered: float
) -> None:
    """One table of 10 million rows, 2048 samples of 20 lookups: unique rows, and shares of them and
    of the lookups that the mini-batch before has; the rest of the lookups may be summed ahead."""
    model = {"tables": 1, "rows_per_table": 10_000_000, "batch_size": 2048}
    _, (_, facts, _) = replayed(BASE, 3, trace={"kind": "zipf", "alpha": alpha}, model=model)
    unique, lookups = facts[UNIQUE].rows, facts[LOOKUP].lookups
    assert unique == pytest.approx(rows, rel=0.01)
    assert facts[SHARED].rows / unique == pytest.approx(shared, rel=0.05, abs=0.001)
    assert facts[AGAIN_LOOKUP].lookups / lookups == pytest.approx(covered, rel=0.06, abs=0.001)
    assert facts[FRESH_LOOKUP].lookups == lookups - facts[AGAIN_LOOKUP].lookups
    assert facts[ALONE].rows == unique - facts[SHARED].rows


def test_every_lookup_is_summed_and_every_row_updated_once() -> None:
    system, (_, facts, _) = replayed(BASE, 3)
    own = words(system, facts)
    pools = [word for word in own if isinstance(word, Pool)]
    assert sum(word.rows.lookups for word in pools) == facts[LOOKUP].lookups
    updates = [word for word in own if isinstance(word, Update)]
    assert [word.name for word in updates] == ["update_shared", "update_rest"]
    assert sum(word.rows.rows for word in updates) == facts[UNIQUE].rows
    assert sum(word.rows.lookups for word in updates) == facts[LOOKUP].lookups
    sizes = {w.name: w.bytes for w in own if isinstance(w, Move)}
    assert sizes["pooled_to_gpu"] == sizes["gradients_to_pool"] == 256 * 4 * ROW


def test_bytes_do_not_depend_on_what_overlaps() -> None:
    """Nor does what gradients ask of the channels: they are handed out once."""
    results = {overlap: ran(overlap) for overlap in ("both", "prefetch", "none")}
    assert near_bytes(results["both"]) == pytest.approx(near_bytes(results["none"]), rel=1e-3)
    assert near_bytes(results["prefetch"]) == pytest.approx(near_bytes(results["none"]), rel=1e-3)


def test_nothing_shared_hides_the_pool_behind_the_mlps() -> None:
    result = ran("both", **UNIFORM)
    times = stage_times(result)
    rows = {row["stage"]: row for row in result.stages}
    pool = times["prepool"] + times["update_rest"]
    assert pool < times["mlp"]
    for stage in ("prepool", "update_rest"):
        assert rows[stage]["exposed_us"] < 0.05 * times["mlp"]
    assert times["gather_reduce"] < 0.25 * stage_times(ran("none", **UNIFORM))["gather_reduce"]
    left = times["gather_reduce"] + times["gradients_to_pool"] + times["update_shared"]
    total = result.metrics["iteration_time_us"]
    assert total == pytest.approx(times["mlp"] + left, rel=0.02)


def test_everything_shared_leaves_nothing_to_hide() -> None:
    """Tables so small that every mini-batch looks all rows up: no lookup is ahead, no row alone."""
    change: dict[str, Any] = {
        "trace": {"kind": "uniform"},
        "model": {"rows_per_table": 50, **LARGE_MLP},
    }
    _, (_, facts, _) = replayed(BASE, 3, **change)
    assert facts[FRESH_LOOKUP].lookups == facts[ALONE].rows == 0
    both, none = (
        ran(overlap, **change).metrics["iteration_time_us"] for overlap in ("both", "none")
    )
    assert both >= 0.85 * none  # ids are still sent and sorted ahead


def test_more_overlap_is_faster() -> None:
    change = {"model": {"rows_per_table": 200_000, "batch_size": 1024, **LARGE_MLP}}
    times = [
        ran(overlap, **change).metrics["iteration_time_us"]
        for overlap in ("none", "prefetch", "both")
    ]
    assert times[0] > times[1] > times[2]


def test_without_overlap_it_is_a_pool_behind_cxl() -> None:
    """FAFNIR's order with single samples, on the same machine."""
    serial = ran("none", UNSHARED_POOL, **UNIFORM)
    machine = {
        "base": "recxl_v100",
        "name": "pool",
        "host": {"near_memory": {"part": "recxl_ddr5", **UNSHARED_POOL}},
    }
    other = simulated({"name": "fafnir", "platform": machine, "hardware_batch": 1}, **UNIFORM)[
        "fafnir"
    ]
    mine, theirs = (r.metrics["iteration_time_us"] for r in (serial, other))
    assert mine == pytest.approx(theirs, rel=1e-3)


UNSHARED_POOL = {"cut": "horizontal"}


@pytest.mark.parametrize("overlap", ["both", "prefetch", "none"])
@pytest.mark.parametrize("tables", [1, 3])
def test_it_trains_like_one_batch_at_a_time(overlap: str, tables: int) -> None:
    outcome = executed("recxl", f"overlap={overlap}", tables=tables)
    assert outcome.tables_equal
    assert outcome.stale == outcome.lost == 0


@pytest.mark.parametrize(
    ("overlap", "stage", "other"),
    [
        ("prefetch", "gather_reduce", "update"),
        ("both", "gather_reduce", "update_shared"),
        ("both", "prepool", "update_rest"),
    ],
)
def test_without_one_of_its_waits_reads_are_stale(
    overlap: str, stage: str, other: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_wait(monkeypatch, "recxl", stage, other)
    parameters = (f"overlap={overlap}",)
    outcome = run_case(HazardCase(system="recxl", parameters=parameters, batches=120, rows=24))
    assert outcome.stale > 0 or not outcome.tables_equal


def test_rows_of_unlike_dim_overlap_too() -> None:
    result = ran("both", model={"dim": [128, 64, 128, 64], "interaction": "cat"})
    assert result.metrics["iteration_time_us"] > 0
