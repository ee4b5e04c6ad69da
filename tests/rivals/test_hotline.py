"""Hotline: its limits, its time as a sum, bytes of cold rows, hazards executed, refusals."""

from __future__ import annotations

from typing import Any

import pytest
from rivalry import executed, points, replayed, simulated, stage_times, words

from simulator.caches.facts import HIT, LOOKUP, MISS, UNIQUE
from simulator.engine.hazards import HazardCase, run_case
from simulator.engine.points import simulate_points
from simulator.errors import CapacityError, ConfigError
from simulator.hardware.program import Dense, Pool, Update, ZeroCopy

MACHINE: dict[str, Any] = {"platform": "hotline_v100"}
TUNED: dict[str, Any] = {**MACHINE, "operators": "tuned", "run": {"batches": 12}}
PART: dict[str, Any] = {
    "model": {"rows_per_table": 2000, "lookups_per_table": 2},
    "trace": {"kind": "zipf", "alpha": 1.2},
    "cache": {"fraction": 0.5},
}
"""Some samples have hot rows alone."""
ONE_ROW = {"name": "hotline", "cache": {"rows": 1}}


def device(result: Any, resource: str, column: str) -> float:
    (row,) = (row for row in result.devices if row["resource"] == resource)
    return float(row[column] or 0.0)


@pytest.mark.parametrize("operators", ["paper", "tuned", "stock"])
@pytest.mark.parametrize("next_ids", ["in_turn", "ahead"])
def test_with_every_row_hot_it_is_gpu_only_and_gathers_nothing(
    operators: str, next_ids: str
) -> None:
    software = {"base": operators, "gpu": {"next_ids": next_ids}}
    entry = {"name": "hotline", "cache": {"fraction": 1.0}}
    results = simulated(entry, "gpu_only", **{**TUNED, "operators": software})
    mine, other = (results[name] for name in ("hotline", "gpu_only"))
    times = {name: r.metrics["iteration_time_us"] for name, r in results.items()}
    assert times["hotline"] == pytest.approx(times["gpu_only"], rel=2e-3)
    assert stage_times(mine)["rest"] == 0.0
    assert device(mine, "accelerator.engine", "busy_us") == 0.0
    assert device(mine, "accelerator.logger", "busy_us") > 0.0
    for name in ("pcie.down", "pcie.up", "gpu.hbm"):
        assert device(mine, name, "bytes") == pytest.approx(device(other, name, "bytes"), rel=1e-6)


def test_without_hot_rows_every_distinct_row_comes_and_goes_once() -> None:
    """h = 0 (one row): what `hybrid` reads and writes of DRAM by row crosses the link instead."""
    system, facts = replayed(ONE_ROW, 6, **MACHINE)
    for batch in facts:
        moves = [w for w in words(system, batch) if isinstance(w, ZeroCopy)]
        assert [(w.at, w.reads.memory, w.writes.memory) for w in moves] == [
            ("accelerator", "cpu.dram", "gpu.hbm"),
            ("gpu", "gpu.hbm", "cpu.dram"),
        ]
        assert {w.rows.rows for w in moves} == {batch[MISS].rows}
        assert batch[UNIQUE].rows - 1 <= batch[MISS].rows <= batch[UNIQUE].rows
        assert batch.popular == 0
    (result,) = simulated(ONE_ROW, **TUNED).values()
    misses = result.metrics["misses_per_batch"]
    ids = result.metrics["lookups_per_batch"] * 8
    dram = device(result, "cpu.dram", "bytes")
    assert 2 * misses * 512 < dram < 2 * misses * 512 + 3 * ids  # no staging, no second read


@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.8])
def test_hot_rows_by_lookups_and_cold_rows_add_up(fraction: float) -> None:
    system, facts = replayed("hotline", 4, **{**MACHINE, **PART, "cache": {"fraction": fraction}})
    for batch in facts:
        pools = [w for w in words(system, batch) if isinstance(w, Pool)]
        read = sum(w.rows.lookups for w in pools)
        read += sum(w.elsewhere.rows.lookups for w in pools if w.elsewhere is not None)
        assert read == batch[LOOKUP].lookups
        cold = [w.elsewhere.rows.lookups for w in pools if w.elsewhere is not None]
        assert sum(cold) == batch[MISS].lookups
        updates = [w for w in words(system, batch) if isinstance(w, Update)]
        assert len(updates) == 1  # one update a mini-batch
        assert updates[0].elsewhere is not None
        assert updates[0].rows.rows == batch[HIT].rows
        assert updates[0].elsewhere.rows.rows == batch[MISS].rows
        products = [w.flops for w in words(system, batch) if isinstance(w, Dense)]
        whole = next(w for w in words(*_gpu_only()) if isinstance(w, Dense)).flops
        assert sum(products) == whole


