"""Which slots the window protects, for kernels that choose victims."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from simulator._compiled import compiled, prefetch
from simulator.caches.plan.buckets import AFTER, BUCKET, FIRST, join
from simulator.caches.plan.words import Words

__all__ = ["Hold", "take_from"]

_AHEAD = 16
"""Slots of a list that a scout is ahead of its use: their words are far apart in memory."""

Int64s = npt.NDArray[np.int64]
Int32s = npt.NDArray[np.int32]


class Hold(NamedTuple):
    """Slot *s* is held unless `words[slot_key[s]] < held_from`: its key's stamp is older.

    `words`: state words by key (see `plan.words`), in which the stamp has the highest bits;
    `slot_key`: int32, shape (capacity,). Kernels unpack it and write the comparison out: a call for
    each slot would cost more than it.
    """

    words: Words
    slot_key: Int32s
    held_from: int
    """The word of the oldest stamp that is held, with nothing beside it."""


@compiled
def take_from(
    links: Int32s, ends: Int32s, bucket: int, hold: Hold, chosen: Int64s, got: int
) -> int:
    """Fill `chosen[got:]` from the front of list `bucket` with slots that are not held.

    They leave the list. Returns the number chosen in all.
    """
    words, slot_key, held_from = hold
    slot = scout = ends[bucket, FIRST]
    kept = -1  # the last slot before `slot` that stays
    ahead = 0
    while slot >= 0 and got < len(chosen):
        while scout >= 0 and ahead < _AHEAD:
            prefetch(words, slot_key[scout])
            scout = links[scout, AFTER]
            ahead += 1
        ahead -= 1
        after = links[slot, AFTER]
        if words[slot_key[slot]] < held_from:
            links[slot, BUCKET] = -1
            chosen[got] = slot
            got += 1
        else:
            join(links, ends, bucket, kept, slot)
            kept = slot
        slot = after
    join(links, ends, bucket, kept, slot)
    return got
