"""cDLRM's windows and HugeCTR's passes: the rules in plain Python, and the one out of the other."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.caches.facts import BYPASS, HIT, MISS, UNIQUE
from simulator.caches.plan.ordered import sorted_distinct
from simulator.caches.plan.windowed import WindowedCache
from simulator.caches.reference.windowed import ReferenceWindowed
from simulator.caches.replays import Stream, run_replays
from simulator.caches.replays.associative import FETCHED
from simulator.caches.replays.windows import (
    LEAVING,
    READ_AHEAD,
    RESIDENT,
    PassReplay,
    WindowReplay,
)
from simulator.config.trace import UniformTraceConfig, ZipfTraceConfig
from simulator.errors import CapacityError, ConfigError
from simulator.traces import Trace, open_trace

ROWS = 50


@settings(max_examples=150, deadline=None)
@given(
    st.integers(1, 5),
    st.integers(1, 5),
    st.integers(0, 3),
    st.lists(st.sets(st.integers(0, ROWS - 1), min_size=1, max_size=15), max_size=10),
)
def test_it_equals_the_reference(sets: int, ways: int, seed: int, windows: list[set[int]]) -> None:
    cache, reference = WindowedCache(sets, ways, seed), ReferenceWindowed(sets, ways, seed)
    for rows in windows:
        came, left = reference.load(sorted(rows))
        arrived = cache.load(np.array(sorted(rows), np.int64))
        assert dict(zip(arrived.rows.tolist(), arrived.slots.tolist(), strict=True)) == came
        assert sorted(arrived.victims.tolist()) == left
        assert arrived.stayed.tolist() == sorted(rows - set(came))
        held = {slot: row for slot, row in enumerate(cache.tags.tolist()) if row >= 0}
        assert held == reference.held


@settings(max_examples=150, deadline=None)
@given(st.lists(st.one_of(st.integers(0, 3), st.integers(0, 2**40)), max_size=40))
def test_rows_of_a_window_are_ascending_each_once(ids: list[int]) -> None:
    given_ids = np.array(ids, np.int64)
    assert sorted_distinct(given_ids).tolist() == sorted(set(ids))
    assert given_ids.tolist() == ids


def trace(kind: str = "zipf", rows: int = 3000, batch: int = 128) -> Trace:
    config = (
        ZipfTraceConfig(kind="zipf", alpha=0.9)
        if kind == "zipf"
        else UniformTraceConfig(kind="uniform")
    )
    return open_trace(config, rows=(rows, rows), lookups=(2, 1), batch_size=batch, seed=3)


def test_windows_add_up() -> None:
    """Rows of a window are fetched, resident or without a slot; those of its mini-batches hit or
    are read below."""
    replay = WindowReplay((101, 101), 4, 3, keep=range(60))
    facts = run_replays(Stream(trace(), 60), [replay], threads=1)[replay].facts
    resident = 0
    for batch in facts:
        batch.check()
        assert batch[HIT].rows + batch[BYPASS].rows == batch[UNIQUE].rows
        assert batch[MISS].rows == batch[BYPASS].rows
        starts = batch.index % 3 == 0
        assert bool(batch[READ_AHEAD].rows) == starts
        assert batch[FETCHED].rows + batch[RESIDENT].rows == batch[READ_AHEAD].rows
        resident += batch[FETCHED].rows - batch[LEAVING].rows
        assert 0 <= resident <= 2 * 101 * 4
    assert sum(batch[BYPASS].rows for batch in facts) > 0


def test_passes_are_windows_with_ways_enough_and_a_flush() -> None:
    """HugeCTR's embedding training cache = cDLRM with infinite ways and a full flush."""
    rows, length = 400, 4
    stream = Stream(trace(rows=rows, batch=64), 20)
    windows = WindowReplay((rows, rows), 1, length, flush=True)  # a set a row: no two ever meet
    passes = PassReplay(2 * rows, length)
    facts = run_replays(stream, [windows, passes], threads=1)
    for mine, other in zip(facts[passes].facts, facts[windows].facts, strict=True):
        for name in (UNIQUE, HIT, MISS, BYPASS, FETCHED, READ_AHEAD):
            assert (mine[name].lookups, mine[name].rows) == (other[name].lookups, other[name].rows)
        assert mine[BYPASS].rows == 0
    fetched = sum(batch[FETCHED].rows for batch in facts[passes].facts)
    assert fetched == sum(batch[LEAVING].rows for batch in facts[passes].facts)


def test_a_pass_fetches_its_unique_rows() -> None:
    source, replay = trace(), PassReplay(6000, 5)
    facts = run_replays(Stream(source, 10), [replay], threads=1)[replay].facts
    for first in (0, 5):
        batches = [source.minibatch(number) for number in range(first, first + 5)]
        unique = sum(
            len(np.unique(np.concatenate([batch.ids[table] for batch in batches])))
            for table in range(2)
        )
        assert facts[first][FETCHED].rows == facts[first + 4][LEAVING].rows == unique


@pytest.mark.parametrize(
    ("load", "share"), [(0.5, 0.0008), (0.8, 0.031), (1.0, 0.099), (1.5, 0.34)]
)
def test_sets_overflow_as_poisson_says_where_ids_are_random(load: float, share: float) -> None:
    """16 ways; what has no way left once those that draw the same one are counted apart."""
    sets, ways = 4099, 16
    wanted = round(load * sets * ways)
    rows = np.sort(np.random.default_rng(5).permutation(2**24)[:wanted]).astype(np.int64)
    in_set = np.bincount(rows % sets, minlength=sets)
    over = np.maximum(in_set - ways, 0).sum() / wanted
    assert over == pytest.approx(share, rel=0.08, abs=6e-4)
    cache = WindowedCache(sets, ways)
    for _ in range(40):  # rows that drew the same way draw again, those that have one stay
        cache.load(rows)
    left_out = (cache.slots_of(rows) < 0).mean()
    assert left_out == pytest.approx(over, rel=0.02, abs=1e-4)


def test_more_look_ahead_than_mini_batches_is_refused_with_both_numbers() -> None:
    replay = WindowReplay((101, 101), 4, 3000)
    with pytest.raises(ConfigError, match=r"look_ahead of cdlrm reads 3,000 .* the run has 10,"):
        run_replays(Stream(trace(), 10), [replay], threads=1)


def test_a_pass_that_does_not_fit_is_refused_with_both_numbers() -> None:
    replay = PassReplay(100, 5)
    with pytest.raises(CapacityError, match=r"a pass of 5 mini-batches has [\d,]+ distinct rows"):
        run_replays(Stream(trace(), 10), [replay], threads=1)
