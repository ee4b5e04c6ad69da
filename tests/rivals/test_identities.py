"""Identities and limits between systems: who misses least, what is whose limit, bytes of a row."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rivalry import points, replayed, simulated, stage_times, words

from simulator.caches.facts import BYPASS, HIT, LOOKUP, MISS, UNIQUE, BatchFacts
from simulator.caches.replays import PlannedReplay, Replay, Stream, run_replays
from simulator.caches.replays.associative import FETCHED, AssociativeReplay
from simulator.caches.replays.oracle import OracleReplay
from simulator.caches.replays.windows import WindowReplay
from simulator.config.trace import ZipfTraceConfig
from simulator.engine.points import simulate_points
from simulator.errors import CapacityError
from simulator.hardware.program import Gather, Move, Pool, ZeroCopy
from simulator.traces import Trace, open_trace

BATCHES = 60


def zipf(rows: int = 3000) -> Trace:
    config = ZipfTraceConfig(kind="zipf", alpha=0.9)
    return open_trace(config, rows=(rows, rows), lookups=(2, 1), batch_size=64, seed=3)


def told(*replays: Replay, batches: int = BATCHES) -> list[list[BatchFacts]]:
    done = run_replays(Stream(zipf(), batches), replays, threads=1)
    return [done[replay].facts for replay in replays]


def rows(facts: Sequence[BatchFacts], *names: str) -> int:
    return sum(batch[name].rows for batch in facts for name in names)


def seen() -> int:
    """Distinct rows that the run looks up."""
    trace, found = zipf(), set()
    for number in range(BATCHES):
        for table, ids in enumerate(trace.minibatch(number).ids):
            found |= {(table, row) for row in ids.tolist()}
    return len(found)


def test_belady_misses_least_of_all_with_as_many_slots() -> None:
    """With FBGEMM rows without a slot count, too."""
    slots = 640
    planned = [PlannedReplay((slots,), name, "global") for name in ("belady", "lru", "lfu")]
    least, lru, lfu, sets = told(*planned, AssociativeReplay(slots // 32, 32))
    assert rows(least, MISS) < min(rows(facts, MISS) for facts in (lru, lfu, sets))
    assert rows(sets, MISS) == rows(sets, FETCHED, BYPASS)


def test_with_a_slot_for_every_row_misses_are_cold() -> None:
    """The look-ahead cache, cDLRM with a set a row, Bagpipe that never lets go."""
    planned = PlannedReplay((3000, 3000))
    windows = WindowReplay((3001, 3001), 1, 2)
    oracle = OracleReplay(6000, BATCHES, 1, (64,))
    facts = told(planned, windows, oracle)
    assert [rows(f, name) for f, name in zip(facts, (MISS, FETCHED, MISS), strict=True)] == [
        seen()
    ] * 3
    assert rows(facts[1], BYPASS) == 0


@pytest.mark.parametrize("look_ahead", [3, 8])
def test_bagpipe_fetches_what_beladys_cache_of_its_most_slots_does_or_more(
    look_ahead: int,
) -> None:
    """One trainer against the look-ahead cache with Belady's policy in the slots that the rule
    takes at most: rows of a mini-batch, and those that come again within the look-ahead."""
    trace, uses = zipf(), dict[int, list[int]]()
    for number in range(BATCHES):
        for table, ids in enumerate(trace.minibatch(number).ids):
            for row in np.unique(ids + 3000 * table).tolist():
                uses.setdefault(row, []).append(number)
    held = np.zeros(BATCHES, int)
    for each in uses.values():
        held[each] += 1
        for first, then in pairwise(each):
            if then - first < look_ahead:
                held[first + 1 : then] += 1
    own, belady = told(
        OracleReplay(6000, look_ahead, 1, (64,)),
        PlannedReplay((int(held.max()),), "belady", "global"),
    )
    assert rows(belady, MISS) <= rows(own, MISS) < rows(own, UNIQUE)


def test_cdlrm_of_one_set_and_no_look_ahead_is_the_straw_man_with_random_victims() -> None:
    """A window of one mini-batch; two rows that draw the same way leave one without a slot."""
    slots, batches = 600, 200
    windows, straw_man = told(
        WindowReplay((1, 1), slots, 1),
        PlannedReplay((slots, slots), "random", "table"),
        batches=batches,
    )
    full = slice(batches // 2, None)  # a free way is drawn no sooner than another
    missing = rows(windows[full], FETCHED, BYPASS)
    assert missing == pytest.approx(rows(straw_man[full], MISS), rel=0.05)
    assert 0 < rows(windows[full], BYPASS) < 0.08 * missing


TABLE: dict[str, Any] = {"model": {"tables": 1}, "cache": {"fraction": 0.2}}


def test_recshard_differs_from_a_static_cache_by_who_touches_cold_rows() -> None:
    """One table: the same hot rows; as many cold lookups by the GPU where the other has the CPU."""
    own, (mine,) = replayed("recshard", 1, **TABLE)
    other, (twin,) = replayed("static_cache", 1, **TABLE)
    assert (mine[HIT].lookups, mine[MISS].rows) == (twin[HIT].lookups, twin[MISS].rows)
    cold = mine[LOOKUP].lookups - mine[HIT].lookups
    (pool,) = (w for w in words(own, mine) if isinstance(w, Pool))
    assert (pool.at, pool.elsewhere and pool.elsewhere.rows.lookups) == ("gpu", cold)
    on_cpu = [w for w in words(other, twin) if isinstance(w, Pool) and w.at == "cpu"]
    assert [w.rows.lookups for w in on_cpu] == [cold]


def test_a_static_cache_of_one_row_is_hybrid_and_of_all_rows_has_nothing_on_the_cpu() -> None:
    for size, share in (({"rows": 1, "fraction": None}, 0.0), ({"fraction": 1.0}, 1.0)):
        system, (facts,) = replayed("static_cache", 1, cache=size)
        pools = [w for w in words(system, facts) if isinstance(w, Pool) and w.at == "cpu"]
        on_cpu = sum(w.rows.lookups for w in pools) / facts[LOOKUP].lookups
        assert on_cpu == pytest.approx(1 - share, abs=0.02)


def test_bytes_of_a_fetched_row_by_who_fetches_it() -> None:
    """Collect reads a row, writes it to a staging buffer that the copy reads; zero-copy and the
    accelerator read it where it lies, and stage nothing in DRAM."""
    system, (facts,) = replayed("scratchpipe", 1)
    done = words(system, facts)
    (gather,) = (w for w in done if isinstance(w, Gather) and w.at == "cpu")
    (move,) = (w for w in done if isinstance(w, Move) and w.name == "missed_rows")
    fetched = facts[MISS].rows
    assert gather.rows.rows == fetched > 0
    assert gather.into.bytes == move.bytes == fetched * 512
    assert gather.into.memory == gather.reads.memory == "cpu.dram"
    for name, platform in (("fbgemm_cached", "v100_p3"), ("hotline", "hotline_v100")):
        system, (facts,) = replayed(name, 1, platform=platform)
        done = words(system, facts)
        came = [w for w in done if isinstance(w, ZeroCopy) and w.reads.memory == "cpu.dram"]
        arrived = facts[FETCHED if name == "fbgemm_cached" else MISS].rows
        assert [w.rows.rows for w in came] == [arrived] != [0]
        assert not [w for w in done if isinstance(w, Gather) and w.at == "cpu"]


def test_without_overlap_an_iteration_is_the_sum_of_its_stages() -> None:
    """TorchRec's first pipeline: the cache is filled inside the forward."""
    (result,) = simulated("fbgemm_cached").values()
    times = stage_times(result)
    assert result.metrics["iteration_time_us"] == pytest.approx(sum(times.values()), rel=1e-6)


