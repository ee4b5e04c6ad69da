"""Clock (second chance): a hand goes round the slots and evicts the first whose bit is clear.

A hit sets the bit of its slot, a fetch leaves it clear. The hand clears a set bit as it passes; it
passes held slots without touching their bits.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from simulator._compiled import compiled
from simulator.caches.policies.base import BatchUse, CompiledPolicy, PolicySetup, Pool
from simulator.caches.policies.hold import Hold

__all__ = ["Clock"]

Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]

CHOSEN = 2
"""In place of the bit, until the slot's new row is entered."""


@compiled
def turn_hand(
    bits: npt.NDArray[np.uint8],
    hand: int,
    used: int,
    hold: Hold,
    chosen: Int64s,
) -> tuple[int, int]:
    """Fill `chosen`; returns the new hand and the number chosen (after three rounds at most).

    The first round may clear every bit, the second takes what is not held; only slots that are
    taken are looked at, but the hand counts over all of them.
    """
    words, slot_key, held_from = hold
    got = 0
    capacity = len(bits)
    for _ in range(3 * capacity):
        if got == len(chosen):
            break
        slot = hand
        hand = hand + 1 if hand + 1 < capacity else 0
        if slot >= used or bits[slot] == CHOSEN or words[slot_key[slot]] >= held_from:
            continue
        if bits[slot] == 1:
            bits[slot] = 0
        else:
            bits[slot] = CHOSEN
            chosen[got] = slot
            got += 1
    return hand, got


@compiled
def set_bits(bits: npt.NDArray[np.uint8], slots: Int32s, missed: Int32s) -> None:
    """Set the bits of `slots`, clear those of `slots[missed]`."""
    for k in range(len(slots)):
        bits[slots[k]] = 1
    for k in range(len(missed)):
        bits[slots[missed[k]]] = 0


class Clock(CompiledPolicy):
    """Second chance."""

    name = "clock"

    def __init__(self, setup: PolicySetup) -> None:
        self._bits = np.zeros(setup.capacity, dtype=np.uint8)
        self._hand = 0

    def choose(self, pool: Pool, chosen: Int64s) -> int:
        self._hand, got = turn_hand(self._bits, self._hand, pool.used, pool.hold, chosen)
        return got

    def used(self, pool: Pool, use: BatchUse) -> None:
        set_bits(self._bits, use.slots, use.missed)
