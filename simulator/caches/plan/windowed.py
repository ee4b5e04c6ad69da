"""cDLRM's cache: loaded once a window of mini-batches, ways drawn at random (`cache_manager.py`).

A row belongs to set `id mod sets`. At the start of a window rows that are in stay; each missing row
draws one of the ways of its set that no row of this window hit, all at once: where two draw the
same way the one with the greater id has it, and rows whose set has no such way stay out.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from simulator._compiled import compiled, prefetch
from simulator._mix import GOLDEN, mix64

__all__ = ["Arrived", "WindowedCache", "drawn_way"]

Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]
_U32 = np.uint64(32)
_AHEAD = 16
"""Rows between the request of a set and its use."""
_NEVER = -1


@compiled
def drawn_way(row: int, stream: int, ways: int) -> int:
    """A number below `ways` for a row in a window (`stream`)."""
    mixed = mix64(mix64(np.uint64(stream) + GOLDEN) ^ np.uint64(row))
    return np.int64(((mixed >> _U32) * np.uint64(ways)) >> _U32)  # type: ignore[return-value]


@compiled
def first_slots(rows: Int64s, sets: int, ways: int, firsts: Int64s) -> None:
    """Write the first slot of the set of each row."""
    for k in range(len(rows)):
        firsts[k] = (rows[k] % sets) * ways


@compiled
def probe(rows: Int64s, firsts: Int64s, tags: Int64s, ways: int, slots: Int64s) -> None:
    """Write the slot of each of `rows`, -1 where it has none; `tags`: row of each slot."""
    for k in range(len(rows)):
        if k + _AHEAD < len(rows):
            prefetch(tags, firsts[k + _AHEAD])
        slots[k] = -1
        for slot in range(firsts[k], firsts[k] + ways):
            if tags[slot] == rows[k]:
                slots[k] = slot
                break


@compiled
def mark_hits(slots: Int64s, hit: Int32s, window: int) -> int:
    """Note that rows in `slots` (-1: none) are hit in a window; returns how many are missing."""
    missing = 0
    for k in range(len(slots)):
        if k + _AHEAD < len(slots):
            prefetch(hit, slots[k + _AHEAD])
        if slots[k] >= 0:
            hit[slots[k]] = window
        else:
            missing += 1
    return missing


@compiled
def draw(
    rows: Int64s, firsts: Int64s, hit: Int32s, ways: int, window: int, stream: int, slots: Int64s
) -> None:
    """Write to `slots` the slot that each missing row (-1) draws, -1 where its set has none, and
    of a row that is in -1 too.

    `hit`: of each slot the last window in which its row was hit.
    """
    for k in range(len(rows)):
        if k + _AHEAD < len(rows):
            prefetch(hit, firsts[k + _AHEAD])
        if slots[k] >= 0:
            slots[k] = -1
            continue
        free = 0
        for slot in range(firsts[k], firsts[k] + ways):
            free += hit[slot] != window
        if free == 0:
            continue
        turn = drawn_way(rows[k], stream, free)
        for slot in range(firsts[k], firsts[k] + ways):
            if hit[slot] != window:
                if turn == 0:
                    slots[k] = slot
                    break
                turn -= 1


class Arrived(NamedTuple):
    """What the load of a window changes: rows that came in and that left, each with its slot, and
    the rows of the window that did not come in: they were in, or have no slot."""

    rows: Int64s
    slots: Int64s
    victims: Int64s
    freed: Int64s
    stayed: Int64s


@compiled
def take(
    rows: Int64s, slots: Int64s, tags: Int64s, hit: Int32s, window: int, out: Any
) -> tuple[int, int]:
    """Put `rows` into the `slots` that they drew (-1: none), the last one where several drew the
    same; returns how many came in, and how many left.

    `out`: an `Arrived` with room for all, written from its ends: the rows are gone through from
    the last one. A slot that is taken counts as `hit`.
    """
    most = len(rows)
    came = left = 0
    for k in range(most - 1, -1, -1):
        if k >= _AHEAD and slots[k - _AHEAD] >= 0:
            prefetch(hit, slots[k - _AHEAD])
            prefetch(tags, slots[k - _AHEAD])
        slot = slots[k]
        if slot < 0 or hit[slot] == window:
            out.stayed[came + k] = rows[k]
            continue
        hit[slot] = window
        came += 1
        out.rows[most - came], out.slots[most - came] = rows[k], slot
        if tags[slot] >= 0:
            left += 1
            out.victims[most - left], out.freed[most - left] = tags[slot], slot
        tags[slot] = rows[k]
    return came, left


class WindowedCache:
    """The cache of one table of `rows` rows."""

    def __init__(self, sets: int, ways: int, seed: int = 0) -> None:
        self.ways, self._seed = ways, seed
        self.tags = np.full(sets * ways, -1, np.int64)
        self._hit = np.full(sets * ways, _NEVER, np.int32)
        self._window = 0

    def slots_of(self, rows: Int64s) -> Int64s:
        """The slot of each row, -1: none."""
        return self._probed(rows)[0]

    def _probed(self, rows: Int64s) -> tuple[Int64s, Int64s]:
        """The slot of each row, -1: none, and the first slot of its set."""
        slots, firsts = np.empty((2, len(rows)), np.int64)
        first_slots(rows, len(self.tags) // self.ways, self.ways, firsts)
        probe(rows, firsts, self.tags, self.ways, slots)
        return slots, firsts

    def load(self, rows: Int64s) -> Arrived:
        """Load the distinct `rows` of a window, ascending; rows that stay are ascending too."""
        slots, firsts = self._probed(rows)
        window, self._window = self._window, self._window + 1
        out = Arrived(*(np.empty(len(rows), np.int64) for _ in range(5)))
        if not mark_hits(slots, self._hit, window):
            nothing = rows[:0]
            return Arrived(nothing, nothing, nothing, nothing, rows)
        draw(rows, firsts, self._hit, self.ways, window, self._seed + window, slots)
        came, left = take(rows, slots, self.tags, self._hit, window, out)
        first, gone = len(rows) - came, len(rows) - left
        return Arrived(
            out.rows[first:],
            out.slots[first:],
            out.victims[gone:],
            out.freed[gone:],
            out.stayed[came:],
        )

    def flush(self) -> Arrived:
        """Empty the cache; who leaves."""
        held = np.flatnonzero(self.tags >= 0)
        rows, nothing = self.tags[held], held[:0]
        self.tags[:] = -1
        return Arrived(nothing, nothing, rows, held, nothing)
