"""Least frequently used: the victim is the row that the fewest batches have used since its fetch.

Counted are mini-batches (each looks a unique id up once), not lookups within them; a fetch starts
at 1 and an evicted row's count is forgotten. Ties: the least recently used (batch, then first
occurrence in it). Per lookup, the count is of lookups.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from simulator._compiled import compiled
from simulator.caches.plan.buckets import BUCKET, Lists, append, empty_lists, unlink, with_buckets
from simulator.caches.policies.base import BatchUse, CompiledPolicy, PolicySetup, Pool
from simulator.caches.policies.hold import Hold, take_from

__all__ = ["LFU"]

Int64s = npt.NDArray[np.int64]


@compiled
def take_rarest(lists: Lists, most: int, hold: Hold, chosen: Int64s) -> int:
    """Fill `chosen` from the lists of count 1, 2, ... `most`, oldest first; returns the number."""
    links, ends = lists
    got = 0
    for count in range(1, most + 1):
        got = take_from(links, ends, count, hold, chosen, got)
        if got == len(chosen):
            break
    return got


@compiled
def count_uses(lists: Lists, slots: Int64s) -> int:
    """Move each of `slots` to the list of one use more; returns the largest count."""
    links, ends = lists
    most = 1
    for k in range(len(slots)):
        slot = slots[k]
        count = links[slot, BUCKET]
        if count < 0:
            append(links, ends, slot, 1)
        else:
            unlink(links, ends, slot)
            append(links, ends, slot, count + 1)
            most = max(most, count + 1)
    return most


class LFU(CompiledPolicy):
    """Least frequently used, ties by least recent use."""

    name = "lfu"

    def __init__(self, setup: PolicySetup) -> None:
        self._lists = empty_lists(setup.capacity, 64)
        self._most = 1

    def choose(self, pool: Pool, chosen: Int64s) -> int:
        return take_rarest(self._lists, self._most, pool.hold, chosen)

    def used(self, pool: Pool, use: BatchUse) -> None:
        self._lists = with_buckets(self._lists, self._most + 2)
        self._most = max(self._most, count_uses(self._lists, use.slots))
