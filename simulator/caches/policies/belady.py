"""Belady (MIN): the victim is the row whose next use lies furthest in the future; the upper bound.

Next use is counted in batches of this pool; rows never used again go first; ties: the least
recently used. It needs the future: two passes over a finite trace (or a generator cut to the run's
batches), see `plan.future`. A preloaded row counts as never used until a batch uses it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from simulator._compiled import compiled
from simulator.caches.plan.buckets import (
    BUCKET,
    FIRST,
    Lists,
    append,
    empty_lists,
    unlink,
    with_buckets,
)
from simulator.caches.policies.base import NEVER, BatchUse, CompiledPolicy, PolicySetup, Pool
from simulator.caches.policies.hold import Hold, take_from

__all__ = ["Belady"]

Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]


@compiled
def take_furthest(lists: Lists, last: int, hold: Hold, chosen: Int64s) -> tuple[int, int]:
    """Fill `chosen` from list 0 (never), then `last`, `last` - 1, ... (next use).

    Returns the number chosen and the last list that is not empty.
    """
    links, ends = lists
    got = 0
    while last > 0 and ends[last, FIRST] < 0:
        last -= 1
    for step in range(last + 1):
        got = take_from(links, ends, 0 if step == 0 else last + 1 - step, hold, chosen, got)
        if got == len(chosen):
            break
    return got, last


@compiled
def note_uses(lists: Lists, slots: Int32s, next_use: Int64s) -> int:
    """Move each of `slots` to the list of its next use; returns the furthest."""
    links, ends = lists
    furthest = 0
    for k in range(len(slots)):
        slot = slots[k]
        batch = 0 if next_use[k] == NEVER else next_use[k]
        if links[slot, BUCKET] >= 0:
            unlink(links, ends, slot)
        append(links, ends, slot, batch)
        furthest = max(furthest, batch)
    return furthest


class Belady(CompiledPolicy):
    """Furthest next use."""

    name = "belady"
    needs_future = True

    def __init__(self, setup: PolicySetup) -> None:
        self._lists = empty_lists(setup.capacity, 64)
        self._last = 0

    def choose(self, pool: Pool, chosen: Int64s) -> int:
        got, self._last = take_furthest(self._lists, self._last, pool.hold, chosen)
        return got

    def used(self, pool: Pool, use: BatchUse) -> None:
        next_use = use.next_use
        if next_use is None:
            next_use = np.full(len(use.keys), NEVER, dtype=np.int64)
        known = next_use[next_use != NEVER]
        if len(known):
            self._lists = with_buckets(self._lists, int(known.max()) + 1)
        furthest = note_uses(self._lists, use.slots, next_use)
        self._last = max(self._last, furthest)
