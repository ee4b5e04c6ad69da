"""The rows with the highest counts of each set: what LFU holds that forgets no count.

A row comes into its set when its count is not below the lowest there, which only grows. So every
row whose count is above the lowest of its set is in, and none below it; of those that have the
lowest count, as many as there is room for. Which ones says nothing of how often they are looked up
(lookups lie anywhere in the past, whoever has as many of them): they are drawn.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from simulator._compiled import compiled, prefetch
from simulator._mix import mix64
from simulator.caches.plan.hashed_sets import AHEAD, Tags, set_of, take_slots

__all__ = ["fill_by_count", "note_counts"]

Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]

_LEVELS = 1 << 12
"""Counts that are told apart by their place; rows with more lookups are few, and sorted."""
_DRAWN_BITS = 10
"""Of the order of rows with the same count."""
_SEED = np.uint64(0x2545F4914F6CDD1D)
_ROWS_A_SLOT = 2.0
"""That are gone through at first: sets have rows unevenly."""


@compiled
def note_counts(rows: Int64s, first: int, times: Int32s, counts: Int32s) -> None:
    """Write how often each of `rows` of a table was looked up; `first`: its row 0."""
    for k in range(len(rows)):
        if k + AHEAD < len(rows):
            prefetch(counts, first + rows[k + AHEAD])
        counts[first + rows[k]] = times[k]


@compiled
def level_of(count: int, levels: int) -> int:
    """Of rows with so many lookups."""
    return int(min(np.int64(count), np.int64(levels - 1)))


@compiled
def level_sizes(counts: Int32s, sizes: Int64s) -> None:
    """Write how many rows have each count, the last for all from there on."""
    for k in range(len(counts)):
        sizes[level_of(counts[k], len(sizes))] += 1


@compiled
def place_of(row: int) -> int:
    """Where a row stands among those with the same count."""
    return np.int64(mix64(np.uint64(row) + _SEED) >> np.uint64(64 - _DRAWN_BITS))  # type: ignore[return-value]


@compiled
def list_rows(counts: Int32s, lower: int, upper: int, ways: int, taken: Int32s, drawn: Tags) -> int:
    """Write rows that have from `lower` to `upper` - 1 lookups, and whose set has a slot left, in
    the order of their places; returns how many. `taken`: empty where all sets are."""
    sets = len(taken)
    ends = np.zeros((1 << _DRAWN_BITS) + 1, np.int64)
    for turn in range(2):
        for row in range(len(counts)):
            if lower <= counts[row] < upper and (not sets or taken[set_of(row, sets)] < ways):
                place = place_of(row)
                if turn:
                    drawn[ends[place]] = row
                    ends[place] += 1
                else:
                    ends[place + 1] += 1
        if not turn:
            for place in range(1, len(ends)):
                ends[place] += ends[place - 1]
    return ends[-1]  # type: ignore[no-any-return]


@compiled
def order_by_count(drawn: Tags, counts: Int32s, ordered: Tags) -> int:
    """Write rows by falling count, of equal ones the first first; returns how many have a count
    that is not told apart: they come first."""
    last = _LEVELS - 1
    ends = np.zeros(_LEVELS + 1, np.int64)
    for k in range(len(drawn)):
        if k + AHEAD < len(drawn):
            prefetch(counts, drawn[k + AHEAD])
        ends[last - level_of(counts[drawn[k]], _LEVELS) + 1] += 1
    many = ends[1]
    for level in range(1, len(ends)):
        ends[level] += ends[level - 1]
    for k in range(len(drawn)):
        if k + AHEAD < len(drawn):
            prefetch(counts, drawn[k + AHEAD])
        level = last - level_of(counts[drawn[k]], _LEVELS)
        ordered[ends[level]] = drawn[k]
        ends[level] += 1
    return many  # type: ignore[no-any-return]


@compiled
def mark_counts(tags: Tags, counts: Int32s, marks: Int32s) -> None:
    """Write the count of the row in each slot that holds one."""
    for slot in range(len(tags)):
        coming = slot + AHEAD
        if coming < len(tags) and tags[coming] >= 0:
            prefetch(counts, tags[coming])
        if tags[slot] >= 0:
            marks[slot] = counts[tags[slot]]


def fill_by_count(counts: Int32s, ways: int, tags: Tags, marks: Int32s, taken: Int32s) -> int:
    """Fill the empty cache with the rows of each set that have the highest `counts`, those without
    a lookup left out; returns how many there are. Marks become counts; `taken`: slots of each set
    that hold a row, all 0 before."""
    sizes = np.zeros(_LEVELS, np.int64)
    level_sizes(counts, sizes)
    above = np.cumsum(sizes[::-1])[::-1]  # rows that have so many lookups, or more
    upper, free = _LEVELS, len(tags)
    while upper > 1 and free:
        known = above[upper] if upper < _LEVELS else 0
        enough = np.flatnonzero(above - known >= _ROWS_A_SLOT * free)
        lower = max(1, min(int(enough[-1]) if len(enough) else 1, upper - 1))
        most = np.iinfo(np.int32).max + 1 if upper == _LEVELS else upper
        drawn = np.empty(int(above[lower] - known), tags.dtype)
        some = taken[:0] if upper == _LEVELS else taken
        drawn = drawn[: list_rows(counts, lower, most, ways, some, drawn)]
        ordered = np.empty_like(drawn)
        many = order_by_count(drawn, counts, ordered)
        ordered[:many] = ordered[:many][np.argsort(-counts[ordered[:many]], kind="stable")]
        free -= take_slots(ordered, ways, tags, taken)
        upper = lower
    mark_counts(tags, counts, marks)
    return len(tags) - free
