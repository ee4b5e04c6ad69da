"""Ids of any size, numbered densely in order of first occurrence, in a stream."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from simulator._compiled import compiled, prefetch
from simulator._mix import hashed
from simulator.caches.plan.arrays import zeros
from simulator.caches.plan.words import AHEAD

__all__ = ["Numbering"]

Int64s = npt.NDArray[np.int64]


@compiled
def number(
    ids: Int64s, start: int, dense: Int64s, table: Int64s, numbers: Int64s, distinct: Int64s
) -> int:
    """Write the numbers of `ids[start:]` to `dense`.

    `numbers` holds number + 1 beside each id of `table` (0: empty). `distinct`: [ids so far],
    updated. Returns how far it came before the table was half full.
    """
    mask = len(table) - 1
    for k in range(start, len(ids)):
        if k + AHEAD < len(ids):
            coming = hashed(ids[k + AHEAD]) & mask
            prefetch(table, coming)
            prefetch(numbers, coming)
        at = hashed(ids[k]) & mask
        while numbers[at] != 0 and table[at] != ids[k]:
            at = (at + 1) & mask
        if numbers[at] == 0:
            if 2 * distinct[0] >= len(table):
                return k
            distinct[0] += 1
            table[at] = ids[k]
            numbers[at] = distinct[0]
        dense[k] = numbers[at] - 1
    return len(ids)


@compiled
def refill(old: Int64s, old_numbers: Int64s, table: Int64s, numbers: Int64s) -> None:
    """Put all of `old` into the empty, larger `table`."""
    mask = len(table) - 1
    for k in range(len(old)):
        if old_numbers[k] != 0:
            at = hashed(old[k]) & mask
            while numbers[at] != 0:
                at = (at + 1) & mask
            table[at] = old[k]
            numbers[at] = old_numbers[k]


class Numbering:
    """Gives each new id the next number from 0. State: 32 to 64 bytes a distinct id.

    `expected` distinct ids fit before anything grows.
    """

    def __init__(self, expected: int = 1 << 11) -> None:
        size = 1 << max(1, (2 * expected - 1).bit_length())
        self._distinct = np.zeros(1, dtype=np.int64)
        self._table, self._numbers = zeros(size), zeros(size)

    @property
    def distinct(self) -> int:
        """Distinct ids so far."""
        return int(self._distinct[0])

    def of(self, ids: Int64s) -> Int64s:
        """Numbers of `ids` (not negative); int64, shape (ids,)."""
        dense = np.empty(len(ids), dtype=np.int64)
        done = 0
        while True:
            done = number(ids, done, dense, self._table, self._numbers, self._distinct)
            if done == len(ids):
                return dense
            self._double()

    def _double(self) -> None:
        table, numbers = zeros(2 * len(self._table)), zeros(2 * len(self._table))
        refill(self._table, self._numbers, table, numbers)
        self._table, self._numbers = table, numbers
