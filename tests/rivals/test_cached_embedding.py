"""CachedEmbedding is the straw-man under its policy: same facts, same times."""

from __future__ import annotations

import pytest
from rivalry import executed, simulated, stage_times

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
