"""FAE: its limits, its time as a sum, hazards executed, refusals."""

from __future__ import annotations

from typing import Any

import pytest
from rivalry import executed, points, replayed, simulated, stage_times, words

from simulator.caches.facts import HIT, LOOKUP, MISS, UNIQUE
from simulator.caches.replays.popular import TO_COLD, TO_HOT
from simulator.engine.points import simulate_points
from simulator.errors import CapacityError, ConfigError
from simulator.hardware.program import Gather, Move, Pool, Scatter, Update

TUNED: dict[str, Any] = {"operators": "tuned", "run": {"batches": 20, "warmup_batches": 10}}
PART: dict[str, Any] = {
    "model": {"rows_per_table": 2000, "lookups_per_table": 2},
    "trace": {"kind": "zipf", "alpha": 1.2},
}
"""Some samples have hot rows alone."""


@pytest.mark.parametrize("operators", ["paper", "tuned", "stock"])
@pytest.mark.parametrize("optimizer", ["sgd", "adagrad"])
def test_without_hot_samples_it_is_hybrid_and_with_none_but_those_gpu_only(
    operators: str, optimizer: str
) -> None:
    """f = 0 and f = 1: equal to the picosecond, and in energy."""
    changes = {**TUNED, "operators": operators, "model": {"optimizer": optimizer}}
    one_row = {"name": "fae", "cache": {"rows": 1}}
    for entry, other, stages in (
        (one_row, "hybrid", {"ids", "switch", "sort_update"}),
        ({"name": "fae", "cache": {"fraction": 1.0}}, "gpu_only", {"switch", "pooled_to_gpu"}),
    ):
        results = simulated(entry, other, **changes)
        mine, baseline = (results[name].metrics for name in ("fae", other))
        for column in ("iteration_time_us", "energy_mj", "link_utilization"):
            assert mine[column] == baseline[column]
        times = stage_times(results["fae"])
        assert not any(times[name] for name in stages)
        assert mine["lookup_hit_rate"] == (0.0 if other == "hybrid" else 1.0)


@pytest.mark.parametrize("batch_size", [96, 256])
@pytest.mark.parametrize("rounds", [1, 5, 10, 20])
def test_its_time_is_the_mean_of_both_and_of_its_switches(batch_size: int, rounds: int) -> None:
    """(1 - f) T_hybrid + f T_gpu_only + switches, f the share of hot mini-batches."""
    model = {**PART["model"], "batch_size": batch_size}
    changes = {**TUNED, "trace": PART["trace"], "model": model, "cache": {"fraction": 0.5}}
    entry = {"name": "fae", "round_batches": rounds}
    results = simulated(entry, "hybrid", "gpu_only", **changes)
    fae, hybrid, gpu = (results[name].metrics for name in ("fae", "hybrid", "gpu_only"))
    f = fae["lookup_hit_rate"]
    assert 0.1 < f < 0.99
    mix = (1 - f) * hybrid["iteration_time_us"] + f * gpu["iteration_time_us"]
    switch = stage_times(results["fae"])["switch"]
    assert fae["iteration_time_us"] - switch == pytest.approx(mix, rel=0.02)


