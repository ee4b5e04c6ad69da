"""SIEVE: a first-in-first-out list whose hand passes rows that were hit, and does not move them.

Zhang et al., NSDI 2024. A hit marks its row; the hand goes from the oldest row to the newest,
clears marks as it passes, and evicts the first row without one; past the newest it starts at the
oldest again. It passes held rows without touching their marks.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from simulator._compiled import compiled
from simulator.caches.plan.buckets import AFTER, FIRST, MARK, Lists, append, empty_lists, unlink
from simulator.caches.policies.base import BatchUse, CompiledPolicy, PolicySetup, Pool
from simulator.caches.policies.hold import Hold

__all__ = ["Sieve"]

Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]


@compiled
def pass_hand(
    lists: Lists,
    hand: int,
    hold: Hold,
    chosen: Int64s,
) -> tuple[int, int]:
    """Fill `chosen`; returns the new hand (-1: at the oldest) and the number chosen."""
    words, slot_key, held_from = hold
    links, ends = lists
    got = 0
    rounds = 0
    while got < len(chosen) and rounds < 3:
        if hand < 0:
            hand = ends[0, FIRST]
            rounds += 1
        if hand < 0:
            break
        slot = hand
        hand = links[slot, AFTER]
        if words[slot_key[slot]] >= held_from:
            continue
        if links[slot, MARK] == 1:
            links[slot, MARK] = 0
            continue
        unlink(links, ends, slot)
        chosen[got] = slot
        got += 1
    return hand, got


@compiled
def mark_uses(lists: Lists, slots: Int32s, missed: Int32s) -> None:
    """Mark hits; append fetched slots without a mark."""
    links, ends = lists
    for k in range(len(slots)):
        links[slots[k], MARK] = 1
    for k in range(len(missed)):
        slot = slots[missed[k]]
        append(links, ends, slot, 0)
        links[slot, MARK] = 0


class Sieve(CompiledPolicy):
    """SIEVE."""

    name = "sieve"

    def __init__(self, setup: PolicySetup) -> None:
        self._lists = empty_lists(setup.capacity, 1)
        self._hand = -1

    def choose(self, pool: Pool, chosen: Int64s) -> int:
        self._hand, got = pass_hand(self._lists, self._hand, pool.hold, chosen)
        return got

    def used(self, pool: Pool, use: BatchUse) -> None:
        mark_uses(self._lists, use.slots, use.missed)
