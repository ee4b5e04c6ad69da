"""Slots of Bagpipe's rows: taken and given a clean-up at a time, tables on threads."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise

import numpy as np
import numpy.typing as npt

from simulator._threads import map_threads
from simulator.caches.plan.sizes import HIT_MAP_BYTES, fits
from simulator.caches.plan.slot_stack import DenseSlots, FreeSlots, HashedSlots, TableSlots
from simulator.caches.replays.owned import by_row, rows_of

__all__ = ["PoolSlots"]

Int64s = npt.NDArray[np.int64]
Int32s = npt.NDArray[np.int32]

_NOTHING = np.empty(0, np.int64)


class PoolSlots:
    """One pool of `capacity` slots for tables of `rows` rows each."""

    def __init__(self, rows: Sequence[int], capacity: int, threads: int) -> None:
        self._rows, self._threads = rows, threads
        kind = DenseSlots if fits(sum(rows), HIT_MAP_BYTES) else HashedSlots
        self._tables: list[TableSlots] = [kind(count) for count in rows]
        self.free = FreeSlots(capacity)

    def begin(self, rows: Sequence[Sequence[Int64s]], why: str) -> None:
        """Rows in the first slots, a part after the other, each by table: `rows[part][table]`;
        raises as `FreeSlots.take` does."""
        counts = _counts(rows)
        self._put(rows, self.free.first(sum(counts), why), counts)

    def give(self, packed: Sequence[Sequence[Int64s]]) -> tuple[list[Int64s], Int64s]:
        """Packed rows, in parts by table, `packed[part][table]`, leave their slots in the order of
        rows. The rows so, of each table, and the slots of all, int64."""

        def give(table: int) -> tuple[Int64s, Int32s]:
            rows = self._ordered(packed, table)
            return rows, self._tables[table].take_out(rows_of(rows))

        given = map_threads(give, len(self._tables), self._threads)
        slots = np.concatenate([own for _, own in given])
        self.free.give(slots)
        return [rows for rows, _ in given], slots.astype(np.int64) - 1

    def take(self, packed: Sequence[Sequence[Int64s]], why: str) -> None:
        """A slot for each of the packed rows, a part after the other, each by table:
        `packed[part][table]`; raises as `FreeSlots.take` does."""
        counts = _counts(packed)
        own = self.free.take(sum(counts), why)
        self._put([[rows_of(each) for each in part] for part in packed], own, counts)

    def _put(self, rows: Sequence[Sequence[Int64s]], own: Int32s, counts: Sequence[int]) -> None:
        tables = len(self._tables)
        slots = [own[a:b] for a, b in pairwise(accumulate(counts, initial=0))]

        def put(table: int) -> None:
            mine = _joined(rows, table)
            theirs = np.concatenate([own[:0], *slots[table::tables]])
            self._tables[table].put(mine, theirs)

        map_threads(put, tables, self._threads)

    def in_order(self, packed: Sequence[Sequence[Int64s]]) -> tuple[list[Int64s], Int64s]:
        """The same rows of each table in order, and the slots of all, which they have; int64."""
        rows = [self._ordered(packed, table) for table in range(len(self._tables))]
        return rows, self.of([rows_of(each) for each in rows])

    def _ordered(self, packed: Sequence[Sequence[Int64s]], table: int) -> Int64s:
        return by_row(_joined(packed, table), self._rows[table])

    def of(self, rows: Sequence[Int64s]) -> Int64s:
        """The slots of `rows` of each table, one table after the other, int64; -1: none."""

        def of(table: int) -> Int64s:
            return self._tables[table].of(rows[table])

        return np.concatenate(map_threads(of, len(self._tables), self._threads))


def _joined(rows: Sequence[Sequence[Int64s]], table: int) -> Int64s:
    return np.concatenate([_NOTHING, *(part[table] for part in rows)])


def _counts(rows: Sequence[Sequence[Int64s]]) -> list[int]:
    return [len(each) for part in rows for each in part]
