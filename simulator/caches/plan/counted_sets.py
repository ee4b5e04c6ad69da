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
from simulator._threads import shares
from simulator.caches.plan.hashed_sets import AHEAD, Tags, set_of, take_slots
from simulator.caches.plan.ordered import scattered

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
def is_drawn(counts: Int32s, row: int, lower: int, upper: int, ways: int, taken: Int32s) -> bool:
    """Whether a row has from `lower` to `upper` - 1 lookups, and its set a slot left. `taken`:
    empty where all sets are."""
    if not lower <= counts[row] < upper:
        return False
    return len(taken) == 0 or taken[set_of(row, len(taken))] < ways


@compiled
def count_drawn(
    counts: Int32s, rows: tuple[int, int], drawn: tuple[int, int, int], taken: Int32s, sizes: Int64s
) -> None:
    """Add how many of `rows`, from one to the other, are `drawn` (see `is_drawn`) at each place."""
    for row in range(*rows):
        if is_drawn(counts, row, *drawn, taken):
            sizes[place_of(row)] += 1


@compiled
def list_drawn(
    counts: Int32s,
    rows: tuple[int, int],
    drawn: tuple[int, int, int],
    taken: Int32s,
    begins: Int64s,
    listed: Tags,
) -> None:
    """Write those rows to `listed`, from where `begins` says of each place, which moves on."""
    for row in range(*rows):
        if is_drawn(counts, row, *drawn, taken):
            place = place_of(row)
            listed[begins[place]] = row
            begins[place] += 1


@compiled
def count_levels(listed: Tags, counts: Int32s, sizes: Int64s) -> None:
    """Add how many of the `listed` rows have each count, the highest first."""
    for k in range(len(listed)):
        if k + AHEAD < len(listed):
            prefetch(counts, listed[k + AHEAD])
        sizes[_LEVELS - 1 - level_of(counts[listed[k]], _LEVELS)] += 1


@compiled
def order_by_count(listed: Tags, counts: Int32s, begins: Int64s, ordered: Tags) -> None:
    """Write rows by falling count to `ordered`, from where `begins` says of each, which moves
    on."""
    for k in range(len(listed)):
        if k + AHEAD < len(listed):
            prefetch(counts, listed[k + AHEAD])
        level = _LEVELS - 1 - level_of(counts[listed[k]], _LEVELS)
        ordered[begins[level]] = listed[k]
        begins[level] += 1


def by_count(
    counts: Int32s, drawn: tuple[int, int, int], taken: Int32s, room: Tags, threads: int
) -> Tags:
    """Rows that are `drawn` (see `is_drawn`) by falling count, of equal ones by place, then number;
    `room`: for them all, and more."""
    parts = shares(len(counts), threads)
    rows = [(part.start, part.stop) for part in parts]
    sizes = scattered(
        1 << _DRAWN_BITS,
        threads,
        lambda part, sizes: count_drawn(counts, rows[part], drawn, taken, sizes),
        lambda part, begins: list_drawn(counts, rows[part], drawn, taken, begins, room),
    )
    listed = room[: int(sizes.sum())]
    own, ordered = shares(len(listed), threads), np.empty_like(listed)
    levels = scattered(
        _LEVELS,
        threads,
        lambda part, sizes: count_levels(listed[own[part]], counts, sizes),
        lambda part, begins: order_by_count(listed[own[part]], counts, begins, ordered),
    )
    many = int(levels[:, 0].sum())
    most = ordered[:many]  # their counts are not told apart
    ordered[:many] = most[np.argsort(-counts[most], kind="stable")]
    return ordered


@compiled
def mark_counts(tags: Tags, counts: Int32s, marks: Int32s) -> None:
    """Write the count of the row in each slot that holds one."""
    for slot in range(len(tags)):
        coming = slot + AHEAD
        if coming < len(tags) and tags[coming] >= 0:
            prefetch(counts, tags[coming])
        if tags[slot] >= 0:
            marks[slot] = counts[tags[slot]]


def fill_by_count(
    counts: Int32s, ways: int, tags: Tags, marks: Int32s, taken: Int32s, threads: int = 1
) -> int:
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
        room = np.empty(int(above[lower] - known), tags.dtype)
        some = taken[:0] if upper == _LEVELS else taken
        ordered = by_count(counts, (lower, most, ways), some, room, threads)
        free -= take_slots(ordered, ways, tags, taken)
        upper = lower
    mark_counts(tags, counts, marks)
    return len(tags) - free
