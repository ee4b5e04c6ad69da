"""The queue of uses drops what is stale in its place, and evicts as if it had kept everything."""

import numpy as np
import pytest

from simulator.caches import PoolPlanner, Window
from simulator.caches.plan.words import PRELOADED
from simulator.caches.policies.lru import LRU, UseQueue
from simulator.caches.reference.per_batch import reference_plan

ROWS, CAPACITY, BATCHES = 200, 120, 120


def skewed(seed):
    """Batches of 40 lookups at most, that look the same rows up again and again and now and then
    another."""
    random = np.random.default_rng(seed)
    sizes = random.integers(0, 41, BATCHES)
    few = [np.where(random.random(size) < 0.1, ROWS, ROWS // 3) for size in sizes]
    return [random.integers(0, below) for below in few]


@pytest.fixture
def drops(monkeypatch):
    """A ring of 512 entries, as 120 slots need without the room beside; a number for each time
    that it was full."""
    counted = []
    build, drop = UseQueue.__init__, UseQueue._drop_stale

    def small(self, capacity):
        build(self, capacity)
        self._ring = np.zeros(512, np.int32)

    def counting(self, pool):
        drop(self, pool)
        counted.append(self._tail - self._head)

    monkeypatch.setattr(UseQueue, "__init__", small)
    monkeypatch.setattr(UseQueue, "_drop_stale", counting)
    return counted


@pytest.mark.parametrize("hit_map", ["dense", "hash"])
@pytest.mark.parametrize(("seed", "past"), [(0, 0), (1, 1), (2, 0), (3, 1)])
def test_dropping_changes_no_victim(drops, seed, past, hit_map):
    batches, window = skewed(seed), Window(past, 1)
    wanted = reference_plan("lru", [batch.tolist() for batch in batches], CAPACITY, window)
    planner = PoolPlanner("lru", ROWS, CAPACITY, window, hit_map=hit_map)
    planner.load(batches[0])
    for number, plan in enumerate(wanted):
        if number + 1 < BATCHES:
            planner.load(batches[number + 1])
        told = planner.plan()
        assert told.victim_rows.tolist() == plan.victim_rows
        assert told.slots.tolist() == plan.slots
    assert len(drops) >= 2
    assert max(drops) <= CAPACITY


@pytest.mark.parametrize("capacity", [1, 40, 1023, 1 << 20])
def test_a_ring_has_room_for_all_slots_and_a_batch_of_as_many(capacity):
    assert len(UseQueue(capacity)._ring) > 3 * capacity


@pytest.mark.parametrize("hit_map", ["dense", "wide", "hash"])
@pytest.mark.parametrize(("seed", "filled"), [(0, 1), (1, 60), (2, 119), (3, 120)])
def test_slots_that_are_filled_are_chosen_as_their_keys_on_the_ring_were(
    monkeypatch, seed, filled, hit_map
):
    def planner():
        rows = np.random.default_rng(seed).permutation(ROWS)[:filled]
        return PoolPlanner("lru", ROWS, CAPACITY, Window(1, 0), preload=rows, hit_map=hit_map)

    by_slot = planner()
    monkeypatch.setattr(
        LRU, "preload", lambda self, pool, keys: self._uses.append(pool, keys[::-1], PRELOADED)
    )
    on_ring, evicted = planner(), 0
    for batch in skewed(seed):
        by_slot.load(batch)
        on_ring.load(batch)
        told, wanted = by_slot.plan(), on_ring.plan()
        assert told.victim_rows.tolist() == wanted.victim_rows.tolist()
        assert told.slots.tolist() == wanted.slots.tolist()
        evicted += len(told.victim_rows)
    assert evicted > filled
