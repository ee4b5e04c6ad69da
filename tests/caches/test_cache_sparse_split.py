"""The sparse split of huge tables equals the dense one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.caches.plan.distinct import Deduper
from simulator.caches.plan.static_split import SparseStaticSplit, StaticSplit
from simulator.errors import TraceError

ROWS = 20
ids = st.lists(st.integers(0, ROWS - 1), max_size=40)


@given(st.sets(st.integers(0, ROWS - 1)), st.lists(ids, max_size=3), st.randoms())
def test_sparse_equals_dense(hot: set[int], batches: list[list[int]], random: object) -> None:
    hottest = list(hot)
    random.shuffle(hottest)
    dense = StaticSplit(np.array(hottest, np.int64), ROWS)
    sparse = SparseStaticSplit(np.array(hottest, np.int64), ROWS)
    for batch in batches:
        one, other = (split.split(np.array(batch, np.int64)) for split in (dense, sparse))
        assert (one.lookups, one.lookup_hits) == (other.lookups, other.lookup_hits)
        for name in ("hot", "hot_rows", "hot_slots", "cold_rows"):
            assert getattr(one, name).tolist() == getattr(other, name).tolist(), name
        distinct = Deduper(ROWS)(np.array(batch, np.int64))
        assert dense.count(distinct) == (one.lookup_hits, one.unique_hits)
        assert sparse.count(distinct) == (one.lookup_hits, one.unique_hits)


@pytest.mark.parametrize("bad", [-1, ROWS])
def test_an_id_outside_is_named(bad: int) -> None:
    with pytest.raises(TraceError, match=str(bad)):
        SparseStaticSplit(np.array([1]), ROWS).split(np.array([0, bad]))
