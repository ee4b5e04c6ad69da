"""Least frequently used, per lookup: lists of slots by use count, each in order of last use."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from simulator._compiled import compiled, prefetch
from simulator.caches.per_lookup.base import COLD, EVICTIONS, HITS, RESIDENT, LookupCache
from simulator.caches.plan.buckets import (
    AFTER,
    BEFORE,
    BUCKET,
    FIRST,
    Lists,
    append,
    empty_lists,
    unlink,
    with_buckets,
)
from simulator.caches.policies.base import PolicySetup

__all__ = ["LookupLFU"]

Int64s = npt.NDArray[np.int64]
Int32s = npt.NDArray[np.int32]

ROW_AHEAD, LINKS_AHEAD, NEIGHBOURS_AHEAD = 48, 24, 12
"""Lookups ahead of their turn at which the slot of an id, that slot's links, and the links of its
neighbours in the list are asked for: each needs what the one before it brings."""

GONE = -1
"""In place of slot + 1: seen before, not resident. 0: never seen."""


@compiled
def replay_lfu(
    slot_of: Int32s,
    slot_row: Int32s,
    lists: Lists,
    ids: Int64s,
    start: int,
    most: int,
    counts: Int64s,
) -> tuple[int, int]:
    """Replay `ids[start:]` until done or the lists are too few; returns (how far, most uses)."""
    links, ends = lists
    capacity = len(slot_row)
    flat = links.reshape(-1)
    last = len(ids) - 1
    k = start
    while k < len(ids) and most + 2 < len(ends):
        prefetch(slot_of, ids[min(k + ROW_AHEAD, last)])
        prefetch(flat, 4 * (slot_of[ids[min(k + LINKS_AHEAD, last)]] - 1))
        near = slot_of[ids[min(k + NEIGHBOURS_AHEAD, last)]] - 1
        if near >= 0:
            prefetch(flat, 4 * links[near, BEFORE])
            prefetch(flat, 4 * links[near, AFTER])
        row = ids[k]
        k += 1
        slot = slot_of[row] - 1
        if slot >= 0:
            counts[HITS] += 1
            uses = links[slot, BUCKET]
            unlink(links, ends, slot)
            append(links, ends, slot, uses + 1)
            most = max(most, uses + 1)
            continue
        counts[COLD] += slot == -1
        if counts[RESIDENT] < capacity:
            slot = counts[RESIDENT]
            counts[RESIDENT] += 1
        else:
            rarest = 1
            while ends[rarest, FIRST] < 0:
                rarest += 1
            slot = ends[rarest, FIRST]
            unlink(links, ends, slot)
            slot_of[slot_row[slot]] = GONE
            counts[EVICTIONS] += 1
        slot_row[slot] = row
        slot_of[row] = slot + 1
        append(links, ends, slot, 1)
    return k, most


class LookupLFU(LookupCache):
    """Least frequently used since its fetch, ties by least recent use.

    State: 4 bytes an id, 20 a slot, 8 a use count up to the largest.
    """

    def __init__(self, setup: PolicySetup, rows: int) -> None:
        super().__init__(setup, rows)
        self._slot_of = np.zeros(rows, dtype=np.int32)
        self._slot_row = np.zeros(setup.capacity, dtype=np.int32)
        self._lists = empty_lists(setup.capacity, 1 << 12)
        self._most = 1

    def run(self, ids: Int64s, next_use: Int64s | None) -> None:
        done = 0
        while done < len(ids):
            done, self._most = replay_lfu(
                self._slot_of,
                self._slot_row,
                self._lists,
                ids,
                done,
                self._most,
                self.counts,
            )
            if done < len(ids):
                self._lists = with_buckets(self._lists, len(self._lists.ends) + 1)