def _gpu_only() -> tuple[Any, Any]:
    system, (facts,) = replayed("gpu_only", 1, model=PART["model"])
    return system, facts


def test_popular_samples_hide_the_gather() -> None:
    """T = max(popular, gather) + rest + update + write-back: T_popular hides what it can."""
    (result,) = simulated("hotline", **{**TUNED, **PART}).values()
    times = stage_times(result)
    serial = sum(times[name] for name in ("ids", "popular", "rest", "update", "write_back"))
    assert result.metrics["iteration_time_us"] == pytest.approx(serial, rel=1e-3)
    assert times["divide"] > 0
    assert result.metrics["popular_samples_per_batch"] > 100
    slower = simulated("hotline", **{**TUNED, **PART, "platform": card(bandwidth="0.1 GB/s")})
    gather = device(slower["hotline"], "accelerator.engine", "busy_us")
    assert gather > times["popular"]  # now the gather is the longer lane
    assert stage_times(slower["hotline"])["popular"] == pytest.approx(gather, rel=0.1)


def card(**changes: Any) -> dict[str, Any]:
    """The server with another accelerator."""
    return {"base": "hotline_v100", "host": {"accelerator": changes}}


def test_without_popular_samples_the_whole_gather_is_exposed() -> None:
    (result,) = simulated(ONE_ROW, **TUNED).values()
    (popular,) = (row for row in result.stages if row["stage"] == "popular")
    assert popular["exposed_us"] == pytest.approx(popular["busy_us"])
    rows = result.metrics["misses_per_batch"] * 512
    assert popular["busy_us"] >= rows / 12.9e9 * 1e6


@pytest.mark.parametrize("key", ["lookup_rate", "bandwidth"])
def test_a_faster_accelerator_is_never_slower(key: str) -> None:
    values = {"lookup_rate": (1e8, 1e10), "bandwidth": ("1 GB/s", "30 GB/s")}[key]
    slow, fast = (
        simulated("hotline", **{**TUNED, **PART, "platform": card(**{key: value})})["hotline"]
        for value in values
    )
    assert fast.metrics["iteration_time_us"] <= slow.metrics["iteration_time_us"]


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(("tables", "slots"), [(1, 36), (2, 20), (3, 58)])
def test_it_trains_like_one_batch_at_a_time(seed: int, tables: int, slots: int) -> None:
    outcome = executed("hotline", seed=seed, tables=tables, slots=slots)
    assert outcome.tables_equal
    assert outcome.stale == outcome.lost == 0


def test_hazards_take_a_machine_that_the_system_runs_on() -> None:
    assert executed("hotline").as_dict()["platform"] == "hotline_v100"
    assert executed("hybrid").as_dict()["platform"] == "v100_p3"
    with pytest.raises(ConfigError, match="hotline needs an accelerator, but v100_p3 has none"):
        run_case(HazardCase(system="hotline", platform="v100_p3"))


def test_rows_of_unlike_dim_share_the_budget() -> None:
    model = {**PART["model"], "dim": [128, 64, 128, 64], "interaction": "cat"}
    (result,) = simulated("hotline", **{**TUNED, **PART, "model": model}).values()
    assert 0 < result.metrics["popular_samples_per_batch"] < 256
    assert executed("hotline", tables=2).tables_equal


def test_a_machine_without_the_card_and_a_budget_above_hbm_are_refused() -> None:
    (point,) = points("hotline")
    with pytest.raises(ConfigError, match="hotline needs an accelerator, but v100_p3 has none"):
        simulate_points([point], threads=1)
    model = {"rows_per_table": 30_000_000, "tables": 4}
    (point,) = points("hotline", model=model, cache={"fraction": 0.9}, **MACHINE)
    with pytest.raises(CapacityError, match=r"hot rows of cache.fraction 0.9 .*lower cache\."):
        simulate_points([point], threads=1)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"sample_share": 0}, "sample_share: is 0: must be greater than 0"),
        ({"gpus": 2}, "gpus: is not used by hotline|gpus: is 2"),
        ({"pipeline": {"mode": "async"}}, "is not used by hotline"),
    ],
)
def test_a_key_that_it_cannot_use_is_refused(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        points({"name": "hotline", **keys}, **MACHINE)