@pytest.mark.parametrize("gpus", [1, 4])
def test_frequent_rows_gain_nothing_on_one_gpu_or_with_many_lookups(gpus: int) -> None:
    systems = [{"name": name, "gpus": gpus} for name in ("hugectr_hybrid", "gpu_only")]
    results = simulated(*systems, platform="p3_16xlarge")
    mine, other = (results[s["name"]].metrics["iteration_time_us"] for s in systems)  # type: ignore[index]
    assert mine >= 0.999 * other


def test_hot_rows_beat_recency_and_less_where_popularity_moves() -> None:
    """Hotline caches no cold row: fewer misses than LRU in as many slots, less so as hot ones
    move."""
    entries = (
        {"name": "hotline", "platform": "hotline_v100"},
        {"name": "straw_man", "cache": {"policy": "lru", "scope": "global"}},
    )
    moving = {"kind": "drift", "alpha": 1.05, "hot_fraction": 0.01}
    moving |= {"replaced": 1.0, "period_batches": 6}
    ratios = []
    for trace in ({"kind": "zipf", "alpha": 0.9}, moving):
        results = simulated(*entries, trace=trace, cache={"fraction": 0.3})
        mine, lru = (results[name].metrics["misses_per_batch"] for name in ("hotline", "straw_man"))
        ratios.append(mine / lru)
    assert ratios[0] < min(1, ratios[1])


def test_a_cache_below_the_rows_of_a_mini_batch_is_refused_with_both_numbers() -> None:
    """CachedEmbedding fails there, too."""
    (point,) = points("cached_embedding", cache={"fraction": 0.05}, trace={"kind": "uniform"})
    with pytest.raises(CapacityError, match=r"gives 1,000 slots .* holds up to [\d,]+ distinct"):
        simulate_points([point], threads=1)


def test_the_page_of_invariants_names_tests_that_there_are() -> None:
    root = Path(__file__).parents[2]
    named = re.findall(r"`(tests/\S+\.py)::(\w+)`", (root / "docs/invariants.md").read_text())
    assert len(named) > 40
    for file, name in named:
        assert f"def {name}(" in (root / file).read_text(), f"{file}::{name}"
