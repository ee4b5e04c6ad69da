"""Slots of one pool that rows of several tables share: those that are free, and who has which.

The free ones are a stack: which slot a row gets follows from the order of all that give and take.
Who has which is told table by table, so that tables are asked on threads: in a word a row while
those fit, else in a hash table (`slot_table`), whose tags are a bijection of the rows, so that
nobody has to look at the row of a slot.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from simulator._compiled import compiled, prefetch
from simulator.caches.plan.arrays import zeros
from simulator.caches.plan.base import Numbers
from simulator.caches.plan.slot_table import first_like, home, put, rehash, take_first, with_slot
from simulator.caches.plan.words import AHEAD
from simulator.errors import CapacityError

__all__ = ["DenseSlots", "FreeSlots", "HashedSlots", "TableSlots"]

Int64s = npt.NDArray[np.int64]
Int32s = npt.NDArray[np.int32]

_BITS = 31
"""Of a tag; a table of more rows than that has a hash table for each 2**31 of them."""
_HALF = 16
_LOW = (1 << _BITS) - 1
_FIRST_FACTOR, _SECOND_FACTOR = 0x9E3779B1, 0x85EBCA77
"""Odd: primes of xxHash (Collet)."""
_FIRST = 64
"""Places of a table of slots at first."""
_FULL, _ROOM = 0.7, 1.8
"""Share of them that may be taken, and how many a row there are when it was enlarged."""


@compiled
def tag_of(row: Any) -> int:
    """A bijection of the numbers of 31 bits."""
    x: Any = np.int64(row)
    x ^= x >> _HALF
    x = (x * _FIRST_FACTOR) & _LOW
    x ^= x >> _HALF
    x = (x * _SECOND_FACTOR) & _LOW
    return x ^ (x >> _HALF)  # type: ignore[no-any-return]


@compiled
def write(words: Int32s, rows: Numbers, own: Int32s) -> None:
    """`rows` have the slots `own`, counted from 1."""
    for k in range(len(rows)):
        if k + AHEAD < len(rows):
            prefetch(words, rows[k + AHEAD])
        words[rows[k]] = own[k]


@compiled
def clear(words: Int32s, rows: Numbers, own: Int32s) -> None:
    """`rows` have no slots any more; writes those that they had, from 1 on."""
    for k in range(len(rows)):
        if k + AHEAD < len(rows):
            prefetch(words, rows[k + AHEAD])
        own[k] = words[rows[k]]
        words[rows[k]] = 0


@compiled
def put_in(table: Int64s, rows: Numbers, own: Int32s) -> None:
    """`rows` have the slots `own`, counted from 1."""
    for k in range(len(rows)):
        if k + AHEAD < len(rows):
            prefetch(table, home(tag_of(rows[k + AHEAD]), len(table)))
        put(table, with_slot(tag_of(rows[k]), own[k] - 1))


@compiled
def withdraw(table: Int64s, rows: Numbers, own: Int32s) -> None:
    """`rows`, which have slots, have none any more; writes those that they had, from 1 on."""
    for k in range(len(rows)):
        if k + AHEAD < len(rows):
            prefetch(table, home(tag_of(rows[k + AHEAD]), len(table)))
        own[k] = take_first(table, tag_of(rows[k])) + 1


@compiled
def find(table: Int64s, rows: Numbers, own: Int64s) -> None:
    """Write the slot of each of `rows`, -1: none."""
    for k in range(len(rows)):
        if k + AHEAD < len(rows):
            prefetch(table, home(tag_of(rows[k + AHEAD]), len(table)))
        own[k] = first_like(table, tag_of(rows[k]))


class TableSlots(Protocol):
    """The slots that rows of one table have."""

    def put(self, rows: Numbers, slots: Int32s) -> None:
        """`rows`, which have none, have `slots`, counted from 1."""

    def take_out(self, rows: Numbers) -> Int32s:
        """The slots of `rows`, which have some, from 1 on; they have none any more."""

    def of(self, rows: Numbers) -> Int64s:
        """The slot of each of `rows`, int64, from 0 on; -1: none."""


class DenseSlots(TableSlots):
    """In a word for each of `rows` rows."""

    def __init__(self, rows: int) -> None:
        self._words = zeros(rows, np.int32)
        """From 1 on; 0: none."""

    def put(self, rows: Numbers, slots: Int32s) -> None:
        write(self._words, rows, slots)

    def take_out(self, rows: Numbers) -> Int32s:
        own = np.empty(len(rows), np.int32)
        clear(self._words, rows, own)
        return own

    def of(self, rows: Numbers) -> Int64s:
        return self._words[rows].astype(np.int64) - 1


class HashedSlots(TableSlots):
    """In a hash table that grows with those that have one; `rows`: how many there are."""

    def __init__(self, rows: int) -> None:
        self._tables = [zeros(_FIRST) for _ in range(max(1, -(-rows >> _BITS)))]
        self._taken = [0] * len(self._tables)

    def put(self, rows: Numbers, slots: Int32s) -> None:
        for piece, chosen, low in self._pieces(rows):
            self._make_room(piece, len(low))
            put_in(self._tables[piece], low, slots[chosen])

    def take_out(self, rows: Numbers) -> Int32s:
        own = np.empty(len(rows), np.int32)
        for piece, chosen, low in self._pieces(rows):
            mine = np.empty(len(low), np.int32)
            withdraw(self._tables[piece], low, mine)
            own[chosen] = mine
            self._taken[piece] -= len(low)
        return own

    def of(self, rows: Numbers) -> Int64s:
        own = np.empty(len(rows), np.int64)
        for piece, chosen, low in self._pieces(rows):
            mine = np.empty(len(low), np.int64)
            find(self._tables[piece], low, mine)
            own[chosen] = mine
        return own

    def _pieces(self, rows: Numbers) -> Iterator[tuple[int, Any, Numbers]]:
        """Each hash table with which of the rows it has, and their numbers in it."""
        if len(self._tables) == 1:
            yield 0, slice(None), rows
            return
        for piece in range(len(self._tables)):
            chosen = rows >> _BITS == piece
            yield piece, chosen, rows[chosen] & _LOW

    def _make_room(self, piece: int, count: int) -> None:
        self._taken[piece] += count
        if self._taken[piece] > _FULL * len(self._tables[piece]):
            larger = zeros(int(_ROOM * self._taken[piece]) + 2)
            rehash(self._tables[piece], larger)
            self._tables[piece] = larger


class FreeSlots:
    """Slots that no row has; those that were freed last are taken first. Only how many, where none
    is asked for (`counted`)."""

    def __init__(self, capacity: int) -> None:
        self._free = zeros(capacity, np.int32)
        """Slots from 1 on, the next one last; 0: as it was, `capacity` less the place."""
        self._left = capacity

    def first(self, count: int, why: str) -> Int32s:
        """The first `count` slots, before any other is taken; raises as `take` does."""
        self.counted(0, count, why)
        return np.arange(1, count + 1, dtype=np.int32)

    def take(self, count: int, why: str) -> Int32s:
        """`count` slots, from 1 on, for as many rows in order.

        Raises `CapacityError` where there are not as many; `why`: who takes them, and what helps.
        """
        self.counted(0, count, why)
        places = np.arange(self._left, self._left + count, dtype=np.int32)
        known = self._free[self._left : self._left + count]
        return np.where(known > 0, known, np.int32(len(self._free)) - places)

    def give(self, slots: Int32s) -> None:
        """`slots`, from 1 on, are left one after the other."""
        self._free[self._left : self._left + len(slots)] = slots
        self._left += len(slots)

    def counted(self, given: int, taken: int, why: str) -> None:
        """So many slots are given back, then taken; which ones is not asked any more. Raises as
        `take` does."""
        self._left += given
        if taken > self._left:
            capacity = len(self._free)
            need = capacity - self._left + taken
            raise CapacityError(f"{need:,} rows need a slot, but there are {capacity:,}: {why}")
        self._left -= taken
