"""Stack distances: the compiled kernel equals the plain reference, and LRU follows from them."""

from collections import OrderedDict

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.traces.reuse import (
    lru_hits,
    renumber,
    stack_distances_reference,
    stack_histogram,
)

IDS = st.lists(st.integers(0, 30), min_size=1, max_size=300)


def lru_by_hand(ids, capacity):
    cache, hits = OrderedDict(), 0
    for x in ids:
        hits += x in cache
        cache[x] = None
        cache.move_to_end(x)
        if len(cache) > capacity:
            cache.popitem(last=False)
    return hits


@settings(max_examples=200, deadline=None)
@given(ids=IDS)
def test_histogram_equals_the_reference(ids):
    histogram, cold = stack_histogram(np.array(ids))
    distances = stack_distances_reference(ids)
    assert cold == distances.count(0) == len(set(ids))
    assert histogram.tolist()[1:] == [distances.count(d) for d in range(1, cold + 1)]


@settings(max_examples=50, deadline=None)
@given(ids=IDS, capacity=st.integers(1, 31))
def test_hits_equal_an_lru_cache_run_by_hand(ids, capacity):
    curve = lru_hits(np.array(ids))
    assert curve[min(capacity, len(curve) - 1)] == lru_by_hand(ids, capacity)


def test_long_traces_compact_their_places():
    ids = np.random.default_rng(0).integers(0, 5, 10_000)
    assert stack_histogram(ids)[0].tolist()[1:] == [
        stack_distances_reference(ids.tolist()).count(d) for d in range(1, 6)
    ]


def test_closed_forms():
    cycle = np.tile(np.arange(10), 7)
    assert stack_histogram(cycle)[0].tolist() == [0] * 10 + [60]
    assert lru_hits(np.zeros(5, np.int64)).tolist() == [0, 4]


def test_renumbering_keeps_equality():
    for ids in (np.array([10**12, 3, 10**12, 9]), np.array([4, 2, 4, 0])):
        dense, distinct = renumber(ids)
        assert distinct == 3
        assert sorted(set(dense.tolist())) == [0, 1, 2]
        assert dense[0] == dense[2] != dense[1]
