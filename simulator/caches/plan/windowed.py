"""cDLRM's cache: loaded once a window of mini-batches, ways drawn at random (`cache_manager.py`).

A row belongs to set `id mod sets`. At the start of a window rows that are in stay; each missing row
draws one of the ways of its set that no row of this window hit, all at once: where two draw the
same way the one with the greater id has it, and rows whose set has no such way stay out.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from simulator._compiled import compiled
from simulator._mix import GOLDEN, mix64

__all__ = ["Arrived", "WindowedCache", "drawn_way"]

Int64s = npt.NDArray[np.int64]
_U32 = np.uint64(32)


@compiled
def drawn_way(row: int, stream: int, ways: int) -> int:
    """A number below `ways` for a row in a window (`stream`)."""
    mixed = mix64(mix64(np.uint64(stream) + GOLDEN) ^ np.uint64(row))
    return np.int64(((mixed >> _U32) * np.uint64(ways)) >> _U32)  # type: ignore[return-value]


@compiled
def probe(rows: Int64s, tags: Int64s, ways: int, slots: Int64s) -> None:
    """Write the slot of each of `rows`, -1 where it has none; `tags`: row of each slot."""
    sets = len(tags) // ways
    for k in range(len(rows)):
        first = (rows[k] % sets) * ways
        slots[k] = -1
        for slot in range(first, first + ways):
            if tags[slot] == rows[k]:
                slots[k] = slot
                break


@compiled
def draw(rows: Int64s, slots: Int64s, hit: Int64s, ways: int, window: int, stream: int) -> None:
    """Write to `slots` the slot that each missing row (-1) draws, -1 where its set has none.

    `hit`: of each slot the last window in which its row was hit.
    """
    sets = len(hit) // ways
    for k in range(len(rows)):
        if slots[k] >= 0:
            continue
        first = (rows[k] % sets) * ways
        free = 0
        for slot in range(first, first + ways):
            free += hit[slot] != window
        if free == 0:
            continue
        turn = drawn_way(rows[k], stream, free)
        for slot in range(first, first + ways):
            if hit[slot] != window:
                if turn == 0:
                    slots[k] = slot
                    break
                turn -= 1


class Arrived(NamedTuple):
    """What the load of a window changes: rows that came in and that left, each with its slot."""

    rows: Int64s
    slots: Int64s
    victims: Int64s
    freed: Int64s


class WindowedCache:
    """The cache of one table of `rows` rows."""

    def __init__(self, sets: int, ways: int, seed: int = 0) -> None:
        self.ways, self._seed = ways, seed
        self.tags = np.full(sets * ways, -1, np.int64)
        self._hit = np.full(sets * ways, -1, np.int64)
        self._window = 0

    def slots_of(self, rows: Int64s) -> Int64s:
        """The slot of each row, -1: none."""
        slots = np.empty(len(rows), np.int64)
        probe(rows, self.tags, self.ways, slots)
        return slots

    def load(self, rows: Int64s) -> Arrived:
        """Load the distinct `rows` of a window, ascending."""
        slots = self.slots_of(rows)
        missing = slots < 0
        self._hit[slots[~missing]] = self._window
        draw(rows, slots, self._hit, self.ways, self._window, self._seed + self._window)
        self._window += 1
        drawn = np.flatnonzero(missing & (slots >= 0))
        taken, last = np.unique(slots[drawn][::-1], return_index=True)
        winners = rows[drawn[::-1][last]]
        old = self.tags[taken]
        self.tags[taken] = winners
        gone = old >= 0
        return Arrived(winners, taken, old[gone], taken[gone])

    def flush(self) -> Arrived:
        """Empty the cache; who leaves."""
        held = np.flatnonzero(self.tags >= 0)
        rows, nothing = self.tags[held], held[:0]
        self.tags[:] = -1
        return Arrived(nothing, nothing, rows, held)
