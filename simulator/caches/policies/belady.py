"""Belady (MIN): the victim is the row whose next use lies furthest in the future; the upper bound.

Next use is counted in batches of this pool; rows never used again go first; ties: the least
recently used. It needs the future: two passes over a finite trace (or a generator cut to the run's
batches), see `future.next_uses`. A preloaded row counts as never used until a batch uses it.
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
from simulator.caches.policies.base import NEVER, BatchUse, Policy, PolicySetup, Pool
from simulator.errors import InvariantError

__all__ = ["Belady"]

Int64s = npt.NDArray[np.int64]


@compiled
def take_furthest(
    links: Links,
    ends: Ends,
    last: int,
    words: Int64s,
    slot_key: npt.NDArray[np.int32],
    horizon: int,
    chosen: Int64s,
) -> tuple[int, int]:
    """Fill `chosen` from bucket 0 (never), then `last`, `last` - 1, ... (next use).

    Returns the number found and the last bucket that is not empty.
    """
    got = 0
    while last > 0 and ends[last, 0] < 0:
        last -= 1
    for step in range(last + 1):
        slot = ends[0 if step == 0 else last + 1 - step, 0]
        while slot >= 0 and got < len(chosen):
            after = links[slot, 1]
            if words[slot_key[slot]] >> 32 < horizon:
                unlink(links, ends, slot)
                chosen[got] = slot
                got += 1
            slot = after
        if got == len(chosen):
            break
    return got, last


@compiled
def note_uses(links: Links, ends: Ends, slots: Int64s, next_use: Int64s) -> int:
    """Move each of `slots` to the bucket of its next use; returns the furthest."""
    furthest = 0
    for k in range(len(slots)):
        slot = slots[k]
        bucket = 0 if next_use[k] == NEVER else next_use[k]
        if links[slot, 2] >= 0:
            unlink(links, ends, slot)
        append(links, ends, slot, bucket)
        furthest = max(furthest, bucket)
    return furthest


class Belady(Policy):
    """Furthest next use."""

    name = "belady"
    needs_future = True

    def __init__(self, setup: PolicySetup) -> None:
        self._links = empty_links(setup.capacity)
        self._ends = empty_ends(64)
        self._last = 0

    def victims(self, pool: Pool, count: int) -> Int64s:
        chosen = np.empty(count, dtype=np.int64)
        got, self._last = take_furthest(
            self._links,
            self._ends,
            self._last,
            pool.words,
            pool.slot_key,
            pool.horizon,
            chosen,
        )
        if got < count:
            raise InvariantError(f"belady: {count} victims needed, only {got} rows not held")
        return chosen

    def used(self, pool: Pool, use: BatchUse) -> None:
        next_use = use.next_use
        if next_use is None:
            next_use = np.full(len(use.keys), NEVER, dtype=np.int64)
        known = next_use[next_use != NEVER]
        if len(known):
            self._ends = grow_ends(self._ends, int(known.max()) + 1)
        furthest = note_uses(self._links, self._ends, use.slots, next_use)
        self._last = max(self._last, furthest)
