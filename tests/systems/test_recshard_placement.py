"""RecShard's placement: the budget, the best split, balance, room."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.systems.placement.recshard import Budget, HotTable, place_rows, split_rows
from simulator.traces.coverage import Coverage

tables = st.builds(
    lambda gains, size, read: concave(sorted(gains, reverse=True), size, read),
    st.lists(st.integers(1, 100), min_size=1, max_size=4),
    st.sampled_from([8, 16, 32]),
    st.integers(1, 1000),
)


def concave(gains: list[int], size: int, read: int) -> HotTable:
    """A table whose row k takes `gains[k]` of all lookups, hottest first."""
    share = np.r_[0, np.cumsum(gains)] / sum(gains)
    return HotTable(len(gains), size, read, Coverage(np.arange(len(gains) + 1), share))


def saved(chosen: list[HotTable], hot: tuple[int, ...]) -> float:
    """Bytes of lookups that rows in HBM serve."""
    return sum(t.read_bytes * t.coverage.of(k) for t, k in zip(chosen, hot, strict=True))


@settings(max_examples=150, deadline=None)
@given(st.lists(tables, min_size=1, max_size=4), st.integers(0, 400))
def test_no_split_of_rows_of_one_size_saves_more(chosen: list[HotTable], hot_bytes: int) -> None:
    same = [HotTable(t.rows, 16, t.read_bytes, t.coverage) for t in chosen]
    hot = split_rows(same, hot_bytes, 10**9)
    assert sum(hot) == min(hot_bytes // 16, sum(t.rows for t in same))
    best = max(
        saved(same, other)
        for other in product(*(range(t.rows + 1) for t in same))
        if 16 * sum(other) <= hot_bytes
    )
    assert saved(same, hot) == pytest.approx(best)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(tables, min_size=1, max_size=8),
    st.integers(1, 4),
    st.integers(0, 200),
    st.floats(0, 1),
)
def test_it_keeps_to_what_there_is(
    chosen: list[HotTable], gpus: int, room: int, share: float
) -> None:
    budget = Budget(int(share * room * gpus), gpus, room, 900e9, 16e9)
    placed = place_rows(chosen, budget)
    sizes = [t.entry_bytes * k for t, k in zip(chosen, placed.hot, strict=True)]
    assert sum(sizes) <= budget.hot_bytes
    assert max(sum(sizes[t] for t in own) for own in placed.by_gpu) <= room
    assert sorted(t for own in placed.by_gpu for t in own) == list(range(len(chosen)))
    assert all(0 <= k <= t.rows for t, k in zip(chosen, placed.hot, strict=True))


def test_all_of_it_is_hot_where_it_fits_and_loads_are_even() -> None:
    chosen = [concave([1] * 4, 16, read) for read in (70, 60, 50, 40, 30, 20, 10, 10)]
    placed = place_rows(chosen, Budget(8 * 64, 2, 512, 900e9, 16e9))
    assert placed.hot == (4,) * 8
    loads = [sum(chosen[t].read_bytes for t in own) for own in placed.by_gpu]
    assert max(loads) <= 4 / 3 * sum(loads) / 2
