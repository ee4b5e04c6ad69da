"""The steps of a pool of rows before packed chunks, compiled (`caches.replays.packed`)."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from simulator._compiled import compiled, prefetch

__all__ = ["alive_rows", "leaving", "look_up", "order_by_use", "take_wanted"]

Int64s = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Numbers = npt.NDArray[Any]
"""Whole numbers of any size."""
_AHEAD = 16
"""Rows between asking for what one needs and using it."""


@compiled
def look_up(
    wanted: Int64s, there: Bools, chunk: Numbers, late: Bools, missed: Int64s, read: Int64s
) -> int:
    """Which of the `wanted` rows are `late` (not `there`): those rows, and the chunk of each;
    returns how many."""
    count = 0
    for k in range(len(wanted)):
        if k + _AHEAD < len(wanted):
            prefetch(there, wanted[k + _AHEAD])
            prefetch(chunk, wanted[k + _AHEAD])
        late[k] = not there[wanted[k]]
        if late[k]:
            missed[count], read[count] = wanted[k], chunk[wanted[k]]
            count += 1
    return count


@compiled
def alive_rows(
    chunks: Int64s, old: int, written: Int64s, chunk: Numbers, there: Bools, out: Int64s
) -> int:
    """Write the rows that lie in `chunks` and nowhere else, and are not `there`, to `out`; returns
    how many.

    The first `old` chunks have rows in their order, later ones those that were `written`: shape
    (chunks, rows of one), -1: none.
    """
    packed, count = written.shape[1], 0
    for number in chunks:
        for at in range(packed):
            row = number * packed + at if number < old else written[number - old, at]
            if 0 <= row < len(chunk) and chunk[row] == number and not there[row]:
                out[count] = row
                count += 1
    return count


@compiled
def take_wanted(
    wanted: Int64s, later: Int64s, never: int, upcoming: Numbers, alive: Int64s, there: Bools
) -> int:
    """Note when the `wanted` rows are used next (`later`, at most `never`), and that rows that came
    up (`alive`) are `there`; keeps those of them that are not wanted at the front of `alive`, and
    returns how many."""
    for row in wanted:
        upcoming[row] = -1
    count = 0
    for row in alive:
        there[row] = True
        if upcoming[row] >= 0:
            alive[count] = row
            count += 1
    for k in range(len(wanted)):
        upcoming[wanted[k]] = min(later[k], never)
    return count


@compiled
def order_by_use(rows: Int64s, upcoming: Numbers, ends: Int64s, ordered: Int64s) -> None:
    """Write `rows` in the order of their next use, a stable one; `ends`: where those of each use
    end, zeros before."""
    for k in range(len(rows)):
        if k + _AHEAD < len(rows):
            prefetch(upcoming, rows[k + _AHEAD])
        ends[upcoming[rows[k]]] += 1
    first = 0
    for use in range(len(ends)):
        first, ends[use] = first + ends[use], first
    for row in rows:
        use = upcoming[row]
        ordered[ends[use]] = row
        ends[use] += 1


@compiled
def leaving(rows: Int64s, changed: Bools, over: int, before: int, packed: int) -> tuple[int, int]:
    """How many of the last of `rows` leave, and how many of those are `changed`: as many as must
    (`over`), and on to a full chunk of `packed` changed rows, of which there are some `before`."""
    count = 0
    for n in range(1, len(rows) + 1):
        count += int(changed[rows[len(rows) - n]])
        if n >= over and (before + count) % packed == 0:
            return n, count
    return len(rows), count
