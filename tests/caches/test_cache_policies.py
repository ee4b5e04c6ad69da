"""Each compiled policy plans exactly what its plain reference plans."""

from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from simulator.caches import PoolPlanner, Window
from simulator.caches.reference.per_batch import REFERENCES, reference_plan

FIELDS = ["rows", "slots", "missed_rows", "missed_slots"]
FIELDS += ["victim_rows", "victim_slots", "victim_dirty"]


def plan_all(policy, batches, rows, capacity, window, **options):
    """Plans of `batches` by the compiled planner, as dicts of lists."""
    planner = PoolPlanner(policy, rows, capacity, window, **options)
    future = next_use_arrays(batches) if planner.needs_future else [None] * len(batches)
    plans, ahead = [], 0
    for number in range(len(batches)):
        while ahead < len(batches) and ahead <= number + window.future:
            planner.load(np.array(batches[ahead], dtype=np.int64), future[ahead])
            ahead += 1
        plans.append(planner.plan())
    names = ["lookups", "lookup_hits", "cold_misses", "resident_rows"]
    return [
        {name: getattr(plan, name) for name in names}
        | {name: getattr(plan, name).tolist() for name in FIELDS}
        for plan in plans
    ]


def next_use_arrays(batches):
    from simulator.caches.policies.base import NEVER
    from simulator.caches.reference.per_batch import next_uses

    return [
        np.array([NEVER if n == float("inf") else n for n in found.values()], dtype=np.int64)
        for found in next_uses(batches)
    ]


def need(batches, window):
    """Distinct rows of the fullest window."""
    size = window.batches
    spans = [batches[max(0, end - size) : end] for end in range(1, len(batches) + size)]
    return max(1, max(len({row for batch in span for row in batch}) for span in spans))


@st.composite
def scenes(draw):
    """Jagged batches (some empty) over few rows, a window, and a capacity that can hold it."""
    rows = draw(st.integers(1, 40))
    row = st.integers(0, rows - 1)
    batches = draw(st.lists(st.lists(row, max_size=8), min_size=1, max_size=25))
    window = Window(draw(st.integers(0, 3)), draw(st.integers(0, 3)))
    smallest = need(batches, window)
    capacity = draw(st.integers(smallest, rows))
    hottest = draw(st.permutations(range(rows)))
    preload = hottest[: draw(st.integers(0, capacity))] if draw(st.booleans()) else []
    return batches, rows, capacity, window, hottest, preload


@pytest.mark.parametrize("hit_map", ["dense", "wide", "hash"])
@pytest.mark.parametrize("policy", sorted(REFERENCES))
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(scene=scenes(), seed=st.integers(0, 2**64 - 1))
def test_compiled_policy_plans_what_its_reference_plans(policy, hit_map, scene, seed):
    batches, rows, capacity, window, hottest, preload = scene
    expected = reference_plan(
        policy, batches, capacity, window, seed=seed, hottest=hottest, preload=preload
    )
    found = plan_all(
        policy,
        batches,
        rows,
        capacity,
        window,
        seed=seed,
        hottest=np.array(hottest),
        preload=np.array(preload, dtype=np.int64),
        hit_map=hit_map,
    )
    assert found == [asdict(plan) for plan in expected]


@pytest.mark.parametrize("trained", [False, True])
def test_dirty_victims_are_counted(trained):
    planner = PoolPlanner("lru", 9, 3, Window(0, 0), preload=np.arange(3), preload_trained=trained)
    dirty = []
    for ids in ([0, 4, 5], [6, 0], [7, 8, 1]):
        planner.load(np.array(ids))
        plan = planner.plan()
        assert plan.dirty_victims == plan.victim_dirty.sum()
        dirty.append(plan.dirty_victims)
    assert dirty == ([2, 1, 3] if trained else [0, 1, 3])
