"""Sets of a cache: which one a row belongs to, where it is in it, and rows to begin with.

A loop over the ways of a set takes several at once: its index is unsigned, as one that may be
negative keeps it from that.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from simulator._compiled import compiled, prefetch

__all__ = ["AHEAD", "Tags", "ask_for_set", "by_set", "fill", "find_sets", "first_slot"]
__all__ += ["group_bits", "probe", "set_of", "take_slots"]

Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]
Tags = npt.NDArray[Any]
"""Row of each slot, -1: none; int32 where all rows fit, else int64."""

_FIRST, _SECOND = np.uint64(0xFF51AFD7ED558CCD), np.uint64(0xC4CEB9FE1A85EC53)
_U33 = np.uint64(33)
_GROUP_BITS = 9
"""Of the number of a group of sets: few enough to count into without a trip to memory."""
_LINE = 16
"""Slots, or fewer, in a line of the processor's caches."""
AHEAD = 16
"""Rows between the request of a set and its use."""


@compiled
def set_of(row: int, sets: int) -> int:
    """The set of a row: the finaliser of MurmurHash3 (64 bits), modulo the sets."""
    h = np.uint64(row)
    h = (h ^ (h >> _U33)) * _FIRST
    h = (h ^ (h >> _U33)) * _SECOND
    return np.int64((h ^ (h >> _U33)) % np.uint64(sets))  # type: ignore[return-value]


@compiled
def ask_for_set(slots: Any, own: int, ways: int) -> None:
    """Start to bring what `slots` says of set `own` to the processor's caches."""
    for way in range(0, ways, _LINE):
        prefetch(slots, own * ways + way)


@compiled
def first_slot(own: int, ways: int) -> np.uint64:
    """Of a set, unsigned."""
    return np.uint64(own) * np.uint64(ways)


@compiled
def slot_in(tags: Tags, own: int, ways: int, row: int) -> int:
    """The slot of `row` in its set, or -1."""
    first = first_slot(own, ways)
    found = np.int32(0)
    for way in range(ways):
        found |= np.int32(way + 1) * np.int32(tags[first + np.uint64(way)] == row)
    return np.int64(first) + found - 1 if found > 0 else -1  # type: ignore[return-value]


@compiled
def find_sets(rows: Tags, sets: int, own: Int32s) -> None:
    """Write the set of each of `rows`."""
    for k in range(len(rows)):
        own[k] = set_of(rows[k], sets)


@compiled
def probe(rows: Tags, own: Int32s, marks: Int32s, least: Int32s, tags: Tags, slots: Int64s) -> None:
    """Write the slot of each of `rows`, -1 where it has none.

    `own`: their sets. `marks`: at least that of the slot of a row, if it has one; no row of a set
    has one below `least`.
    """
    ways = len(tags) // len(least)
    for k in range(len(rows)):
        then = k + AHEAD
        if then < len(rows) and marks[then] >= least[own[then]]:
            ask_for_set(tags, own[then], ways)
        slots[k] = -1
        if marks[k] >= least[own[k]]:
            slots[k] = slot_in(tags, own[k], ways, tags.dtype.type(rows[k]))


def group_bits(sets: int) -> int:
    """Bits of the number of a set below those of its group, for `by_set`."""
    return max(0, (sets - 1).bit_length() - _GROUP_BITS)


@compiled
def by_set(
    rows: Int64s, times: Int32s, sets: int, bits: int, ordered: Tags, theirs: Int32s, ends: Int32s
) -> None:
    """Write `rows`, and their `times`, in the order of the groups of neighbouring sets that they
    belong to: what is done to one set after the other finds them in the processor's caches.

    Sets are of one group where they differ in the lowest `bits` bits alone. `ends`: where each
    group ends.
    """
    group = np.empty(len(rows), np.int32)
    ends[:] = 0
    for k in range(len(rows)):
        group[k] = set_of(rows[k], sets) >> bits
        ends[group[k]] += 1
    begin = 0
    for g in range(len(ends)):
        begin, ends[g] = begin + ends[g], begin
    for k in range(len(rows)):
        at = ends[group[k]]
        ends[group[k]] += 1
        ordered[at], theirs[at] = rows[k], times[k]


@compiled
def take_slots(rows: Tags, ways: int, tags: Tags, taken: Int32s) -> int:
    """Put each of the distinct `rows` into the next free slot of its set, where there is one;
    returns how many have one. `taken`: slots of each set that hold a row, the first ones."""
    sets = len(taken)
    ahead = np.empty(AHEAD, np.int64)
    count = 0
    for k in range(len(rows) + AHEAD):
        at = k % AHEAD
        if k >= AHEAD:
            own = ahead[at]
            if taken[own] < ways:
                tags[own * ways + taken[own]] = rows[k - AHEAD]
                taken[own] += 1
                count += 1
        if k < len(rows):
            ahead[at] = set_of(rows[k], sets)
            prefetch(tags, ahead[at] * ways + taken[ahead[at]])
    return count


@compiled
def fill(rows: Int64s, ways: int, tags: Tags, marks: Int32s) -> int:
    """Put each of the distinct `rows` into a free slot of its set, where there is one, its mark the
    lower the later it stands; returns how many have one. The cache is empty."""
    taken = np.zeros(len(tags) // ways, np.int32)
    count = take_slots(rows, ways, tags, taken)
    for own in range(len(taken)):
        for way in range(taken[own]):
            marks[own * ways + way] = -1 - way
    return count
