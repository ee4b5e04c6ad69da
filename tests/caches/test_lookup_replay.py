"""Replay per lookup: equal to the plain references, to libcachesim, and to closed forms."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.caches.per_lookup.base import lookup_cache, next_positions, replay_lookups
from simulator.caches.policies.base import PolicySetup
from simulator.caches.reference.per_lookup import LOOKUP_REFERENCES
from simulator.errors import TraceError, UsageError
from simulator.traces.reuse import lru_hits

POLICIES = sorted(LOOKUP_REFERENCES)


@st.composite
def traces(draw):
    """(ids, rows, capacity): one row, one slot and more slots than rows are among them."""
    rows = draw(st.integers(1, 30))
    ids = draw(st.lists(st.integers(0, rows - 1), max_size=200))
    return ids, rows, draw(st.integers(1, rows + 3))


def hits_one_by_one(policy, ids, rows, capacity, seed=0, hottest=None):
    """Whether each lookup hits, by feeding a chunk of one id at a time."""
    cache = lookup_cache(policy, PolicySetup(capacity, seed, hottest), rows)
    pieces = [np.array([row], dtype=np.int64) for row in ids]
    futures = next_positions(pieces, rows) if cache.needs_next_use else [None] * len(pieces)
    found, before = [], 0
    for piece, later in zip(pieces, futures, strict=True):
        cache.feed(piece, later)
        found.append(cache.result().hits > before)
        before = cache.result().hits
    return found, cache.result()


@pytest.mark.parametrize("policy", POLICIES)
@settings(max_examples=60, deadline=None)
@given(trace=traces(), seed=st.integers(0, 2**64 - 1), data=st.data())
def test_compiled_replay_hits_where_its_reference_hits(policy, trace, seed, data):
    ids, rows, capacity = trace
    hottest = data.draw(st.permutations(range(rows)))
    found, result = hits_one_by_one(policy, ids, rows, capacity, seed, np.array(hottest))
    expected = LOOKUP_REFERENCES[policy](ids, capacity, seed=seed, hottest=hottest)
    assert found == expected
    assert result.hits + result.misses == result.lookups == len(ids)
    assert result.cold_misses == len(set(ids))
    assert result.resident_rows <= capacity


@pytest.mark.parametrize("policy", POLICIES)
def test_result_does_not_depend_on_how_the_trace_is_cut(policy, zipf_ids):
    rows, capacity = 2000, 150
    options = {"seed": 5, "hottest": np.arange(rows)}
    whole = replay_lookups(policy, [zipf_ids], capacity, rows, **options)
    cuts = np.sort(np.random.default_rng(3).integers(0, len(zipf_ids), 40))
    assert replay_lookups(policy, np.split(zipf_ids, cuts), capacity, rows, **options) == whole


@pytest.mark.parametrize("capacity", [1, 7, 150, 1999, 2000])
def test_lru_equals_the_stack_distance_curve(zipf_ids, capacity):
    curve = lru_hits(zipf_ids)
    hits = replay_lookups("lru", zipf_ids, capacity, 2000).hits
    assert hits == curve[min(capacity, len(curve) - 1)]


def test_lru_renews_its_positions_before_they_overflow(zipf_ids, monkeypatch):
    whole = replay_lookups("lru", zipf_ids, 100, 2000)
    monkeypatch.setattr("simulator.caches.per_lookup.lru.LIMIT", 3000)
    assert replay_lookups("lru", zipf_ids, 100, 2000) == whole


@pytest.mark.parametrize("policy", POLICIES)
def test_infinite_cache_has_cold_misses_only(policy, zipf_ids):
    result = replay_lookups(policy, zipf_ids, 100_000, 2000, hottest=np.arange(2000))
    assert result.misses == result.cold_misses == len(np.unique(zipf_ids))
    assert result.evictions == 0


@pytest.mark.parametrize("capacity", [1, 20, 300])
def test_belady_is_the_bound_of_all_that_cache_every_miss(zipf_ids, capacity):
    best = replay_lookups("belady", zipf_ids, capacity, 2000).hits
    for policy in set(POLICIES) - {"static_hot", "belady_bypass"}:
        assert replay_lookups(policy, zipf_ids, capacity, 2000).hits <= best


def test_ids_outside_of_the_rows_are_refused():
    with pytest.raises(TraceError, match="lookup 2: id 5 outside"):
        replay_lookups("lru", np.array([0, 1, 5]), 2, 5)
    with pytest.raises(TraceError, match="id -1 outside"):
        replay_lookups("fifo", np.array([-1]), 2, 5)


def test_unknown_policy_is_named_with_the_known_ones():
    with pytest.raises(UsageError, match="no policy 'lruu'; known: lru, lfu"):
        replay_lookups("lruu", np.array([0]), 1, 1)


def test_a_policy_without_a_lookup_kernel_is_replayed_by_its_planner(zipf_ids, monkeypatch):
    expected = {p: replay_lookups(p, zipf_ids[:3000], 150, 2000) for p in ("lfu", "belady")}
    monkeypatch.setattr("simulator.caches.per_lookup.base.BUILT_IN", {})
    for policy, result in expected.items():
        assert replay_lookups(policy, zipf_ids[:3000], 150, 2000) == result
