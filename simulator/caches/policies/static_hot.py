"""Static hot: the hottest rows of a profile stay; everything else passes through the rest.

The hot set is the first `capacity` rows of the profile. Every row of a batch needs a slot, so a
pool cannot hold all of the hot set and the window's other rows at once: victims are rows outside of
the hot set first, the least recently used first, and, once none of those is left, hot rows from the
coldest rank up. What stays for good is thus the top of the profile, less what the window takes.
Preload the profile to begin with the hot set in place; without, the first use of each row fetches
it. The pinned cache without replacement is `StaticSplit`.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from simulator._compiled import compiled
from simulator.caches.plan.base import Numbers
from simulator.caches.plan.words import PRELOADED, Words, pinned_bit, slot_bits
from simulator.caches.policies.base import BatchUse, CompiledPolicy, PolicySetup, Pool
from simulator.caches.policies.lru import Ring, UseQueue
from simulator.errors import UsageError

__all__ = ["StaticHot"]

Int64s = npt.NDArray[np.int64]


@compiled
def take_coldest(hottest: Int64s, words: Words, shift: int, horizon: int, chosen: Int64s) -> int:
    """Fill `chosen` with slots of hot rows that are not held, coldest first; returns how many."""
    low = slot_bits(shift)
    got = 0
    for rank in range(len(hottest) - 1, -1, -1):
        if got == len(chosen):
            break
        word = np.int64(words[hottest[rank]])
        if word & low != 0 and word >> shift < horizon:
            chosen[got] = (word & low) - 1
            got += 1
    return got


@compiled
def copy_unpinned(words: Words, shift: int, keys: Numbers, unpinned: Ring) -> int:
    """Copy those of `keys` that are not in the hot set to `unpinned`; returns how many."""
    pinned = pinned_bit(shift)
    n = 0
    for k in range(len(keys)):
        if np.int64(words[keys[k]]) & pinned == 0:
            unpinned[n] = keys[k]
            n += 1
    return n


class StaticHot(CompiledPolicy):
    """Hot rows by profile stay as far as the window lets them."""

    name = "static_hot"
    needs_profile = True

    def __init__(self, setup: PolicySetup) -> None:
        if setup.hottest is None:
            raise UsageError("policy static_hot needs the hottest rows")
        self._hottest = setup.hottest
        self._others = UseQueue(setup.capacity)

    def preload(self, pool: Pool, keys: Numbers) -> None:
        self._append(pool, keys[::-1].copy(), PRELOADED)

    def choose(self, pool: Pool, chosen: Int64s) -> int:
        got = self._others.take(pool, chosen)
        rest, held = chosen[got:], pool.horizon
        return got + take_coldest(self._hottest, pool.words, pool.shift, held, rest)

    def used(self, pool: Pool, use: BatchUse) -> None:
        self._append(pool, use.keys, pool.stamp)

    def _append(self, pool: Pool, keys: Numbers, stamp: int) -> None:
        unpinned = np.empty(len(keys), dtype=np.int32)
        n = copy_unpinned(pool.words, pool.shift, keys, unpinned)
        self._others.append(pool, unpinned[:n], stamp)
