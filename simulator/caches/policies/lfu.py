"""Least frequently used: the victim is the row that the fewest batches have used since its fetch.

Counted are mini-batches (each looks a unique id up once), not lookups within them; a fetch starts
at 1 and an evicted row's count is forgotten. Ties: the least recently used (batch, then first
occurrence in it). Per lookup, the count is of lookups.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from simulator._compiled import compiled, prefetch
from simulator.caches.plan.buckets import (
    AFTER,
    BEFORE,
    BUCKET,
    FIRST,
    LAST,
    Lists,
    append,
    empty_lists,
    unlink,
    with_buckets,
)
from simulator.caches.policies.base import BatchUse, CompiledPolicy, PolicySetup, Pool
from simulator.caches.policies.hold import Hold, take_from

__all__ = ["LFU"]

Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]

_AHEAD = 8
"""Slots between asking for what is known of one and using it."""


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
def count_uses(lists: Lists, slots: Int32s, missed: Int32s) -> int:
    """Move each of `slots` to the list of one use more; returns the largest count.

    First those that are in a list; then those at the positions `missed`, which are in none and
    become the end of the list of count 1.
    """
    links, ends = lists
    cells, width = links.reshape(-1), links.shape[1]
    hits = np.empty(len(slots) - len(missed) + 1, np.int64)
    n = m = 0
    for k in range(len(slots)):
        hits[n] = slots[k]
        hit = int(m == len(missed) or missed[m] != k)
        n += hit
        m += 1 - hit
    most = 1
    for k in range(n):
        if k + 2 * _AHEAD < n:
            prefetch(cells, hits[k + 2 * _AHEAD] * width)
        if k + _AHEAD < n:
            prefetch(cells, links[hits[k + _AHEAD], BEFORE] * width)
            prefetch(cells, links[hits[k + _AHEAD], AFTER] * width)
        count = links[hits[k], BUCKET]
        unlink(links, ends, hits[k])
        append(links, ends, hits[k], count + 1)
        most = max(most, count + 1)
    last = ends[1, LAST]
    for k in range(len(missed)):
        slot = slots[missed[k]]
        links[slot, BEFORE], links[slot, AFTER], links[slot, BUCKET] = last, -1, 1
        if last < 0:
            ends[1, FIRST] = slot
        else:
            links[last, AFTER] = slot
        last = slot
    ends[1, LAST] = last
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
        self._most = max(self._most, count_uses(self._lists, use.slots, use.missed))
