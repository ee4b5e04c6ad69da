"""How caches start, what profiles know, and whether the timed window is stationary."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from simulator.caches.facts import AS_FILLED, MISS, VICTIM, BatchFacts, Flow
from simulator.engine import parse_experiment, simulate
from simulator.engine.start import stationary_metrics
from simulator.errors import ConfigError, TraceError
from simulator.results.record import Result
from simulator.traces.curves import shipped

STARTS = ["cache_start", "cache_start_batches", "profile", "profile_overlap"]
HIGH = {"kind": "locality", "locality": "high"}


def run(
    trace: Any, systems: Any, rows: Any = 20_000, batch_size: int = 256, **changes: Any
) -> Result:
    """Two tables of `rows` rows with 20 lookups, 30 timed mini-batches after 20 others."""
    model = {"base": "default", "tables": 2, "rows_per_table": rows, "batch_size": batch_size}
    experiment = {
        "config_version": 1,
        "platform": "v100_p3",
        "model": model | changes.pop("model", {}),
        "trace": trace,
        "systems": systems,
        "run": {"batches": 30, "warmup_batches": 20} | changes.pop("run", {}),
        "cache": {"fraction": 0.1, "if_too_small": "grow"} | changes.pop("cache", {}),
    }
    return simulate(parse_experiment(experiment | changes))


def rows_of(result: Result, *names: str) -> list[tuple[Any, ...]]:
    return [tuple(point.metrics[name] for name in names) for point in result]


def facts(misses: list[int], victims: list[int] | None = None, filled: int | None = None) -> Any:
    """Mini-batches with these counts."""
    made = []
    for number, missed in enumerate(misses):
        flows = {MISS: (Flow(missed, missed),)}
        if victims is not None:
            flows[VICTIM] = (Flow(0, victims[number]),)
        if filled is not None:
            flows[AS_FILLED] = (Flow(0, filled),)
        made.append(BatchFacts(number, 1, flows))
    return made


# stationary


@pytest.mark.parametrize(
    ("batches", "expected"),
    [
        (facts([100] * 10), True),
        (facts(list(range(100, 120))), False),  # 1 a mini-batch: 17 % over the window
        (facts([100] * 10, [100] * 10), True),
        (facts([100] * 10, [98] * 10), False),  # 2 % into free slots
        (facts([100] * 10, [99] * 10), True),
        (facts([100] * 10, [100] * 10, filled=11), False),  # of 1,000 slots
        (facts([100] * 10, [100] * 10, filled=10), True),
        (facts([100] * 5), None),  # too few to say
        (facts([100] * 5, [100] * 5, filled=0), None),
        (facts([100] * 5, [100] * 5, filled=11), False),
        (facts([0] * 10, [0] * 10), True),
    ],
)
def test_what_is_stationary(batches: list[BatchFacts], expected: bool | None) -> None:
    assert stationary_metrics(batches, slots=1000)["stationary"] is expected


def test_the_numbers_of_a_window_by_hand() -> None:
    """Misses 100, 102, ..., 118: mean 109, change 18 / 109, halves 104 and 114."""
    found = stationary_metrics(facts(list(range(100, 120, 2))), slots=1000)
    assert (found["misses_first_half"], found["misses_second_half"]) == (104.0, 114.0)
    assert found["misses_trend"] == pytest.approx(18 / 109)
    assert found["misses_trend_t"] == 1e6
    assert "rows_as_filled" not in found


def test_nothing_is_said_where_nothing_is_cached() -> None:
    assert stationary_metrics([BatchFacts(0, 1, {})], slots=0) == {}


def test_a_hot_start_is_called_not_stationary_and_a_steady_one_is() -> None:
    """High, 10 %, 20 warm-up mini-batches: the default model with one lookup of 50."""
    entries = [
        {"name": "scratchpipe", "label": start, "cache": {"prefill": start}}
        for start in ("steady", "hot", "empty")
    ]
    steady, hot, empty = run(HIGH, entries, rows=200_000, batch_size=40)
    assert steady.metrics["stationary"] is True
    assert abs(steady.metrics["misses_trend"]) < 0.15
    assert steady.metrics["rows_as_filled"] is None
    assert hot.metrics["rows_as_filled"] > 0.3 * hot.metrics["cache_rows"]
    assert hot.metrics["misses_per_batch"] < 0.85 * steady.metrics["misses_per_batch"]
    assert hot.metrics["stationary"] is False
    assert empty.metrics["stationary"] is False
    assert [p.metrics["cache_start"] for p in (steady, hot, empty)] == ["sampled", "hot", "empty"]


def test_a_hot_start_is_stationary_once_its_rows_are_gone() -> None:
    result = run(HIGH, "scratchpipe", cache={"prefill": "hot"})  # all slots in 3
    assert rows_of(result, "stationary", "rows_as_filled") == [(True, 0)]


def test_policies_without_a_closed_form_say_how_long_they_planned() -> None:
    systems = [
        {"name": "straw_man", "label": policy, "cache": {"policy": policy}}
        for policy in ("lru", "fifo", "static_hot")
    ]
    lru, fifo, static = run(HIGH, systems)
    assert (lru.metrics["cache_start"], lru.metrics["cache_start_batches"]) == ("sampled", 0)
    assert (fifo.metrics["cache_start"], fifo.metrics["stationary"]) == ("planned", True)
    assert fifo.metrics["cache_start_batches"] >= 32
    assert fifo.metrics["profile"] is None
    assert static.metrics["profile"] == "generator"


def test_systems_without_a_cache_say_nothing_of_its_start() -> None:
    result = run(HIGH, ["hybrid", "static_cache"])
    assert rows_of(result, *STARTS, "stationary") == [
        (None, None, None, None, None),
        (None, None, "generator", 0.0, True),
    ]


def test_a_drifting_trace_moves_away_from_a_static_cache() -> None:
    drift = {"kind": "drift", "alpha": 1.2, "hot_fraction": 0.1}
    drift |= {"replaced": 0.4, "period_batches": 10}
    static, scratchpipe = run(drift, ["static_cache", "scratchpipe"], run={"warmup_batches": 0})
    assert static.metrics["stationary"] is False
    assert static.metrics["misses_trend"] > 0.1
    assert scratchpipe.metrics["cache_start"] == "planned"


def test_a_profile_of_a_whole_drifting_trace_is_refused() -> None:
    drift = {"kind": "drift", "alpha": 1.0, "hot_fraction": 0.1}
    drift |= {"replaced": 0.2, "period_batches": 5}
    with pytest.raises(TraceError, match=r"drifting trace has no end.*cache\.profile: prefix"):
        run(drift, "static_cache", cache={"profile": "whole"})
    assert len(run(drift, "hybrid", cache={"profile": "whole"})) == 1


# profiles of files


def flights(profile: Any, share_of_file: float = 0.4) -> Any:
    """Static cache of 10 % of the flight numbers of 2013, over the last part of the year."""
    batches = 163  # of 2,048 flights
    timed = int(share_of_file * batches)
    result = run(
        {"kind": "file", "path": str(shipped("nycflights13_2013.npz")), "columns": ["flight"]},
        ["hybrid", "static_cache"],
        model={"tables": 1, "rows_per_table": 5721, "lookups_per_table": 1, "batch_size": 2048},
        run={"batches": timed, "warmup_batches": 2},
        cache={"profile": profile},
    )
    return result.points[1].metrics


def hits_of(ids: np.ndarray, known: np.ndarray, timed: slice) -> float:
    """Share of `timed` ids on the tenth of the rows that `known` ids name most often."""
    counts = np.bincount(known, minlength=5721)
    hottest = np.argsort(-counts, kind="stable")[:572]
    return float(np.isin(ids[timed], hottest).mean())


def test_a_profile_of_the_first_half_knows_less_than_one_of_the_whole_file() -> None:
    """Flight numbers come and go with the season: 49 % of the hits become 27 %."""
    with np.load(shipped("nycflights13_2013.npz")) as file:
        ids = file["flight"].astype(np.int64)
    half = 81 * 2048
    timed = slice(half, half + 65 * 2048)
    prefix, whole = flights("prefix"), flights("whole")
    assert prefix["lookup_hit_rate"] == pytest.approx(hits_of(ids, ids[:half], timed), abs=1e-12)
    assert whole["lookup_hit_rate"] == pytest.approx(hits_of(ids, ids, timed), abs=1e-12)
    assert whole["lookup_hit_rate"] > prefix["lookup_hit_rate"] + 0.15
    assert (prefix["profile"], prefix["profile_overlap"]) == ("prefix 0.5", 0.0)
    assert (whole["profile"], whole["profile_overlap"]) == ("whole", 1.0)


def test_the_share_of_the_profile_can_be_chosen_and_the_timed_part_comes_after_it() -> None:
    early = flights({"prefix": 0.25})
    assert (early["profile"], early["profile_overlap"]) == ("prefix 0.25", 0.0)
    with np.load(shipped("nycflights13_2013.npz")) as file:
        ids = file["flight"].astype(np.int64)
    quarter = 40 * 2048
    timed = slice(quarter, quarter + 65 * 2048)
    expected = hits_of(ids, ids[:quarter], timed)
    assert early["lookup_hit_rate"] == pytest.approx(expected, abs=1e-12)


def test_a_file_that_is_too_short_for_its_profile_says_so() -> None:
    """130 of 163 mini-batches are timed and 6 behind them drain the pipeline, as late as can be:
    from 27 on; the profile has 81."""
    metrics = flights("prefix", share_of_file=0.8)
    assert metrics["profile_overlap"] == pytest.approx((81 - 27) / 130)


@pytest.mark.parametrize(
    ("profile", "message"),
    [
        ("half", "cache.profile"),
        ({"prefix": 0}, "cache.profile.*prefix"),
        ({"prefix": 1}, "cache.profile.*prefix"),
        ({"share": 0.3}, "cache.profile"),
        (0.3, "cache.profile"),
    ],
)
def test_other_profiles_are_refused(profile: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        run(HIGH, "static_cache", cache={"profile": profile})
    print(caught.value)
