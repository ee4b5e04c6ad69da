"""Planning streams of mini-batches: look-ahead, threads, pools, what a window needs, and errors."""

from importlib.metadata import EntryPoint

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.caches import (
    Policy,
    PoolPlanner,
    StaticSplit,
    Window,
    build_planners,
    plan_batches,
    policy_class,
    policy_names,
    window_need,
)
from simulator.caches.plan import planning
from simulator.caches.plan.hitmap import DenseHitMap
from simulator.caches.plan.look_ahead import WindowTracker
from simulator.caches.plan.planning import together
from simulator.caches.policies.base import GROUP
from simulator.errors import CapacityError, TraceError, UsageError
from simulator.traces.base import MiniBatch

WINDOW = Window(3, 2)
ROWS = (500, 300, 40)


def minibatches(count=40, seed=0, lookups=30):
    rng = np.random.default_rng(seed)
    offsets = np.arange(0, lookups + 1, 3)
    for index in range(count):
        ids = tuple((rows * rng.random(lookups) ** 3).astype(np.int64) for rows in ROWS)
        yield MiniBatch(index, ids, (offsets,) * len(ROWS))


def planners(policy="lru", scope="table", window=WINDOW, **options):
    capacities = [600] if scope == "global" else [200, 160, 40]
    if policy == "static_hot":
        options["hottest"] = [np.arange(n) for n in ([840] if scope == "global" else ROWS)]
    return build_planners(policy, ROWS, capacities, window, scope=scope, **options)


def as_lists(plans):
    return [
        (plan.index, [[np.asarray(getattr(pool, f)).tolist() for f in pool.__slots__]])
        for plan in plans
        for pool in plan.pools
    ]


@pytest.mark.parametrize("scope", ["table", "global"])
@pytest.mark.parametrize("policy", policy_names())
def test_plans_keep_the_invariants(policy, scope):
    batches = list(minibatches())
    plans = list(plan_batches(iter(batches), planners(policy, scope), WINDOW))
    assert [plan.index for plan in plans] == list(range(len(batches)))
    bases = [0] if scope == "table" else [0, 500, 800]
    for number, plan in enumerate(plans):
        for p, pool in enumerate(plan.pools):
            tables = [p] if scope == "table" else range(3)
            pairs = list(zip(tables, bases, strict=True))
            window = batches[max(0, number - 3) : number + 3]
            held = {row + base for b in window for t, base in pairs for row in b.ids[t].tolist()}
            assert not held & set(pool.victim_rows.tolist())
            ids = np.concatenate([batches[number].ids[t] + base for t, base in pairs])
            assert sorted(pool.rows.tolist()) == np.unique(ids).tolist()
            assert pool.unique_hits + len(pool.missed_rows) == len(pool.rows)
            assert len(np.unique(pool.slots)) == len(pool.slots)
            assert set(pool.victim_slots.tolist()) <= set(pool.missed_slots.tolist())
            missed = np.isin(ids, pool.missed_rows)
            assert pool.lookup_hits == len(ids) - missed.sum()
            assert pool.victim_dirty.all()


@pytest.mark.parametrize("policy", policy_names())
def test_any_number_of_threads_gives_the_same_plans(policy):
    plans = [
        as_lists(plan_batches(minibatches(), planners(policy), WINDOW, threads=threads))
        for threads in (1, 2, 5)
    ]
    assert plans[0] == plans[1] == plans[2]


@pytest.mark.parametrize("policy", policy_names())
def test_all_hit_maps_give_the_same_plans(policy):
    plans = [
        as_lists(plan_batches(minibatches(), planners(policy, hit_map=kind), WINDOW))
        for kind in ("dense", "wide", "hash")
    ]
    assert plans[0] == plans[1] == plans[2]


def test_seed_moves_random_victims_and_nothing_else():
    one, again, other = (
        list(plan_batches(minibatches(), planners("random", seed=seed), WINDOW))
        for seed in (1, 1, 2)
    )
    assert as_lists(one) == as_lists(again) != as_lists(other)
    assert [p.pools[0].rows.tolist() for p in one] == [p.pools[0].rows.tolist() for p in other]


