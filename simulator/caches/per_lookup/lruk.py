"""LRU-K with K = 2, per lookup: the victim is the row whose last use but one lies furthest back.

O'Neil et al., SIGMOD 1993. Rows used once go first, the least recently used first. The time of the
last use is kept for every id ever seen (an unlimited retained information period), so a row that
comes back knows its use before; uses count one by one (no correlated reference period).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from simulator._compiled import compiled
from simulator.caches.per_lookup.base import LookupCache
from simulator.caches.policies.base import PolicySetup

__all__ = ["LookupLRUK"]

Int64s = npt.NDArray[np.int64]
Int32s = npt.NDArray[np.int32]

ONCE = 1 << 62
"""Taken from the key of a row that was used once: they come before all others."""


@compiled
def sift_down(heap: Int32s, place: Int32s, key: Int64s, size: int, at: int) -> None:
    """Restore the order of `heap` (smallest key first) below `at`; `place[slot]` follows."""
    slot = heap[at]
    while True:
        child = 2 * at + 1
        if child >= size:
            break
        if child + 1 < size and key[heap[child + 1]] < key[heap[child]]:
            child += 1
        if key[heap[child]] >= key[slot]:
            break
        heap[at] = heap[child]
        place[heap[at]] = at
        at = child
    heap[at] = slot
    place[slot] = at


@compiled
def sift_up(heap: Int32s, place: Int32s, key: Int64s, at: int) -> None:
    """Restore the order of `heap` above `at`."""
    slot = heap[at]
    while at > 0 and key[heap[(at - 1) // 2]] > key[slot]:
        heap[at] = heap[(at - 1) // 2]
        place[heap[at]] = at
        at = (at - 1) // 2
    heap[at] = slot
    place[slot] = at


@compiled
def replay_lru2(
    last: Int64s,
    slot_of: Int32s,
    slot_row: Int32s,
    heap: Int32s,
    place: Int32s,
    key: Int64s,
    start: int,
    ids: Int64s,
    counts: Int64s,
) -> None:
    """Replay `ids` at times start + 1, ...; `last[id]`: time of the last use, 0: never."""
    for k in range(len(ids)):
        now = start + k + 1
        row = ids[k]
        before = last[row]
        last[row] = now
        slot = slot_of[row] - 1
        if slot >= 0:
            counts[0] += 1
            key[slot] = before
            sift_down(heap, place, key, counts[3], place[slot])
            continue
        counts[1] += before == 0
        new_key = before if before > 0 else now - ONCE
        if counts[3] < len(slot_row):
            slot = counts[3]
            counts[3] += 1
            key[slot] = new_key
            heap[slot] = slot
            sift_up(heap, place, key, slot)
        else:
            slot = heap[0]
            slot_of[slot_row[slot]] = 0
            counts[2] += 1
            key[slot] = new_key
            sift_down(heap, place, key, counts[3], 0)
        slot_row[slot] = row
        slot_of[row] = slot + 1


class LookupLRUK(LookupCache):
    """LRU-2. State: 12 bytes an id, 20 a slot."""

    def __init__(self, setup: PolicySetup, rows: int) -> None:
        super().__init__(setup, rows)
        self._last = np.zeros(rows, dtype=np.int64)
        self._slot_of = np.zeros(rows, dtype=np.int32)
        self._slot_row, self._heap, self._place = (
            np.zeros(setup.capacity, dtype=np.int32) for _ in range(3)
        )
        self._key = np.zeros(setup.capacity, dtype=np.int64)

    def run(self, ids: Int64s, next_use: Int64s | None) -> None:
        replay_lru2(
            self._last,
            self._slot_of,
            self._slot_row,
            self._heap,
            self._place,
            self._key,
            self.lookups,
            ids,
            self.counts,
        )
