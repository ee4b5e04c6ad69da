"""Random: every row that is not held is the victim with the same probability.

Seeded by a SplitMix64 stream of the pool's own, so that neither the number of threads nor the hash
seed plays a part. A slot is drawn until it is neither held nor chosen already; after
`TRIES` draws in a row that fail, the slots left are listed and drawn from without failure (same
distribution, and an end even where a single slot is left).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from simulator._compiled import compiled
from simulator._mix import draw_below
from simulator.caches.plan.base import Numbers
from simulator.caches.policies.base import BatchUse, CompiledPolicy, PolicySetup, Pool
from simulator.caches.policies.hold import Hold

__all__ = ["RandomVictim"]

Int64s = npt.NDArray[np.int64]

TRIES = 64


@compiled
def draw_victims(
    state: npt.NDArray[np.uint64],
    used: int,
    hold: Hold,
    taken: npt.NDArray[np.uint8],
    chosen: Int64s,
) -> int:
    """Fill `chosen` with random slots of [0, used) not held; `taken` is all zero before, after."""
    words, slot_key, held_from = hold
    got = 0
    tries = 0
    while got < len(chosen) and tries < TRIES:
        slot = draw_below(state, used)
        if taken[slot] == 0 and words[slot_key[slot]] < held_from:
            taken[slot] = 1
            chosen[got] = slot
            got += 1
            tries = 0
        else:
            tries += 1
    if got < len(chosen):
        left = np.empty(used, dtype=np.int64)
        n = 0
        for slot in range(used):
            if taken[slot] == 0 and words[slot_key[slot]] < held_from:
                left[n] = slot
                n += 1
        while got < len(chosen) and n > 0:
            pick = draw_below(state, n)
            chosen[got] = left[pick]
            n -= 1
            left[pick] = left[n]
            got += 1
    for k in range(got):
        taken[chosen[k]] = 0
    return got


class RandomVictim(CompiledPolicy):
    """A random row that is not held."""

    name = "random"

    def __init__(self, setup: PolicySetup) -> None:
        self._state = np.array([setup.seed], dtype=np.uint64)
        self._taken = np.zeros(setup.capacity, dtype=np.uint8)

    def preload(self, pool: Pool, keys: Numbers) -> None:
        """Nothing to remember."""

    def choose(self, pool: Pool, chosen: Int64s) -> int:
        return draw_victims(self._state, pool.used, pool.hold, self._taken, chosen)

    def used(self, pool: Pool, use: BatchUse) -> None:
        """Nothing to remember."""
