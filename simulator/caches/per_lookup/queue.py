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
from simulator.caches.per_lookup.base import LookupCache
from simulator.caches.policies.base import PolicySetup
from simulator.errors import UsageError

__all__ = ["LookupClock", "LookupFIFO", "LookupRandom", "LookupStaticHot"]

Int64s = npt.NDArray[np.int64]
Int32s = npt.NDArray[np.int32]
Bytes = npt.NDArray[np.uint8]

UNSEEN, GONE, RESIDENT, REUSED = 0, 1, 2, 3
"""State of an id; REUSED: resident and hit since the hand last came by. HOT: to be pinned."""
HOT = 4
BLOCK = 128


@compiled
def replay_fifo(state: Bytes, ring: Int32s, hand: int, ids: Int64s, counts: Int64s) -> int:
    """Replay `ids`; returns the new hand."""
    capacity = len(ring)
    hits = 0
    cold = 0
    resident = counts[3]
    for k in range(len(ids)):
        row = np.uint64(ids[k])
        was = state[row]
        if was == RESIDENT:
            hits += 1
            continue
        cold += was == UNSEEN
        if resident == capacity:
            state[np.uint64(ring[hand])] = GONE
            counts[2] += 1
        else:
            resident += 1
        state[row] = RESIDENT
        ring[hand] = ids[k]
        hand = hand + 1 if hand + 1 < capacity else 0
    counts[0] += hits
    counts[1] += cold
    counts[3] = resident
    return hand


@compiled
def replay_clock(state: Bytes, ring: Int32s, hand: int, ids: Int64s, counts: Int64s) -> int:
    """Replay `ids`; returns the new hand."""
    capacity = len(ring)
    for k in range(len(ids)):
        row = np.uint64(ids[k])
        was = state[row]
        if was >= RESIDENT:
            counts[0] += 1
            state[row] = REUSED
            continue
        counts[1] += was == UNSEEN
        if counts[3] == capacity:
            while state[np.uint64(ring[hand])] == REUSED:
                state[np.uint64(ring[hand])] = RESIDENT
                hand = hand + 1 if hand + 1 < capacity else 0
            state[np.uint64(ring[hand])] = GONE
            counts[2] += 1
        else:
            counts[3] += 1
        state[row] = RESIDENT
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
        was = state[row]
        if was == RESIDENT:
            counts[0] += 1
            continue
        counts[1] += was == UNSEEN
        if counts[3] == capacity:
            slot = draw_below(stream, capacity)
            state[np.uint64(ring[slot])] = GONE
            counts[2] += 1
        else:
            slot = counts[3]
            counts[3] += 1
        state[row] = RESIDENT
        ring[slot] = ids[k]


@compiled
def replay_static_hot(state: Bytes, ids: Int64s, counts: Int64s) -> None:
    """Replay `ids`."""
    for k in range(len(ids)):
        row = np.uint64(ids[k])
        was = state[row]
        counts[0] += was == RESIDENT
        counts[1] += was in (UNSEEN, HOT)
        if was == HOT:
            counts[3] += 1
            state[row] = RESIDENT
        elif was == UNSEEN:
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
