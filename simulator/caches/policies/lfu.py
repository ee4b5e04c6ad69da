"""Least frequently used: the victim is the row that the fewest batches have used since its fetch.

Counted are mini-batches (each looks a unique id up once), not lookups within them; a fetch starts
at 1 and an evicted row's count is forgotten. Ties: the least recently used (batch, then first
occurrence in it). Per lookup, the count is of lookups.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from simulator._compiled import compiled
from simulator.caches.plan.buckets import (
    Ends,
    Links,
    append,
    empty_ends,
    empty_links,
    grow_ends,
    unlink,
)
from simulator.caches.policies.base import BatchUse, Policy, PolicySetup, Pool
from simulator.errors import InvariantError

__all__ = ["LFU"]

Int64s = npt.NDArray[np.int64]


@compiled
def take_rarest(
    links: Links,
    ends: Ends,
    most: int,
    words: Int64s,
    slot_key: npt.NDArray[np.int32],
    horizon: int,
    chosen: Int64s,
) -> int:
    """Fill `chosen` from the lists of count 1, 2, ... `most`, oldest first; returns the number."""
    got = 0
    for bucket in range(1, most + 1):
        slot = ends[bucket, 0]
        while slot >= 0 and got < len(chosen):
            after = links[slot, 1]
            if words[slot_key[slot]] >> 32 < horizon:
                unlink(links, ends, slot)
                chosen[got] = slot
                got += 1
            slot = after
        if got == len(chosen):
            break
    return got


@compiled
def count_uses(links: Links, ends: Ends, slots: Int64s) -> int:
    """Move each of `slots` to the list of one use more; returns the largest count."""
    most = 1
    for k in range(len(slots)):
        slot = slots[k]
        count = links[slot, 2]
        if count < 0:
            append(links, ends, slot, 1)
        else:
            unlink(links, ends, slot)
            append(links, ends, slot, count + 1)
            most = max(most, count + 1)
    return most


class LFU(Policy):
    """Least frequently used, ties by least recent use."""

    name = "lfu"

    def __init__(self, setup: PolicySetup) -> None:
        self._links = empty_links(setup.capacity)
        self._ends = empty_ends(64)
        self._most = 1

    def victims(self, pool: Pool, count: int) -> Int64s:
        chosen = np.empty(count, dtype=np.int64)
        got = take_rarest(
            self._links,
            self._ends,
            self._most,
            pool.words,
            pool.slot_key,
            pool.horizon,
            chosen,
        )
        if got < count:
            raise InvariantError(f"lfu: {count} victims needed, only {got} rows not held")
        return chosen

    def used(self, pool: Pool, use: BatchUse) -> None:
        self._ends = grow_ends(self._ends, self._most + 2)
        self._most = max(self._most, count_uses(self._links, self._ends, use.slots))
