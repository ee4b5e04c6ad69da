"""Slots of a cache by the rows in them: a hash table of 8 bytes an entry that can grow in any step.

Open addressing with linear probing. An entry has 31 bits of its row's hash (the *tag*) above its
slot + 1; 0: empty. The home of a row rises with its tag, so that a larger table is filled from one
end to the other, without a look at the rows.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from simulator._compiled import compiled, inner_kernel
from simulator._mix import hashed

__all__ = ["entry_of", "first_like", "home_of", "put", "rehash", "slot_of", "take_out"]

Int64s = npt.NDArray[np.int64]
Numbers = npt.NDArray[Any]

_HALF, _LOW = 32, (1 << 32) - 1
_TAG_BITS = 31


@compiled
def entry_of(row: int, slot: int) -> int:
    """What stands in a table for a row in a slot."""
    return (hashed(row) >> _HALF) << _HALF | (slot + 1)


@inner_kernel
def home(tag: int, size: int) -> int:
    """Where a row with the tag begins to look in a table of so many places."""
    return (tag * size) >> _TAG_BITS


@compiled
def home_of(row: int, size: int) -> int:
    """Where a row begins to look."""
    return home(hashed(row) >> _HALF, size)


@inner_kernel
def following(at: int, size: int) -> int:
    """The place after `at`."""
    return at + 1 if at + 1 < size else 0


@inner_kernel
def first_like(table: Int64s, row: int) -> int:
    """The slot of the first row with the same tag, mostly that of the row itself; -1: none has."""
    tag = hashed(row) >> _HALF
    at = home(tag, len(table))
    while table[at] != 0:
        if table[at] >> _HALF == tag:
            return int(table[at] & _LOW) - 1
        at = following(at, len(table))
    return -1


@inner_kernel
def slot_of(table: Int64s, rows: Numbers, row: int) -> int:
    """The slot of a row, of those that have the `rows`; -1: it has none."""
    tag = hashed(row) >> _HALF
    at = home(tag, len(table))
    while table[at] != 0:
        slot = int(table[at] & _LOW) - 1
        if table[at] >> _HALF == tag and rows[slot] == row:
            return slot
        at = following(at, len(table))
    return -1


@compiled
def put(table: Int64s, entry: int) -> None:
    """Put an entry into the first place that is free from its home on."""
    at = home(entry >> _HALF, len(table))
    while table[at] != 0:
        at = following(at, len(table))
    table[at] = entry


@compiled
def take_out(table: Int64s, row: int, slot: int) -> None:
    """Take the entry of a row out; later ones of its probe shift back."""
    size = len(table)
    hole = home_of(row, size)
    while table[hole] & _LOW != slot + 1:
        hole = following(hole, size)
    at = following(hole, size)
    while table[at] != 0:
        begin = home(table[at] >> _HALF, size)
        if (at - begin + size) % size >= (at - hole + size) % size:
            table[hole] = table[at]
            hole = at
        at = following(at, size)
    table[hole] = 0


@compiled
def rehash(old: Int64s, table: Int64s) -> None:
    """Put all of `old` into the empty, larger `table`."""
    for entry in old:
        if entry != 0:
            put(table, entry)
