"""LRU-K with K = 2, per lookup: the victim is the row whose last use but one lies furthest back.

O'Neil et al., SIGMOD 1993. Rows used once go first, the least recently used first. The time of the
last use is kept for every id ever seen (an unlimited retained information period), so a row that
comes back knows its use before; uses count one by one (no correlated reference period).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from simulator._compiled import compiled
from simulator.caches.per_lookup.base import COLD, EVICTIONS, HITS, RESIDENT, LookupCache
from simulator.caches.policies.base import PolicySetup

__all__ = ["LookupLRUK"]

Int64s = npt.NDArray[np.int64]
Int32s = npt.NDArray[np.int32]

ONCE = 1 << 62
"""Taken from the key of a row that was used once: they come before all others."""


class Heap(NamedTuple):
    """Slots by key, the smallest first; shape (capacity,) each.

    `slots`: int32, the heap; `positions`: int32, where in it each slot is; `keys`: int64, by slot.
    """

    slots: Int32s
    positions: Int32s
    keys: Int64s


@compiled
def sift_down(slots: Int32s, positions: Int32s, keys: Int64s, size: int, at: int) -> None:
    """Restore the order of the heap below position `at`."""
    slot = slots[at]
    while True:
        child = 2 * at + 1
        if child >= size:
            break
        if child + 1 < size and keys[slots[child + 1]] < keys[slots[child]]:
            child += 1
        if keys[slots[child]] >= keys[slot]:
            break
        slots[at] = slots[child]
        positions[slots[at]] = at
        at = child
    slots[at] = slot
    positions[slot] = at


@compiled
def sift_up(slots: Int32s, positions: Int32s, keys: Int64s, at: int) -> None:
    """Restore the order of the heap above position `at`."""
    slot = slots[at]
    while at > 0 and keys[slots[(at - 1) // 2]] > keys[slot]:
        slots[at] = slots[(at - 1) // 2]
        positions[slots[at]] = at
        at = (at - 1) // 2
    slots[at] = slot
    positions[slot] = at


@compiled
def replay_lru2(
    last: Int64s,
    slot_of: Int32s,
    slot_row: Int32s,
    heap: Heap,
    start: int,
    ids: Int64s,
    counts: Int64s,
) -> None:
    """Replay `ids` at times start + 1, ...; `last[id]`: time of the last use, 0: never."""
    slots, positions, keys = heap
    for k in range(len(ids)):
        now = start + k + 1
        row = ids[k]
        before = last[row]
        last[row] = now
        slot = slot_of[row] - 1
        if slot >= 0:
            counts[HITS] += 1
            keys[slot] = before
            sift_down(slots, positions, keys, counts[RESIDENT], positions[slot])
            continue
        counts[COLD] += before == 0
        new_key = before if before > 0 else now - ONCE
        if counts[RESIDENT] < len(slot_row):
            slot = counts[RESIDENT]
            counts[RESIDENT] += 1
            keys[slot] = new_key
            slots[slot] = slot
            sift_up(slots, positions, keys, slot)
        else:
            slot = slots[0]
            slot_of[slot_row[slot]] = 0
            counts[EVICTIONS] += 1
            keys[slot] = new_key
            sift_down(slots, positions, keys, counts[RESIDENT], 0)
        slot_row[slot] = row
        slot_of[row] = slot + 1


class LookupLRUK(LookupCache):
    """LRU-2. State: 12 bytes an id, 20 a slot."""

    def __init__(self, setup: PolicySetup, rows: int) -> None:
        super().__init__(setup, rows)
        self._last = np.zeros(rows, dtype=np.int64)
        self._slot_of = np.zeros(rows, dtype=np.int32)
        slots, positions, self._slot_row = np.zeros((3, setup.capacity), dtype=np.int32)
        self._heap = Heap(slots, positions, np.zeros(setup.capacity, dtype=np.int64))

    def run(self, ids: Int64s, next_use: Int64s | None) -> None:
        replay_lru2(
            self._last,
            self._slot_of,
            self._slot_row,
            self._heap,
            self.lookups,
            ids,
            self.counts,
        )
