"""Slots of a cache by the rows in them: a hash table of 8 bytes an entry that can grow in any step.

Open addressing with linear probing. An entry has a *tag* of its row, 31 bits of its hash or a
bijection of it, above its slot + 1; 0: empty. The home of a row rises with its tag, so that a
larger table is filled from one end to the other, without a look at the rows.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from simulator._compiled import compiled, inner_kernel
from simulator._mix import hashed

__all__ = ["entry_of", "first_like", "hashed_tag", "home", "home_of", "put", "rehash", "slot_of"]
__all__ += ["take_first", "take_out", "with_slot"]

Int64s = npt.NDArray[np.int64]
Numbers = npt.NDArray[Any]

_HALF, _LOW = 32, (1 << 32) - 1
_TAG_BITS = 31


@compiled
def hashed_tag(row: int) -> int:
    """A tag of a row, which others may have too."""
    return hashed(row) >> _HALF


@compiled
def with_slot(tag: int, slot: int) -> int:
    """What stands in a table for a row of that tag in a slot."""
    return tag << _HALF | (slot + 1)


@compiled
def entry_of(row: int, slot: int) -> int:
    """The same for a row with a hashed tag."""
    return with_slot(hashed_tag(row), slot)


@inner_kernel
def home(tag: int, size: int) -> int:
    """Where a row with the tag begins to look in a table of so many places."""
    return (tag * size) >> _TAG_BITS


@compiled
def home_of(row: int, size: int) -> int:
    """Where a row begins to look."""
    return home(hashed_tag(row), size)


@inner_kernel
def following(at: int, size: int) -> int:
    """The place after `at`."""
    return at + 1 if at + 1 < size else 0


@inner_kernel
def first_like(table: Int64s, tag: int) -> int:
    """The slot of the first row with the tag, mostly the only one; -1: none has."""
    at = home(tag, len(table))
    while table[at] != 0:
        if table[at] >> _HALF == tag:
            return int(table[at] & _LOW) - 1
        at = following(at, len(table))
    return -1


@inner_kernel
def slot_of(table: Int64s, rows: Numbers, row: int) -> int:
    """The slot of a row, of those that have the `rows`; -1: it has none."""
    tag = hashed_tag(row)
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


@inner_kernel
def way(begin: int, at: int, size: int) -> int:
    """Places from `begin` on to `at`, around the end."""
    return at - begin if at >= begin else at - begin + size


@inner_kernel
def close(table: Int64s, hole: int) -> None:
    """Empty the place `hole`; later entries of its probe shift back."""
    size = len(table)
    at = following(hole, size)
    while table[at] != 0:
        begin = home(table[at] >> _HALF, size)
        if way(begin, at, size) >= way(hole, at, size):
            table[hole] = table[at]
            hole = at
        at = following(at, size)
    table[hole] = 0


@compiled
def take_out(table: Int64s, tag: int, slot: int) -> None:
    """Take the entry of a tag with a slot out."""
    size = len(table)
    hole = home(tag, size)
    while table[hole] & _LOW != slot + 1:
        hole = following(hole, size)
    close(table, hole)


@inner_kernel
def take_first(table: Int64s, tag: int) -> int:
    """Take the first entry of a tag, which there is, out; returns its slot."""
    size = len(table)
    at = home(tag, size)
    while table[at] >> _HALF != tag or table[at] == 0:
        at = following(at, size)
    slot = int(table[at] & _LOW) - 1
    close(table, at)
    return slot


@compiled
def rehash(old: Int64s, table: Int64s) -> None:
    """Put all of `old` into the empty, larger `table`."""
    for entry in old:
        if entry != 0:
            put(table, entry)
