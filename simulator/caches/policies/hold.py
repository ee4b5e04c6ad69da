"""Which slots the window protects, for kernels that choose victims."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from simulator._compiled import compiled
from simulator.caches.plan.buckets import AFTER, FIRST, unlink

__all__ = ["Hold", "take_from"]

Int64s = npt.NDArray[np.int64]
Int32s = npt.NDArray[np.int32]


class Hold(NamedTuple):
    """Slot *s* is held unless `words[slot_key[s]] >> 32 < horizon`: its key's stamp is older.

    `words`: state words by key (see `plan.words`); `slot_key`: int32, shape (capacity,). Kernels
    unpack it and write the comparison out: a call for each slot would cost more than it.
    """

    words: Int64s
    slot_key: Int32s
    horizon: int


@compiled
def take_from(
    links: Int32s, ends: Int32s, bucket: int, hold: Hold, chosen: Int64s, got: int
) -> int:
    """Fill `chosen[got:]` from the front of list `bucket` with slots that are not held.

    They leave the list. Returns the number chosen in all.
    """
    words, slot_key, horizon = hold
    slot = ends[bucket, FIRST]
    while slot >= 0 and got < len(chosen):
        after = links[slot, AFTER]
        if words[slot_key[slot]] >> 32 < horizon:
            unlink(links, ends, slot)
            chosen[got] = slot
            got += 1
        slot = after
    return got