@pytest.mark.parametrize("policy", ["lru", "random", "belady", "lfu"])
def test_misses_split_into_cold_capacity_and_held(policy):
    capacities = window_need(minibatches(), ROWS, WINDOW)
    pair = [build_planners(policy, ROWS, capacities, w) for w in (WINDOW, Window(0, 0))]
    alone = build_planners(policy, ROWS, capacities, Window(0, 0))
    plans = plan_batches(minibatches(), pair[0], WINDOW, shadows=pair[1])
    free = plan_batches(minibatches(), alone, Window(0, 0))
    held = 0
    for plan, unheld in zip(plans, free, strict=True):
        for pool, without in zip(plan.pools, unheld.pools, strict=True):
            kept = set(pool.missed_rows.tolist()) - set(without.missed_rows.tolist())
            assert pool.held_misses == len(kept)
            assert pool.capacity_misses >= 0
            held += pool.held_misses
    assert held > 0 or policy in ("lru", "belady")  # what LRU keeps, the past window keeps too


def test_planning_reads_less_than_two_groups_further_ahead_than_the_window():
    group = len(next(together(minibatches(30))))
    read = []

    def watched():
        for batch in minibatches(30):
            read.append(batch.index)
            yield batch

    for plan in plan_batches(watched(), planners(), WINDOW):
        needed = plan.index + WINDOW.future
        assert min(29, needed) <= max(read) < needed + 2 * group


def test_groups_are_bounded_by_their_lookups(monkeypatch):
    batches = list(minibatches(10))
    monkeypatch.setattr(planning, "_LOOKUPS_TOGETHER", 2 * batches[0].lookups)
    groups = list(together(iter(batches)))
    assert [batch for group in groups for batch in group] == batches
    assert len(groups) > 2
    assert all(sum(b.lookups for b in group[:-1]) < 2 * batches[0].lookups for group in groups)


def test_a_second_call_goes_on_where_the_first_stopped():
    batches = list(minibatches(20))
    kept = planners(window=Window(3, 0))
    halves = [*plan_batches(batches[:11], kept, Window(3, 0))]
    halves += plan_batches(batches[11:], kept, Window(3, 0))
    whole = plan_batches(batches, planners(window=Window(3, 0)), Window(3, 0))
    assert as_lists(halves) == as_lists(whole)


def test_empty_trace_plans_nothing():
    assert list(plan_batches([], planners(), WINDOW)) == []
    assert window_need([], ROWS, WINDOW) == (0, 0, 0)


@given(st.integers(0, 3), st.integers(0, 3), st.integers(0, 100))
@settings(max_examples=20, deadline=None)
def test_window_need_is_the_smallest_capacity_that_plans(past, future, seed):
    window = Window(past, future)
    batches = list(minibatches(12, seed))
    need = window_need(batches, ROWS, window)
    spans = [batches[max(0, k - past) : k + future + 1] for k in range(12)]
    distinct = [len({i for b in span for i in b.ids[0].tolist()}) for span in spans]
    assert need[0] == max(distinct)
    list(plan_batches(batches, build_planners("lru", ROWS, need, window), window))
    short = [need[0] - 1, *need[1:]]
    with pytest.raises(CapacityError):
        list(plan_batches(batches, build_planners("lru", ROWS, short, window), window))


@given(
    st.lists(st.lists(st.integers(0, 20), max_size=6), min_size=1, max_size=12),
    st.integers(0, 4),
    st.integers(0, 4),
)
@settings(max_examples=50, deadline=None)
def test_every_window_is_counted_exactly(batches, past, future):
    tracker = WindowTracker(21, Window(past, future), DenseHitMap(21))
    for k, batch in enumerate(batches):
        tracker.load(np.array(batch, dtype=np.int64))
        span = batches[max(0, k - past - future) : k + 1]
        assert tracker.distinct == len({row for other in span for row in other})


def test_a_window_too_large_for_the_cache_is_refused_with_the_numbers():
    planner = PoolPlanner("random", 1000, 5, Window(1, 1))
    planner.load(np.arange(3))
    with pytest.raises(
        CapacityError, match=r"batches 0 to 1 .* 6 distinct rows.* 5 slots"
    ) as caught:
        planner.load(np.arange(3, 6))
    assert "(a fraction of 0.006000)" in str(caught.value)


@pytest.mark.parametrize("capacity", [0, 101])
def test_capacity_must_be_between_one_and_the_rows(capacity):
    with pytest.raises(CapacityError, match="at least 1 and at most 100"):
        PoolPlanner("lru", 100, capacity, WINDOW)


@pytest.mark.parametrize("hit_map", ["dense", "hash"])
@pytest.mark.parametrize("bad", [-1, 100, 2**62, -(2**62)])
def test_ids_outside_of_the_table_are_refused(hit_map, bad):
    planner = PoolPlanner("lru", 100, 50, WINDOW, hit_map=hit_map)
    with pytest.raises(TraceError, match=rf"batch 0, lookup 2: id {bad} outside of 0..99"):
        planner.load(np.array([0, 99, bad, 3]))


