"""Least recently used, per lookup: exact, without a linked list.

`last[id]` is the position of an id's last use and a pointer walks the trace behind the present. A
position whose id was used again later is stale; otherwise its id is the least recent one when the
pointer arrives, and is evicted there if a slot is needed. So an id is resident exactly when its
last use is not behind the pointer. The ids between pointer and present are kept in a ring; when it
is full, the positions that are not stale are written anew, in order, as if used now.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from simulator._compiled import compiled
from simulator.caches.per_lookup.base import COLD, EVICTIONS, HITS, RESIDENT, LookupCache
from simulator.caches.policies.base import PolicySetup

__all__ = ["LookupLRU"]

Int64s = npt.NDArray[np.int64]
Int32s = npt.NDArray[np.int32]

BLOCK = 128
FIRST = 2
"""Position of the first lookup; `last` = 0: never seen, 1: seen, evicted, position forgotten."""
LIMIT = (1 << 31) - (1 << 20)
"""Positions are 32 bits wide, so that `last` takes 4 bytes an id; they start anew beyond this."""


@compiled
def replay_lru(
    last: Int32s,
    ring: Int32s,
    ids: Int64s,
    start: int,
    where: Int64s,
    capacity: int,
    limit: int,
    counts: Int64s,
) -> int:
    """Replay `ids[start:]` until done or the ring is full; returns how far it came.

    `where`: [pointer, present], updated.
    """
    mask = np.uint32(len(ring) - 1)
    pointer = where[0]
    present = where[1]
    hits = 0
    cold = 0
    evictions = 0
    resident = counts[RESIDENT]
    ahead = np.empty(2 * BLOCK, dtype=np.int32)
    while start < len(ids) and present < limit:
        end = min(start + BLOCK, len(ids))
        if present + BLOCK - pointer > len(ring):
            break
        for k in range(start, end):
            ahead[np.uint64(k - start)] = last[np.uint64(ids[k])]
        for k in range(BLOCK):
            behind = ring[np.uint32(pointer + k) & mask]
            ahead[np.uint64(BLOCK + k)] = last[np.uint64(behind)]
        for k in range(start, end):
            row = np.uint64(ids[k])
            before = last[row]
            last[row] = present
            ring[np.uint32(present) & mask] = ids[k]
            present += 1
            if before >= pointer:
                hits += 1
                continue
            cold += before == 0
            if resident < capacity:
                resident += 1
                continue
            evictions += 1
            while last[np.uint64(ring[np.uint32(pointer) & mask])] != pointer:
                pointer += 1
            pointer += 1
        start = end
    where[0] = pointer
    where[1] = present
    counts[HITS] += hits
    counts[COLD] += cold
    counts[EVICTIONS] += evictions
    counts[RESIDENT] = resident
    return start


@compiled
def renew(last: Int32s, ring: Int32s, where: Int64s, from_start: bool) -> None:
    """Write the positions that are not stale anew, from the present on (or from `FIRST` again)."""
    mask = len(ring) - 1
    live = np.empty(len(ring), dtype=np.int32)
    n = 0
    for position in range(where[0], where[1]):
        row = ring[position & mask]
        if last[row] == position:
            live[n] = row
            n += 1
    if from_start:
        for row in range(len(last)):
            last[row] = min(last[row], 1)
        where[1] = FIRST
    where[0] = where[1]
    for k in range(n):
        ring[where[1] & mask] = live[k]
        last[live[k]] = where[1]
        where[1] += 1


class LookupLRU(LookupCache):
    """Least recently used. State: 4 bytes an id, 16 to 32 bytes a slot."""

    def __init__(self, setup: PolicySetup, rows: int) -> None:
        super().__init__(setup, rows)
        self._last = np.zeros(rows, dtype=np.int32)
        slots = min(setup.capacity, rows)
        self._ring = np.zeros(1 << (4 * slots + 2 * BLOCK).bit_length(), dtype=np.int32)
        self._where = np.array([FIRST, FIRST], dtype=np.int64)

    def clear(self) -> None:
        """Forget all rows: what was used before is evicted."""
        self._where[0] = self._where[1]
        self.counts[RESIDENT] = 0

    def run(self, ids: Int64s, next_use: Int64s | None) -> None:
        start = 0
        while start < len(ids):
            start = replay_lru(
                self._last,
                self._ring,
                ids,
                start,
                self._where,
                self.capacity,
                LIMIT,
                self.counts,
            )
            if start < len(ids):
                renew(self._last, self._ring, self._where, int(self._where[1]) >= LIMIT)
