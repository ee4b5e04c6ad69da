"""First in, first out: the victim is the row that was fetched longest ago.

A held row at the front keeps its place: it is passed over and is the first candidate again for the
next batch. Order inside a batch: first occurrence.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from simulator._compiled import compiled
from simulator.caches.policies.base import BatchUse, CompiledPolicy, PolicySetup, Pool
from simulator.caches.policies.hold import Hold

__all__ = ["FIFO"]

Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]


@compiled
def take_first(
    ring: Int32s,
    head: int,
    tail: int,
    hold: Hold,
    chosen: Int64s,
) -> tuple[int, int]:
    """Fill `chosen` from the front of the ring; held slots go back in front, in their order.

    Returns the new head and the number chosen.
    """
    words, slot_key, held_from = hold
    mask = len(ring) - 1
    passed = np.empty(64, dtype=np.int32)
    n = 0
    got = 0
    while got < len(chosen) and head < tail:
        slot = ring[head & mask]
        head += 1
        if words[slot_key[slot]] < held_from:
            chosen[got] = slot
            got += 1
        else:
            if n == len(passed):
                passed = np.concatenate((passed, np.empty_like(passed)))
            passed[n] = slot
            n += 1
    for k in range(n):
        ring[(head - n + k) & mask] = passed[k]
    return head - n, got


@compiled
def append_slots(ring: Int32s, tail: int, slots: Int32s, positions: Int32s) -> int:
    """Append `slots[positions]`; returns the new tail."""
    mask = len(ring) - 1
    for k in range(len(positions)):
        ring[(tail + k) & mask] = slots[positions[k]]
    return tail + len(positions)


class FIFO(CompiledPolicy):
    """First in, first out."""

    name = "fifo"

    def __init__(self, setup: PolicySetup) -> None:
        self._ring = np.empty(1 << setup.capacity.bit_length(), dtype=np.int32)
        self._head = 0
        self._tail = 0

    def choose(self, pool: Pool, chosen: Int64s) -> int:
        self._head, got = take_first(self._ring, self._head, self._tail, pool.hold, chosen)
        return got

    def used(self, pool: Pool, use: BatchUse) -> None:
        self._tail = append_slots(self._ring, self._tail, use.slots, use.missed)
