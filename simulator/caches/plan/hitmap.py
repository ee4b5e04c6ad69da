"""The Hit-Map: from the rows of a pool to the keys that index its state words.

Dense: the key is the row; one word a row, touched pages only (a table of 10 M rows: 40 MB, or 80
where words are wide).
Hashed: exact open addressing (linear probing, deletion by shifting back) from row to an entry. A
row has an entry while it is resident or in the look-ahead window (pinned rows: always), so the
state grows with slots and window, never with lookups, plus one bit a row for "looked up before".
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from simulator._compiled import compiled
from simulator._mix import hashed
from simulator.caches.plan.base import Numbers
from simulator.caches.plan.sizes import SIDE_MAP_BYTES, fits
from simulator.caches.plan.words import (
    PRELOADED,
    WIDE,
    Words,
    last_stamp,
    no_words,
    pinned_bit,
    widened,
)
from simulator.errors import UsageError

__all__ = ["DenseHitMap", "HashHitMap", "HitMap", "side_map"]

Int64s = npt.NDArray[np.int64]
Int32s = npt.NDArray[np.int32]
_MOST_ROWS = 2**31 - 1


class HitMap(Protocol):
    """Rows to keys and back; owns the state words."""

    words: Words
    shift: int
    """Where the stamp begins in `words`; see there."""
    rows: int

    def reach(self, stamp: int) -> None:
        """Make `words` wide if they have no room for `stamp`."""

    def keys(self, ids: Int64s) -> Int64s:
        """Keys of `ids`, entering rows that are not in yet."""

    def rows_of(self, keys: Numbers) -> Numbers:
        """Rows of `keys`."""

    def pin(self, rows: Int64s) -> Int64s:
        """Keys of `rows`, which keep them for good."""

    def forget(self, keys: Numbers) -> None:
        """The rows of `keys` were evicted."""


class DenseHitMap:
    """One word for each row: the key is the row. `shift`: see `plan.words`. Raises `UsageError`
    where rows are more than keys of 32 bits tell apart."""

    def __init__(self, rows: int, shift: int = WIDE) -> None:
        if rows > _MOST_ROWS:
            raise UsageError(f"{rows:,} rows: a dense Hit-Map has at most {_MOST_ROWS:,}")
        self.rows = rows
        self.shift = shift
        self.words = no_words(rows, shift)

    def reach(self, stamp: int) -> None:
        if stamp > last_stamp(self.shift):
            if self.shift == WIDE:
                raise UsageError(f"{stamp:,} mini-batches: a Hit-Map counts {last_stamp(WIDE):,}")
            self.words, self.shift = widened(self.words, self.shift), WIDE

    def keys(self, ids: Int64s) -> Int64s:
        return ids

    def rows_of(self, keys: Numbers) -> Numbers:
        return keys

    def pin(self, rows: Int64s) -> Int64s:
        self.words[rows] |= self.words.dtype.type(pinned_bit(self.shift))
        return rows

    def forget(self, keys: Numbers) -> None:
        """Nothing to do: the word of an evicted row says so."""


class HashArrays(NamedTuple):
    """Open addressing: from rows to entries and back.

    `table`: row + 1 (0: empty), a power of two of them, and `entries` the entry beside it.
    `entry_row`, `words`: row and state word of each entry. `free[: free_count[0]]`: entries that no
    row has. `entered`: a bit a row, set once it had an entry.
    """

    table: Int64s
    entries: Int32s
    entry_row: Int64s
    words: Int64s
    free: Int32s
    free_count: Int64s
    entered: npt.NDArray[np.uint8]


@compiled
def enter(ids: Int64s, start: int, keys: Int64s, arrays: HashArrays, rows: int) -> int:
    """Write the entry of each of `ids[start:]` to `keys`, making those that are new.

    Returns the position where the free entries ran out (continue there with larger arrays),
    `len(ids)` when done, or -1 - position for an id that the pool does not have.
    """
    table, entries, entry_row, words, free, free_count, entered = arrays
    mask = len(table) - 1
    for k in range(start, len(ids)):
        row = ids[k]
        if row < 0 or row >= rows:
            return -1 - k
        at = hashed(row) & mask
        while table[at] != row + 1 and table[at] != 0:
            at = (at + 1) & mask
        if table[at] == 0:
            if free_count[0] == 0:
                return k
            free_count[0] -= 1
            entry = free[free_count[0]]
            table[at] = row + 1
            entries[at] = entry
            entry_row[entry] = row
            bit = 1 << (row & 7)
            words[entry] = PRELOADED << WIDE if entered[row >> 3] & bit else 0
            entered[row >> 3] |= bit
        keys[k] = entries[at]
    return len(ids)


@compiled
def leave(keys: Numbers, arrays: HashArrays) -> None:
    """Take out the entries `keys` unless they are pinned; later ones of a probe shift back."""
    table, entries, entry_row, words, free, free_count, _ = arrays
    mask = len(table) - 1
    for k in range(len(keys)):
        entry = keys[k]
        if words[entry] & pinned_bit(WIDE):
            continue
        words[entry] = 0
        row = entry_row[entry]
        hole = hashed(row) & mask
        while table[hole] != row + 1:
            hole = (hole + 1) & mask
        at = (hole + 1) & mask
        while table[at] != 0:
            home = hashed(table[at] - 1) & mask
            if (at - home) & mask >= (at - hole) & mask:
                table[hole] = table[at]
                entries[hole] = entries[at]
                hole = at
            at = (at + 1) & mask
        table[hole] = 0
        free[free_count[0]] = entry
        free_count[0] += 1


@compiled
def rehash(old: HashArrays, table: Int64s, entries: Int32s) -> None:
    """Put all rows of `old` into the empty, larger `table`."""
    mask = len(table) - 1
    for k in range(len(old.table)):
        if old.table[k] != 0:
            at = hashed(old.table[k] - 1) & mask
            while table[at] != 0:
                at = (at + 1) & mask
            table[at] = old.table[k]
            entries[at] = old.entries[k]


class HashHitMap:
    """Entries for the rows at hand only; `expected` of them fit before anything grows."""

    def __init__(self, rows: int, expected: int = 1024) -> None:
        size = max(16, expected)
        self.rows = rows
        self.shift = WIDE
        self._arrays = HashArrays(
            *_empty_table(size),
            entry_row=np.zeros(size, dtype=np.int64),
            words=np.zeros(size, dtype=np.int64),
            free=np.arange(size - 1, -1, -1, dtype=np.int32),
            free_count=np.array([size], dtype=np.int64),
            entered=np.zeros(rows // 8 + 1, dtype=np.uint8),
        )
        self.words = self._arrays.words

    def _grow(self) -> None:
        """Twice the entries."""
        old, size = self._arrays, len(self.words)
        none = np.zeros(size, dtype=np.int64)
        count = int(old.free_count[0])
        free = np.empty(2 * size, dtype=np.int32)
        free[:count] = old.free[:count]
        free[count : count + size] = np.arange(2 * size - 1, size - 1, -1, dtype=np.int32)
        table, entries = _empty_table(2 * size)
        rehash(old, table, entries)
        self._arrays = HashArrays(
            table,
            entries,
            entry_row=np.concatenate([old.entry_row, none]),
            words=np.concatenate([old.words, none]),
            free=free,
            free_count=old.free_count + size,
            entered=old.entered,
        )
        self.words = self._arrays.words

    def reach(self, stamp: int) -> None:
        """Nothing to do: words are wide."""

    def keys(self, ids: Int64s) -> Int64s:
        keys = np.empty(len(ids), dtype=np.int64)
        done = 0
        while True:
            done = enter(ids, done, keys, self._arrays, self.rows)
            if done == len(ids):
                return keys
            if done < 0:
                keys[-1 - done] = -1  # the load kernel meets it and reports its position
                return keys[:-done]
            self._grow()

    def rows_of(self, keys: Numbers) -> Numbers:
        return np.asarray(self._arrays.entry_row[keys])

    def pin(self, rows: Int64s) -> Int64s:
        keys = self.keys(rows)
        self.words[keys] |= pinned_bit(WIDE)
        return keys

    def forget(self, keys: Numbers) -> None:
        leave(keys, self._arrays)


def _empty_table(size: int) -> tuple[Int64s, Int32s]:
    """Table and entries for `size` rows, at most two thirds full."""
    slots = 1 << (size * 3 // 2).bit_length()
    return np.zeros(slots, dtype=np.int64), np.zeros(slots, dtype=np.int32)


def side_map(rows: int, expected: int = 1024) -> HitMap:
    """A map beside a pool's Hit-Map: a word a row where that is small, else an entry a row at hand.

    `expected` entries fit before a hashed one grows.
    """
    return DenseHitMap(rows) if fits(rows, SIDE_MAP_BYTES) else HashHitMap(rows, expected)
