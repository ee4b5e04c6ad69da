"""SIEVE: a first-in-first-out list whose hand passes rows that were hit, and does not move them.

Zhang et al., NSDI 2024. A hit marks its row; the hand goes from the oldest row to the newest,
clears marks as it passes, and evicts the first row without one; past the newest it starts at the
oldest again. It passes held rows without touching their marks.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from simulator._compiled import compiled
from simulator.caches.plan.buckets import Ends, Links, append, empty_ends, empty_links, unlink
from simulator.caches.policies.base import BatchUse, Policy, PolicySetup, Pool
from simulator.errors import InvariantError

__all__ = ["Sieve"]

Int64s = npt.NDArray[np.int64]

MARK = 3
"""Column of `links` that holds the mark (1: hit since the hand passed)."""


@compiled
def pass_hand(
    links: Links,
    ends: Ends,
    hand: int,
    words: Int64s,
    slot_key: npt.NDArray[np.int32],
    horizon: int,
    chosen: Int64s,
) -> tuple[int, int]:
    """Fill `chosen`; returns the new hand (-1: at the oldest) and the number found."""
    got = 0
    rounds = 0
    while got < len(chosen) and rounds < 3:
        if hand < 0:
            hand = ends[0, 0]
            rounds += 1
        if hand < 0:
            break
        slot = hand
        hand = links[slot, 1]
        if words[slot_key[slot]] >> 32 >= horizon:
            continue
        if links[slot, 3] == 1:
            links[slot, 3] = 0
            continue
        unlink(links, ends, slot)
        chosen[got] = slot
        got += 1
    return hand, got


@compiled
def mark_uses(links: Links, ends: Ends, slots: Int64s, missed: Int64s) -> None:
    """Mark hits; append fetched slots without a mark."""
    for k in range(len(slots)):
        links[slots[k], 3] = 1
    for k in range(len(missed)):
        slot = slots[missed[k]]
        append(links, ends, slot, 0)
        links[slot, 3] = 0


class Sieve(Policy):
    """SIEVE."""

    name = "sieve"

    def __init__(self, setup: PolicySetup) -> None:
        self._links = empty_links(setup.capacity)
        self._ends = empty_ends(1)
        self._hand = -1

    def victims(self, pool: Pool, count: int) -> Int64s:
        chosen = np.empty(count, dtype=np.int64)
        self._hand, got = pass_hand(
            self._links,
            self._ends,
            self._hand,
            pool.words,
            pool.slot_key,
            pool.horizon,
            chosen,
        )
        if got < count:
            raise InvariantError(f"sieve: {count} victims needed, only {got} rows not held")
        return chosen

    def used(self, pool: Pool, use: BatchUse) -> None:
        mark_uses(self._links, self._ends, use.slots, use.missed)
