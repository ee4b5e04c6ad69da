"""FIFO, clock, random and static hot, per lookup: one byte of state an id, no links.

FIFO: a ring of the ids in slots, the oldest is evicted. Clock: the same ring, but an id that was
hit since it was fetched (or passed) gets a second chance. Random: the slot is drawn from the same
stream as in the per-batch policy. Static hot: the `capacity` hottest ids are cached from their
first use on and stay; all others bypass the cache (they miss each time and evict nothing).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from simulator._compiled import compiled
from simulator._mix import draw_below
from simulator.caches.per_lookup.base import COLD, EVICTIONS, HITS, RESIDENT, LookupCache
from simulator.caches.policies.base import PolicySetup
from simulator.errors import UsageError

__all__ = ["LookupClock", "LookupFIFO", "LookupRandom", "LookupStaticHot"]

Int64s = npt.NDArray[np.int64]
Int32s = npt.NDArray[np.int32]
Bytes = npt.NDArray[np.uint8]

UNSEEN, GONE, CACHED, REUSED, HOT = range(5)
"""State of an id. REUSED: cached and hit since the hand last came by; HOT: to be pinned."""


@compiled
def replay_fifo(state: Bytes, ring: Int32s, hand: int, ids: Int64s, counts: Int64s) -> int:
    """Replay `ids`; returns the new hand."""
    capacity = len(ring)
    hits = 0
    cold = 0
    resident = counts[RESIDENT]
    for k in range(len(ids)):
        row = np.uint64(ids[k])
        before = state[row]
        if before == CACHED:
            hits += 1
            continue
        cold += before == UNSEEN
        if resident == capacity:
            state[np.uint64(ring[hand])] = GONE
            counts[EVICTIONS] += 1
        else:
            resident += 1
        state[row] = CACHED
        ring[hand] = ids[k]
        hand = hand + 1 if hand + 1 < capacity else 0
    counts[HITS] += hits
    counts[COLD] += cold
    counts[RESIDENT] = resident
    return hand


@compiled
def replay_clock(state: Bytes, ring: Int32s, hand: int, ids: Int64s, counts: Int64s) -> int:
    """Replay `ids`; returns the new hand."""
    capacity = len(ring)
    for k in range(len(ids)):
        row = np.uint64(ids[k])
        before = state[row]
        if before >= CACHED:
            counts[HITS] += 1
            state[row] = REUSED
            continue
        counts[COLD] += before == UNSEEN
        if counts[RESIDENT] == capacity:
            while state[np.uint64(ring[hand])] == REUSED:
                state[np.uint64(ring[hand])] = CACHED
                hand = hand + 1 if hand + 1 < capacity else 0
            state[np.uint64(ring[hand])] = GONE
            counts[EVICTIONS] += 1
        else:
            counts[RESIDENT] += 1
        state[row] = CACHED
        ring[hand] = ids[k]
        hand = hand + 1 if hand + 1 < capacity else 0
    return hand


@compiled
def replay_random(
    state: Bytes, ring: Int32s, stream: npt.NDArray[np.uint64], ids: Int64s, counts: Int64s
) -> None:
    """Replay `ids`."""
    capacity = len(ring)
    for k in range(len(ids)):
        row = np.uint64(ids[k])
        before = state[row]
        if before == CACHED:
            counts[HITS] += 1
            continue
        counts[COLD] += before == UNSEEN
        if counts[RESIDENT] == capacity:
            slot = draw_below(stream, capacity)
            state[np.uint64(ring[slot])] = GONE
            counts[EVICTIONS] += 1
        else:
            slot = counts[RESIDENT]
            counts[RESIDENT] += 1
        state[row] = CACHED
        ring[slot] = ids[k]


@compiled
def replay_static_hot(state: Bytes, ids: Int64s, counts: Int64s) -> None:
    """Replay `ids`."""
    for k in range(len(ids)):
        row = np.uint64(ids[k])
        before = state[row]
        counts[HITS] += before == CACHED
        counts[COLD] += before in (UNSEEN, HOT)
        if before == HOT:
            counts[RESIDENT] += 1
            state[row] = CACHED
        elif before == UNSEEN:
            state[row] = GONE


class _Ring(LookupCache):
    """A byte an id and a ring of the ids in slots."""

    def __init__(self, setup: PolicySetup, rows: int) -> None:
        super().__init__(setup, rows)
        self.state = np.zeros(rows, dtype=np.uint8)
        self.ring = np.zeros(setup.capacity, dtype=np.int32)
        self.hand = 0


class LookupFIFO(_Ring):
    """First in, first out."""

    def run(self, ids: Int64s, next_use: Int64s | None) -> None:
        self.hand = replay_fifo(self.state, self.ring, self.hand, ids, self.counts)


class LookupClock(_Ring):
    """Second chance."""

    def run(self, ids: Int64s, next_use: Int64s | None) -> None:
        self.hand = replay_clock(self.state, self.ring, self.hand, ids, self.counts)


class LookupRandom(_Ring):
    """A random slot."""

    def __init__(self, setup: PolicySetup, rows: int) -> None:
        super().__init__(setup, rows)
        self._stream = np.array([setup.seed], dtype=np.uint64)

    def run(self, ids: Int64s, next_use: Int64s | None) -> None:
        replay_random(self.state, self.ring, self._stream, ids, self.counts)


class LookupStaticHot(LookupCache):
    """A pinned set; its first load counts as cold misses, everything else bypasses it."""

    def __init__(self, setup: PolicySetup, rows: int) -> None:
        super().__init__(setup, rows)
        if setup.hottest is None:
            raise UsageError("policy static_hot needs the hottest rows")
        self._state = np.zeros(rows, dtype=np.uint8)
        self._state[setup.hottest[: setup.capacity]] = HOT

    def run(self, ids: Int64s, next_use: Int64s | None) -> None:
        replay_static_hot(self._state, ids, self.counts)
