"""Belady (MIN), per lookup, with every missed row cached: the upper bound on hits.

Positions of next uses are distinct, so the resident rows that are used again are a set of
positions: a bitmap over the trace, with two summary levels above it to find the largest in a few
steps. A lookup at position k hits exactly when bit k is set. Rows never used again need only be
counted; they are evicted first.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from simulator._compiled import compiled
from simulator.caches.per_lookup.base import COLD, EVICTIONS, HITS, RESIDENT, LookupCache
from simulator.caches.policies.base import PolicySetup

__all__ = ["LookupBelady", "LookupBeladyBypass"]

Int64s = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]

ONE = np.uint64(1)
LOW = np.uint64(63)
SHIFT = np.uint64(6)


class Positions(NamedTuple):
    """A set of positions in a trace: a bit each, a bit for each word of those, and so once more."""

    bits: Words
    upper: Words
    top: Words


@compiled
def highest_bit(word: np.uint64) -> np.uint64:
    """Position of the highest set bit of a word that is not 0."""
    position = np.uint64(0)
    for shift in (32, 16, 8, 4, 2, 1):
        step = np.uint64(shift)
        big = np.uint64((word >> step) != 0) * step
        word = word >> big
        position += big
    return position


@compiled
def set_bit(positions: Positions, position: int) -> None:
    """Add `position` to the set."""
    bits, upper, top = positions
    at = np.uint64(position)
    bits[at >> SHIFT] |= ONE << (at & LOW)
    at >>= SHIFT
    upper[at >> SHIFT] |= ONE << (at & LOW)
    at >>= SHIFT
    top[at >> SHIFT] |= ONE << (at & LOW)


@compiled
def clear_bit(positions: Positions, position: int) -> None:
    """Take `position` out of the set."""
    bits, upper, top = positions
    at = np.uint64(position)
    bits[at >> SHIFT] &= ~(ONE << (at & LOW))
    at >>= SHIFT
    if bits[at] == 0:
        upper[at >> SHIFT] &= ~(ONE << (at & LOW))
        at >>= SHIFT
        if upper[at] == 0:
            top[at >> SHIFT] &= ~(ONE << (at & LOW))


@compiled
def largest(positions: Positions, high: int) -> int:
    """The largest position of a set that is not empty; none lies above word `high` of `top`."""
    bits, upper, top = positions
    while top[high] == 0:
        high -= 1
    at = np.uint64(high)
    at = (at << SHIFT) + highest_bit(top[at])
    at = (at << SHIFT) + highest_bit(upper[at])
    at = (at << SHIFT) + highest_bit(bits[at])
    return np.int64(at)  # type: ignore[return-value]  # numba does not unify int(uint64)


@compiled
def replay_belady(
    positions: Positions,
    next_use: Int64s,
    start: int,
    capacity: int,
    bypass: bool,
    never: int,
    counts: Int64s,
) -> int:
    """Replay the lookups at positions start, start + 1, ... ; returns the new `never`.

    `never`: resident rows without a next use. With `bypass`, a row whose next use is further away
    than all resident ones is not cached.
    """
    bits, _, top = positions
    high = len(top) - 1
    resident = counts[RESIDENT]
    for k in range(len(next_use)):
        position = start + k
        at = np.uint64(position)
        later = next_use[k]
        if bits[at >> SHIFT] & (ONE << (at & LOW)):
            counts[HITS] += 1
            clear_bit(positions, position)
        elif bypass and later < 0:
            continue
        elif resident < capacity:
            resident += 1
        elif never > 0:
            never -= 1
            counts[EVICTIONS] += 1
        else:
            while top[high] == 0:
                high -= 1
            victim = largest(positions, high)
            if bypass and later > victim:
                continue
            clear_bit(positions, victim)
            counts[EVICTIONS] += 1
        if later < 0:
            never += 1
        else:
            set_bit(positions, later)
            high = max(high, later >> 18)
    counts[RESIDENT] = resident
    return never


class LookupBelady(LookupCache):
    """Furthest next use. State: a bit a lookup (the trace is read twice anyway), 1 byte an id."""

    needs_next_use = True
    bypass = False

    def __init__(self, setup: PolicySetup, rows: int) -> None:
        super().__init__(setup, rows)
        self._known = np.zeros(rows, dtype=np.bool_)
        self._never = 0
        self._positions = Positions(*np.zeros((3, 1), dtype=np.uint64))

    def run(self, ids: Int64s, next_use: Int64s | None) -> None:
        if next_use is None:
            raise ValueError("belady needs the position of each lookup's next one")
        if len(ids) == 0:
            return
        self._reserve(max(int(next_use.max()), self.lookups + len(ids)))
        self._never = replay_belady(
            self._positions,
            next_use,
            self.lookups,
            self.capacity,
            self.bypass,
            self._never,
            self.counts,
        )
        self.counts[COLD] += mark_known(self._known, ids)

    def _reserve(self, position: int) -> None:
        """Make the bitmap long enough for `position`."""
        bits, upper, top = self._positions
        if position >> 6 < len(bits):
            return
        bits = _longer(bits, (position >> 6) + 1)
        upper = _longer(upper, (len(bits) >> 6) + 1)
        self._positions = Positions(bits, upper, _longer(top, (len(upper) >> 6) + 1))


class LookupBeladyBypass(LookupBelady):
    """Belady that leaves a missed row out where its next use lies further away than all others."""

    bypass = True


def _longer(words: Words, length: int) -> Words:
    grown = np.zeros(max(length, 2 * len(words)), dtype=np.uint64)
    grown[: len(words)] = words
    return grown


@compiled
def mark_known(known: npt.NDArray[np.bool_], ids: Int64s) -> int:
    """Mark `ids`; returns how many were not marked."""
    new = 0
    for k in range(len(ids)):
        new += not known[ids[k]]
        known[ids[k]] = True
    return new
