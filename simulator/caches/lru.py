"""Least recently used: the victim is the row whose last use lies furthest back.

Recency is the batch of the last use, then the order of first occurrence in that batch (the first
to occur is the least recent). Exact, without a linked list: every batch appends its keys to a queue
together with its stamp, and an entry whose stamp is no longer the key's newest is passed over.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from simulator._compiled import compiled
from simulator.caches.policy import BatchUse, Policy, PolicySetup, Pool
from simulator.caches.words import PRELOADED, SLOT
from simulator.errors import InvariantError

__all__ = ["LRU", "UseQueue"]

Int64s = npt.NDArray[np.int64]

KEY = (1 << 32) - 1


@compiled
def take_oldest(
    queue: Int64s, head: int, tail: int, words: Int64s, horizon: int, chosen: Int64s
) -> tuple[int, int]:
    """Fill `chosen` with the slots of the oldest entries that are still current.

    Returns the new head and how many were found before the first held generation.
    """
    got = 0
    while got < len(chosen) and head < tail:
        entry = queue[head]
        if entry >> 32 >= horizon:
            break
        word = words[entry & KEY]
        slot = word & SLOT
        head += 1
        if slot != 0 and word >> 32 == entry >> 32:
            chosen[got] = slot - 1
            got += 1
    return head, got


@compiled
def append_uses(queue: Int64s, tail: int, keys: Int64s, stamp: int) -> int:
    """Append `keys` with `stamp`; returns the new tail."""
    for k in range(len(keys)):
        queue[tail + k] = (stamp << 32) | keys[k]
    return tail + len(keys)


@compiled
def keep_current(queue: Int64s, head: int, tail: int, words: Int64s) -> int:
    """Move the entries that still count to the front of `queue`; returns the new tail.

    A key that a later, loaded batch uses again is re-appended when that batch is planned, so an
    entry counts only while its stamp is the newest.
    """
    kept = 0
    for k in range(head, tail):
        entry = queue[k]
        word = words[entry & KEY]
        queue[kept] = entry
        kept += (word & SLOT != 0) and (word >> 32 == entry >> 32)
    return kept


class UseQueue:
    """Keys in order of their uses, with the stamp of each use; stale entries are dropped lazily.

    Memory: at most about four entries a slot, however long the trace.
    """

    def __init__(self, capacity: int) -> None:
        self._queue = np.empty(2 * capacity + 1024, dtype=np.int64)
        self._head = 0
        self._tail = 0

    def append(self, pool: Pool, keys: Int64s, stamp: int) -> None:
        if self._tail + len(keys) > len(self._queue):
            self._tail = keep_current(self._queue, self._head, self._tail, pool.words)
            self._head = 0
            wanted = 2 * (self._tail + len(keys))
            if wanted > len(self._queue):
                self._queue = np.concatenate(
                    [self._queue[: self._tail], np.empty(wanted - self._tail, dtype=np.int64)]
                )
        self._tail = append_uses(self._queue, self._tail, keys, stamp)

    def oldest(self, pool: Pool, count: int) -> Int64s:
        """Up to `count` slots of the least recent keys that are not held, oldest first."""
        chosen = np.empty(count, dtype=np.int64)
        self._head, got = take_oldest(
            self._queue, self._head, self._tail, pool.words, pool.horizon, chosen
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