def test_a_switch_moves_the_whole_hot_set_one_way() -> None:
    budget = 1 << 20
    entry = {"name": "fae", "round_batches": 5, "cache": {"bytes": "1 MiB"}}
    system, facts = replayed(entry, 20, **{**PART, "trace": {"kind": "zipf", "alpha": 1.2}})
    kinds = [not batch[MISS].lookups for batch in facts]
    assert not kinds[0]
    switches = 0
    for batch, hot, before in zip(facts[1:], kinds[1:], kinds, strict=False):
        moved = [w for w in words(system, batch) if isinstance(w, Move)]
        sizes = [w.bytes for w in moved if w.name in ("hot_rows", "victim_rows")]
        assert sizes == ([budget] if hot != before else [])
        assert (batch[TO_HOT].rows, batch[TO_COLD].rows) == (
            (budget // 512 if hot and not before else 0),
            (budget // 512 if before and not hot else 0),
        )
        switches += hot != before
    assert switches == 7  # into four hot phases, out of three


@pytest.mark.parametrize("rate", [0.25, 0.5])
def test_a_switch_takes_no_less_than_the_budget_over_the_link(rate: float) -> None:
    entry = {"name": "fae", "round_batches": 5, "cache": {"fraction": rate}}
    (result,) = simulated(entry, **{**TUNED, **PART}).values()
    link = 15.754e9
    switches = 8 / 20  # two a round of five
    floor_us = switches * rate * 4 * 2000 * 512 / link * 1e6
    assert floor_us < stage_times(result)["switch"] < 6 * floor_us + 40


def test_the_cpu_looks_up_what_cold_mini_batches_do() -> None:
    """(1 - f) N for FAE, (1 - h) N for a static cache, and f <= h."""
    system, facts = replayed({"name": "fae", "cache": {"fraction": 0.5}}, 30, **PART)
    for batch in facts:
        on_cpu = sum(
            w.rows.lookups for w in words(system, batch) if isinstance(w, Pool) and w.at == "cpu"
        )
        updated = sum(
            w.rows.rows for w in words(system, batch) if isinstance(w, Update) and w.at == "cpu"
        )
        assert on_cpu in (0, batch[LOOKUP].lookups)
        assert on_cpu == batch[MISS].lookups
        assert updated == batch[MISS].rows
        assert batch[HIT].rows + updated == batch[UNIQUE].rows
    sizes = {"cache": {"fraction": 0.5}}
    results = simulated("fae", "static_cache", **{**TUNED, **PART, **sizes})
    f, h = (results[n].metrics["lookup_hit_rate"] for n in ("fae", "static_cache"))
    assert f <= h


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("tables", "slots"), [(1, 36), (2, 40), (3, 59)])
def test_it_trains_packed_mini_batches_one_at_a_time(seed: int, tables: int, slots: int) -> None:
    outcome = executed("fae", "round_batches=8", seed=seed, tables=tables, slots=slots)
    assert outcome.tables_equal
    assert outcome.stale == outcome.lost == 0
    assert outcome.policy == "static_hot"


@pytest.mark.parametrize("switch", ["to_hot", "to_cold"])
def test_without_a_switch_rows_are_stale(switch: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The copies are needed both ways."""
    from simulator.systems.fae import Fae

    whole = Fae._switched

    def one_way(self: Fae, facts: Any) -> Any:
        return () if facts[switch].rows else whole(self, facts)

    monkeypatch.setattr(Fae, "_switched", one_way)
    outcome = executed.__wrapped__("fae", "round_batches=8", tables=1, slots=50)
    assert outcome.stale > 0
    assert not outcome.tables_equal


def test_rows_of_unlike_dim_share_the_budget() -> None:
    model = {**PART["model"], "dim": [128, 64, 128, 64], "interaction": "cat"}
    changes = {**TUNED, "trace": PART["trace"], "model": model, "cache": {"fraction": 0.5}}
    results = simulated("fae", "hybrid", "gpu_only", **changes)
    assert 0 < results["fae"].metrics["lookup_hit_rate"] < 1
    system, facts = replayed("fae", 20, **changes)
    budget = system.replay.hot.budget  # type: ignore[attr-defined]
    hot = next(batch for batch in facts if batch[TO_HOT].rows)
    moved = sum(w.bytes for w in words(system, hot) if isinstance(w, Move) and "hot" in w.name)
    assert budget - 512 < moved <= budget
    kinds = [type(w) for w in system.stages(hot)[1].operations]
    assert kinds.count(Gather) == kinds.count(Scatter) == 2


def test_a_budget_above_the_memory_is_refused_with_the_arithmetic() -> None:
    model = {"rows_per_table": 30_000_000, "tables": 4}
    for size in ({"fraction": 0.9}, {"bytes": "50 GB", "fraction": None}):
        (point,) = points("fae", model=model, cache=size)
        with pytest.raises(CapacityError, match=r"hot rows of cache\..* holds .*lower cache\."):
            simulate_points([point], threads=1)


def test_more_of_a_round_than_the_run_has_is_refused_with_both_numbers() -> None:
    (point,) = points({"name": "fae", "round_batches": 500})
    with pytest.raises(ConfigError, match="packs 500 mini-batches together, but the run has 18"):
        simulate_points([point], threads=1)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"round_batches": 0}, r"round_batches: is 0: must be at least 1"),
        ({"sample_share": 0}, r"sample_share: is 0: must be greater than 0"),
        ({"sample_share": 1.5}, r"sample_share: is 1.5: must be at most 1"),
        ({"gpus": 2}, "gpus: is not used by fae"),
        ({"cache": {"policy": "lru"}}, "is not used by fae"),
    ],
)
def test_a_key_that_it_cannot_use_is_refused(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        points({"name": "fae", **keys})
