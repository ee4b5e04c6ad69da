"""Rows that were evicted and are still remembered, oldest forgotten first, without their data."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from simulator._compiled import compiled
from simulator.caches.plan.hitmap import side_map

__all__ = ["GhostQueue"]

Int64s = npt.NDArray[np.int64]

HEAD, TAIL, LIVE = 0, 1, 2


@compiled
def add_ghosts(
    words: Int64s, ring: Int64s, state: Int64s, capacity: int, keys: Int64s, expired: Int64s
) -> int:
    """Append `keys`; write those that leave for it to `expired` and return how many.

    `words[key] >> 32`: position in the ring plus 1 (0: not a ghost). Entries of ghosts that
    returned are stale and passed over.
    """
    mask = len(ring) - 1
    gone = 0
    for k in range(len(keys)):
        if state[LIVE] == capacity:
            while True:
                oldest = ring[state[HEAD] & mask]
                state[HEAD] += 1
                if words[oldest] >> 32 == state[HEAD]:
                    break
            words[oldest] = 0
            state[LIVE] -= 1
            expired[gone] = oldest
            gone += 1
        if state[TAIL] - state[HEAD] == len(ring):
            live = np.empty(state[LIVE], dtype=np.int64)
            n = 0
            for position in range(state[HEAD], state[TAIL]):
                key = ring[position & mask]
                if words[key] >> 32 == position + 1:
                    live[n] = key
                    n += 1
            state[HEAD] = state[TAIL]
            for key in live:
                ring[state[TAIL] & mask] = key
                state[TAIL] += 1
                words[key] = state[TAIL] << 32
        ring[state[TAIL] & mask] = keys[k]
        state[TAIL] += 1
        state[LIVE] += 1
        words[keys[k]] = state[TAIL] << 32
    return gone


class GhostQueue:
    """A first-in-first-out queue of at most `capacity` of `rows` rows, with removal."""

    def __init__(self, rows: int, capacity: int) -> None:
        self._map = side_map(rows, expected=capacity + 1024)
        self._ring = np.zeros(1 << (2 * capacity + 64).bit_length(), dtype=np.int64)
        self._state = np.zeros(3, dtype=np.int64)
        self._capacity = capacity

    def take(self, rows: Int64s) -> npt.NDArray[np.bool_]:
        """Which of `rows` (distinct) are ghosts; they are no longer."""
        keys = self._map.keys(rows)
        ghosts = np.asarray(self._map.words[keys] >> 32 != 0)
        self._map.words[keys] = 0
        self._state[LIVE] -= int(ghosts.sum())
        self._map.forget(keys)
        return ghosts

    def add(self, rows: Int64s) -> None:
        """Remember `rows` (distinct, not ghosts), in this order."""
        if self._capacity == 0:
            return
        keys = self._map.keys(rows)
        expired = np.empty(len(keys), dtype=np.int64)
        gone = add_ghosts(self._map.words, self._ring, self._state, self._capacity, keys, expired)
        self._map.forget(expired[:gone])
