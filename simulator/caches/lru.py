"""Least recently used: the victim is the row whose last use lies furthest back.

Recency is the batch of the last use, then the order of first occurrence in that batch (the first
to occur is the least recent). Exact, without a linked list: every batch appends its keys to a queue
together with its stamp, and an entry whose stamp is no longer the key's newest is passed over.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from simulator._compiled import compiled, prefetch
from simulator.caches.policy import BatchUse, Policy, PolicySetup, Pool
from simulator.caches.words import AHEAD, PRELOADED, SLOT
from simulator.errors import InvariantError

__all__ = ["LRU", "UseQueue"]

Int64s = npt.NDArray[np.int64]

KEY = (1 << 32) - 1


@compiled
def take_oldest(
    ring: Int64s, head: int, tail: int, words: Int64s, horizon: int, chosen: Int64s
) -> tuple[int, int]:
    """Fill `chosen` with the slots of the oldest entries that are still current.

    Returns the new head and how many were found before the first held generation.
    """
    mask = len(ring) - 1
    got = 0
    while got < len(chosen) and head < tail:
        entry = ring[head & mask]
        if entry >> 32 >= horizon:
            break
        prefetch(words, ring[(head + AHEAD) & mask] & KEY)
        word = words[entry & KEY]
        slot = word & SLOT
        chosen[got] = slot - 1
        got += int(slot != 0) & int(word >> 32 == entry >> 32)
        head += 1
    return head, got


@compiled
def append_uses(ring: Int64s, tail: int, keys: Int64s, stamp: int) -> int:
    """Append `keys` with `stamp`; returns the new tail."""
    mask = len(ring) - 1
    for k in range(len(keys)):
        ring[(tail + k) & mask] = (stamp << 32) | keys[k]
    return tail + len(keys)


@compiled
def keep_current(ring: Int64s, head: int, tail: int, words: Int64s, kept: Int64s) -> int:
    """Copy the entries that still count to the front of `kept`; returns how many.

    A key that a later, loaded batch uses again is re-appended when that batch is planned, so an
    entry counts only while its stamp is the newest.
    """
    mask = len(ring) - 1
    n = 0
    for k in range(head, tail):
        entry = ring[k & mask]
        word = words[entry & KEY]
        if word & SLOT != 0 and word >> 32 == entry >> 32:
            kept[n] = entry
            n += 1
    return n


class UseQueue:
    """Keys in order of their uses, with the stamp of each use; stale entries are dropped lazily.

    A ring of int64 (stamp in the high, key in the low 32 bits) of at most eight entries a slot
    (and a batch), however long the trace.
    """

    def __init__(self, capacity: int) -> None:
        self._ring = np.empty(1 << (3 * capacity + 1024).bit_length(), dtype=np.int64)
        self._head = 0
        self._tail = 0

    def append(self, pool: Pool, keys: Int64s, stamp: int) -> None:
        if self._tail - self._head + len(keys) > len(self._ring):
            self._drop_stale(pool, len(keys))
        self._tail = append_uses(self._ring, self._tail, keys, stamp)

    def _drop_stale(self, pool: Pool, room: int) -> None:
        kept = np.empty_like(self._ring)
        self._tail = keep_current(self._ring, self._head, self._tail, pool.words, kept)
        self._head = 0
        size = len(kept)
        while 2 * (self._tail + room) > size:
            size *= 2
        self._ring = np.concatenate([kept, np.empty(size - len(kept), dtype=np.int64)])

    def oldest(self, pool: Pool, count: int) -> Int64s:
        """Up to `count` slots of the least recent keys that are not held, oldest first."""
        chosen = np.empty(count, dtype=np.int64)
        self._head, got = take_oldest(
            self._ring, self._head, self._tail, pool.words, pool.horizon, chosen
        )
        return chosen[:got]


class LRU(Policy):
    """Least recently used; the policy of the ScratchPipe study."""

    name = "lru"

    def __init__(self, setup: PolicySetup) -> None:
        self._uses = UseQueue(setup.capacity)

    def preload(self, pool: Pool, keys: Int64s) -> None:
        self._uses.append(pool, keys[::-1].copy(), PRELOADED)

    def victims(self, pool: Pool, count: int) -> Int64s:
        chosen = self._uses.oldest(pool, count)
        if len(chosen) < count:
            raise InvariantError(f"lru: {count} victims needed, only {len(chosen)} rows not held")
        return chosen

    def used(self, pool: Pool, use: BatchUse) -> None:
        self._uses.append(pool, use.keys, pool.stamp)
