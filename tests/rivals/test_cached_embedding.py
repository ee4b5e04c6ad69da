"""CachedEmbedding is the straw-man under its policy: same facts, same times."""

from __future__ import annotations

import pytest
from rivalry import executed, points, replayed, simulated, stage_times

from simulator.caches.facts import HIT, MISS, VICTIM
from simulator.engine.points import simulate_points
from simulator.engine.prepare import open_for
from simulator.errors import ConfigError

PAIRS = {"lfu": "lfu", "dataset": "static_hot"}
COUNTS = ("misses_per_batch", "victims_per_batch", "dirty_victims_per_batch", "unique_hit_rate")


@pytest.mark.parametrize("strategy", PAIRS)
def test_it_equals_the_straw_man_with_its_policy(strategy: str) -> None:
    rival = {"name": "cached_embedding", "evict_strategy": strategy}
    straw_man = {"name": "straw_man", "cache": {"policy": PAIRS[strategy]}}
    results = simulated(rival, straw_man, cache={"fraction": 0.4})
    mine, other = results["cached_embedding"], results["straw_man"]
    assert stage_times(mine) == stage_times(other)
    for column in (*COUNTS, "iteration_time_us", "energy_mj", "policy"):
        assert mine.metrics[column] == other.metrics[column], column


def test_every_victim_is_written_back() -> None:
    metrics = simulated("cached_embedding", cache={"fraction": 0.4})["cached_embedding"].metrics
    assert metrics["victims_per_batch"] == metrics["dirty_victims_per_batch"] > 0


@pytest.mark.parametrize("strategy", PAIRS)
def test_it_trains_like_one_batch_at_a_time(strategy: str) -> None:
    outcome = executed("cached_embedding", f"evict_strategy={strategy}")
    assert outcome.tables_equal
    assert outcome.stale == outcome.lost == 0


@pytest.mark.parametrize("strategy", PAIRS)
def test_its_warm_up_fills_seven_tenths_of_the_slots_with_the_hottest_rows(strategy: str) -> None:
    """5,600 of 8,000 a table: nothing is evicted until misses have filled the others."""
    entry = {"name": "cached_embedding", "evict_strategy": strategy}
    hot = {"cache": {"fraction": 0.4, "prefill": "hot"}}
    system, facts = replayed(entry, 12, **hot)
    (point,) = points(entry, **hot)
    trace = open_for(point, 1)
    resident = system.replay.resident(trace)
    held = resident.reshape(4, 8000)
    assert ((held >= 0).sum(axis=1) == 5600).all()
    for table, rows in enumerate(held):
        hottest = trace.hottest(table, 5600) + 20_000 * table
        assert set(rows[rows >= 0].tolist()) == set(hottest.tolist())
    free, evicted = 4 * 2400, 0
    for batch in facts:
        free -= batch[MISS].rows - batch[VICTIM].rows
        evicted += batch[VICTIM].rows
    assert 0 <= free < 1200
    assert evicted > 0
    (whole,) = replayed({**entry, "warmup": 1}, 1, **hot)[1]
    assert whole[VICTIM].rows == whole[MISS].rows
    assert facts[0][VICTIM].rows == 0
    assert facts[0][HIT].rows < whole[HIT].rows


def test_a_warm_up_of_all_slots_is_the_straw_man_that_starts_hot() -> None:
    hot = {"cache": {"fraction": 0.4, "prefill": "hot"}}
    rival = {"name": "cached_embedding", "warmup": 1.0}
    straw_man = {"name": "straw_man", "cache": {"policy": "lfu"}}
    mine, other = simulated(rival, straw_man, **hot).values()
    assert stage_times(mine) == stage_times(other)


def test_a_warm_up_that_would_do_nothing_is_refused() -> None:
    (point,) = points({"name": "cached_embedding", "warmup": 0.5})
    with pytest.raises(ConfigError, match=r"do nothing with cache.prefill steady; set cache\.pref"):
        simulate_points([point], threads=1)
    with pytest.raises(ConfigError, match=r"warmup: is 1.5: must be at most 1"):
        points({"name": "cached_embedding", "warmup": 1.5})