def test_preloaded_rows_are_clean_until_trained():
    planner = PoolPlanner("lru", 10, 3, Window(0, 0), preload=np.array([7, 8, 9]))
    planner.load(np.array([7]))
    assert planner.plan().unique_hits == 1
    planner.load(np.array([1, 2]))
    plan = planner.plan()
    assert plan.victim_rows.tolist() == [9, 8]
    assert plan.victim_dirty.tolist() == [False, False]
    planner.load(np.array([3, 9]))
    plan = planner.plan()
    assert plan.victim_rows.tolist() == [7, 1]
    assert plan.victim_dirty.tolist() == [True, True]
    assert plan.cold_misses == 1  # 9 was resident before
    assert sorted(planner.resident().tolist()) == [2, 3, 9]


def test_preloaded_rows_that_were_trained_before_are_written_back():
    planner = PoolPlanner(
        "lru", 10, 3, Window(0, 0), preload=np.array([7, 8, 9]), preload_trained=True
    )
    planner.load(np.array([1, 2]))
    assert planner.plan().victim_dirty.tolist() == [True, True]


def test_preload_is_checked():
    for rows in ([1, 1], [0, 1, 2, 3]):
        with pytest.raises(UsageError, match="distinct and fit 3 slots"):
            PoolPlanner("lru", 10, 3, WINDOW, preload=np.array(rows))
    with pytest.raises(TraceError, match=r"outside of 0\.\.9"):
        PoolPlanner("lru", 10, 3, WINDOW, preload=np.array([10]))


def test_hashed_state_follows_slots_not_rows():
    planner = PoolPlanner("lru", 2**31, 2000, WINDOW, hit_map="hash")
    rng = np.random.default_rng(0)
    for _ in range(300):
        planner.load(rng.integers(0, 2**31, 200))
        if planner.loaded > 2:
            planner.plan()
    assert len(planner._tracker.hit_map.words) < 4 * 2000


def test_policies_that_need_a_profile_say_so():
    with pytest.raises(UsageError, match="needs the hottest rows"):
        PoolPlanner("static_hot", 10, 3, WINDOW)


def test_unknown_names_are_refused():
    with pytest.raises(UsageError, match="no policy 'mru'"):
        PoolPlanner("mru", 10, 3, WINDOW)
    with pytest.raises(UsageError, match="no Hit-Map"):
        PoolPlanner("lru", 10, 3, WINDOW, hit_map="tree")
    with pytest.raises(UsageError, match="no cache scope"):
        build_planners("lru", [10], [3], WINDOW, scope="node")


class MostRecent(Policy):
    """A policy from outside, as the documentation shows it: evicts the row used last."""

    name = "mru"

    def __init__(self, setup):
        self.order = []

    def used(self, pool, use):
        self.order = [s for s in self.order if s not in use.slots] + use.slots.tolist()

    def victims(self, pool, count):
        free = [s for s in reversed(self.order) if not pool.held(np.array([s]))[0]]
        return np.array(free[:count], dtype=np.int64)


def test_a_policy_from_an_entry_point_plans(monkeypatch):
    outside = {"mru": EntryPoint("mru", f"{__name__}:MostRecent", GROUP)}
    monkeypatch.setattr("simulator.caches.policies.base._outside", lambda: outside)
    assert policy_names()[-1] == "mru"
    assert policy_class("mru").name == "mru"
    planner = PoolPlanner("mru", 10, 4, Window(0, 0))
    planner.load(np.array([0, 1, 2, 3]))
    planner.plan()
    planner.load(np.array([4, 3]))
    assert planner.plan().victim_rows.tolist() == [2]


def test_static_split_counts_hits_and_ranks():
    split = StaticSplit(np.array([5, 2]), rows=8)
    batch = split.split(np.array([2, 5, 1, 2, 1, 7]))
    assert batch.hot.tolist() == [True, True, False, True, False, False]
    assert batch.lookup_hits == 3
    assert batch.hot_rows.tolist() == [2, 5]
    assert batch.hot_slots.tolist() == [1, 0]
    assert batch.cold_rows.tolist() == [1, 7]
    assert split.split(np.array([5])).unique_hits == 1
    assert split.split(np.array([], dtype=np.int64)).unique_misses == 0
    with pytest.raises(TraceError, match="lookup 1: id 8 outside"):
        split.split(np.array([0, 8]))
    with pytest.raises(UsageError, match="distinct"):
        StaticSplit(np.array([1, 1]), rows=4)
