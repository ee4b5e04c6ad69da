"""State words of 32 and of 64 bits: the same plans, and a change from one to the other in time."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.caches import PoolPlanner, Window
from simulator.caches.plan import scratchpad
from simulator.caches.plan.hitmap import DenseHitMap
from simulator.caches.plan.words import (
    FIRST_STAMP,
    MAX_CAPACITY,
    WIDE,
    last_stamp,
    narrowest,
    pinned_bit,
    slot_bits,
)
from simulator.caches.policies.base import BUILT_IN
from simulator.errors import UsageError

ROWS, SLOTS = 60, 24
WINDOW = Window(1, 1)


def batches(seed, count=30):
    rng = np.random.default_rng(seed)
    return [(ROWS * rng.random(rng.integers(0, 9)) ** 2).astype(np.int64) for _ in range(count)]


def plans(policy, trace, past=0, **options):
    """Plans after a `past` that is planned without a window, and the planner."""
    hottest = np.arange(SLOTS)
    planner = PoolPlanner(policy, ROWS, SLOTS, Window(0, 0), hottest=hottest, **options)
    told = []
    for ids in trace[:past]:
        planner.load(ids, next_use_of(planner, trace, ids))
        told.append(planner.plan())
    planner.restart(WINDOW)
    for ids in trace[past:]:
        planner.load(ids, next_use_of(planner, trace, ids))
        if planner.waiting > WINDOW.future:
            told.append(planner.plan())
    told += [planner.plan() for _ in range(planner.waiting)]
    return [
        [np.asarray(getattr(plan, f)).tolist() for f in plan.__slots__] for plan in told
    ], planner


def next_use_of(planner, trace, ids):
    """Of each distinct id, where the policy asks for it."""
    if not planner.needs_future:
        return None
    distinct = list(dict.fromkeys(ids.tolist()))
    coming = range(planner.loaded + 1, len(trace))
    never = np.iinfo(np.int64).max
    return np.array([next((n for n in coming if i in trace[n]), never) for i in distinct], np.int64)


@pytest.mark.parametrize("policy", sorted(BUILT_IN))
@given(seed=st.integers(0, 2**32 - 1), past=st.integers(0, 12), shift=st.integers(7, 29))
@settings(max_examples=15, deadline=None)
def test_narrow_words_plan_as_wide_ones_whenever_they_widen(policy, seed, past, shift):
    trace = batches(seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scratchpad, "narrowest", lambda slots: shift)
        narrow, planner = plans(policy, trace, past, hit_map="dense")
    wide, _ = plans(policy, trace, past, hit_map="wide")
    assert narrow == wide
    widens = FIRST_STAMP + len(trace) - 1 > last_stamp(shift)
    assert planner._pool.words.dtype == (np.int64 if widens else np.uint32)


def test_words_are_as_narrow_as_slots_allow_and_stamps_need():
    assert narrowest(1_000_000) == 22
    assert last_stamp(narrowest(1_000_000)) == 1023
    assert narrowest(2**23 - 1) == 25
    assert last_stamp(25) == 127
    assert narrowest(2**23) == narrowest(MAX_CAPACITY) == WIDE
    assert slot_bits(narrowest(2**20 - 1)) == 2**20 - 1
    assert narrowest(2**20) == narrowest(2**20 - 1) + 1
    assert PoolPlanner("lru", 2**23, 2**23 - 1, WINDOW)._pool.words.dtype == np.uint32
    assert PoolPlanner("lru", 2**23, 2**23, WINDOW)._pool.words.dtype == np.int64


def test_the_first_stamp_without_room_widens_and_keeps_what_is_known():
    shift = narrowest(1_000_000)
    hit_map = DenseHitMap(5, shift)
    pinned, missing = pinned_bit(shift), 2 * pinned_bit(shift)
    hit_map.words[:4] = 1_000_000 | 1023 << shift, 7 | pinned, missing | 5 << shift, 1 << shift
    hit_map.reach(1023)
    assert (hit_map.words.dtype, hit_map.shift) == (np.uint32, shift)
    hit_map.reach(1024)
    assert hit_map.shift == WIDE
    pinned, missing = pinned_bit(WIDE), 2 * pinned_bit(WIDE)
    expected = [1_000_000 | 1023 << WIDE, 7 | pinned, missing | 5 << WIDE, 1 << WIDE, 0]
    assert hit_map.words.tolist() == expected


def test_wide_words_never_wrap_either():
    hit_map = DenseHitMap(5)
    hit_map.reach(last_stamp(WIDE))
    with pytest.raises(UsageError, match="2,147,483,648 mini-batches"):
        hit_map.reach(last_stamp(WIDE) + 1)


@pytest.mark.parametrize("hit_map", ["dense", "wide"])
def test_rows_that_keys_of_32_bits_do_not_tell_apart_are_refused(hit_map):
    with pytest.raises(UsageError, match="2,147,483,648 rows: a dense Hit-Map has at most"):
        PoolPlanner("lru", 2**31, 3, WINDOW, hit_map=hit_map)
    planner = PoolPlanner("lru", 2**32 + 10, 3, Window(0, 0), hit_map="hash")
    planner.load(np.array([2**32 + 3, 3, 2**31 + 1]))
    assert planner.plan().rows.tolist() == [2**32 + 3, 3, 2**31 + 1]
