"""The steps of a pool of rows before packed chunks, compiled (`caches.replays.packed`)."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from simulator._compiled import compiled, prefetch

__all__ = ["CHANGED", "NEXT", "THERE", "alive_rows", "expected", "leave", "leaving", "lie_in"]
__all__ += ["look_up", "order_by_use", "take_wanted"]

Bools = npt.NDArray[np.bool_]
Int64s = npt.NDArray[np.int64]
Numbers = npt.NDArray[Any]
"""Whole numbers of any size."""

THERE, CHANGED, NEXT = 1, 2, 2
"""The word of a row: bits that say that it is in the pool, and that it was changed there, and from
bit `NEXT` on the mini-batch that uses it next; below 0: it is wanted now."""
_FLAGS = THERE | CHANGED
_AHEAD = 16
"""Rows between asking for what one needs and using it."""


@compiled
def expected(uses: Numbers, number: int, words: Numbers, later: Numbers) -> None:
    """Note that mini-batch `number` has these uses, once those after it were noted; `later`: the
    mini-batch that has the next use of each."""
    for k in range(len(uses)):
        if k + _AHEAD < len(uses):
            prefetch(words, uses[k + _AHEAD])
        word = words[uses[k]]
        later[k] = word >> NEXT
        words[uses[k]] = (number << NEXT) | (word & _FLAGS)


@compiled
def look_up(
    wanted: Numbers, words: Numbers, chunk: Numbers, late: Bools, missed: Numbers, read: Int64s
) -> int:
    """Which of the `wanted` rows are `late` (not there): those rows, and the chunk of each; returns
    how many."""
    count = 0
    for k in range(len(wanted)):
        if k + _AHEAD < len(wanted):
            prefetch(words, wanted[k + _AHEAD])
            prefetch(chunk, wanted[k + _AHEAD])
        row = wanted[k]
        late[k] = words[row] & THERE == 0
        words[row] |= -1 << NEXT
        if late[k]:
            missed[count], read[count] = row, chunk[row]
            count += 1
    return count


@compiled
def alive_rows(
    chunks: Int64s, old: int, written: Numbers, chunk: Numbers, words: Numbers, out: Numbers
) -> int:
    """Write the rows that lie in `chunks` and nowhere else, and are not there, to `out`; returns
    how many.

    The first `old` chunks have rows in their order, later ones those that were `written`: shape
    (chunks, rows of one), -1: none.
    """
    packed, count = written.shape[1], 0
    flat = written.reshape(-1)
    for k in range(len(chunks)):
        if k + _AHEAD < len(chunks):
            coming = chunks[k + _AHEAD]
            if coming < old:
                prefetch(chunk, coming * packed)
                prefetch(words, coming * packed)
            else:
                prefetch(flat, (coming - old) * packed)
        number = chunks[k]
        for at in range(packed):
            row = number * packed + at if number < old else written[number - old, at]
            if 0 <= row < len(chunk) and chunk[row] == number and words[row] & THERE == 0:
                out[count] = row
                count += 1
    return count


@compiled
def take_wanted(wanted: Numbers, later: Numbers, words: Numbers, alive: Numbers) -> int:
    """Note when the `wanted` rows, which look_up has marked, are used next (`later`), that they
    change, and that rows that came up (`alive`) are there; keeps those of them that are not wanted
    at the front of `alive`, and returns how many."""
    count = 0
    for k in range(len(alive)):
        if k + _AHEAD < len(alive):
            prefetch(words, alive[k + _AHEAD])
        row = alive[k]
        words[row] |= THERE
        if words[row] >= 0:
            alive[count] = row
            count += 1
    for k in range(len(wanted)):
        if k + _AHEAD < len(wanted):
            prefetch(words, wanted[k + _AHEAD])
        words[wanted[k]] = (np.int64(later[k]) << NEXT) | _FLAGS
    return count


@compiled
def order_by_use(rows: Numbers, words: Numbers, ends: Int64s, ordered: Numbers) -> None:
    """Write `rows` in the order of their next use, a stable one; `ends`: where those of each use
    end, zeros before."""
    uses = np.empty(len(rows), np.int32)
    for k in range(len(rows)):
        if k + _AHEAD < len(rows):
            prefetch(words, rows[k + _AHEAD])
        uses[k] = words[rows[k]] >> NEXT
        ends[uses[k]] += 1
    first = 0
    for use in range(len(ends)):
        first, ends[use] = first + ends[use], first
    for k in range(len(rows)):
        ordered[ends[uses[k]]] = rows[k]
        ends[uses[k]] += 1


@compiled
def leaving(rows: Numbers, words: Numbers, over: int, before: int, packed: int) -> tuple[int, int]:
    """How many of the last of `rows` leave, and how many of those are changed: as many as must
    (`over`), and on to a full chunk of `packed` changed rows, of which there are some `before`."""
    count = 0
    for n in range(1, len(rows) + 1):
        prefetch(words, rows[max(0, len(rows) - n - _AHEAD)])
        count += int(words[rows[len(rows) - n]] & CHANGED != 0)
        if n >= over and (before + count) % packed == 0:
            return n, count
    return len(rows), count


@compiled
def leave(rows: Numbers, words: Numbers) -> int:
    """Rows are not there any more; keeps those that were changed at the front, and returns how
    many."""
    count = 0
    for k in range(len(rows)):
        if k + _AHEAD < len(rows):
            prefetch(words, rows[k + _AHEAD])
        row = rows[k]
        if words[row] & CHANGED:
            rows[count] = row
            count += 1
        words[row] &= ~_FLAGS
    return count


@compiled
def lie_in(rows: Numbers, first: int, packed: int, chunk: Numbers) -> None:
    """Rows lie in chunks from `first` on, one after the other."""
    for k in range(len(rows)):
        if k + _AHEAD < len(rows):
            prefetch(chunk, rows[k + _AHEAD])
        chunk[rows[k]] = first + k // packed
