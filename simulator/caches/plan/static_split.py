"""The static cache: a fixed set of hot rows in fast memory; every other row stays where it is.

Hits and misses only: nothing is fetched or evicted, and cold rows are trained on the CPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from simulator._compiled import compiled, prefetch
from simulator._threads import cores, map_threads
from simulator.caches.plan.arrays import zeros
from simulator.caches.plan.distinct import Deduper, DistinctIds
from simulator.caches.plan.sizes import HIT_MAP_BYTES, fits
from simulator.caches.plan.words import AHEAD
from simulator.errors import TraceError, UsageError

__all__ = ["SparseStaticSplit", "SplitBatch", "StaticSplit", "static_splits"]

Int64s = npt.NDArray[np.int64]
Int32s = npt.NDArray[np.int32]

_NOT_DISTINCT = "the hottest rows must be a 1-D array of distinct rows"


@dataclass(frozen=True, slots=True)
class SplitBatch:
    """One mini-batch in one table, split into hot and cold.

    `hot`: bool, shape (lookups,), in the order of the lookups. Unique rows are int64, in order of
    first occurrence; `hot_slots[k]` is the rank of `hot_rows[k]` in the profile.
    """

    lookups: int
    lookup_hits: int
    hot: npt.NDArray[np.bool_]
    hot_rows: Int64s
    hot_slots: Int64s
    cold_rows: Int64s

    @property
    def unique_hits(self) -> int:
        return len(self.hot_rows)

    @property
    def unique_misses(self) -> int:
        return len(self.cold_rows)


@compiled
def rank_rows(ranks: Int32s, hottest: Int64s) -> bool:
    """Write the rank + 1 of each of the `hottest` to `ranks`; False where one occurs twice."""
    for rank in range(len(hottest)):
        if rank + AHEAD < len(hottest):
            prefetch(ranks, hottest[rank + AHEAD])
        if ranks[hottest[rank]] != 0:
            return False
        ranks[hottest[rank]] = rank + 1
    return True


@compiled
def count_hot(ranks: Int32s, ids: Int64s, times: Int64s) -> tuple[int, int]:
    """Lookups of hot rows, and how many of the distinct `ids`, looked up `times` each, are hot."""
    lookups = 0
    rows = 0
    for k in range(len(ids)):
        if k + AHEAD < len(ids):
            prefetch(ranks, ids[k + AHEAD])
        hot = int(ranks[np.uint64(ids[k])] != 0)
        lookups += hot * times[k]
        rows += hot
    return lookups, rows


def _checked(hottest_rows: Int64s, rows: int) -> Int64s:
    """The pinned rows as int64: a list of rows of the table."""
    hottest = np.ascontiguousarray(hottest_rows, dtype=np.int64)
    if hottest.ndim != 1:
        raise UsageError(_NOT_DISTINCT)
    if len(hottest) and (hottest.min() < 0 or hottest.max() >= rows):
        raise TraceError(f"hottest rows outside of 0..{rows - 1}")
    return hottest


class StaticSplit:
    """Splits the batches of one table by `hottest_rows` (hottest first: rank = slot), of `rows`.

    State: 4 bytes a row.
    """

    def __init__(self, hottest_rows: Int64s, rows: int) -> None:
        hottest = _checked(hottest_rows, rows)
        self.capacity = len(hottest)
        self._ranks: Int32s = zeros(rows, np.int32)
        if not rank_rows(self._ranks, hottest):
            raise UsageError(_NOT_DISTINCT)
        self._dedupe = Deduper(rows)

    def split(self, ids: Int64s) -> SplitBatch:
        """Split one batch; ids int64, shape (lookups,). `TraceError` for an id outside."""
        distinct = self._dedupe(ids)
        ranks = self._ranks[distinct.ids]
        hot = ranks != 0
        return SplitBatch(
            len(ids),
            int(distinct.times[hot].sum()),
            self._ranks[ids] != 0,
            distinct.ids[hot],
            ranks[hot].astype(np.int64) - 1,
            distinct.ids[~hot],
        )

    def count(self, distinct: DistinctIds) -> tuple[int, int]:
        """Lookups of hot rows and distinct hot rows of one batch, whose ids are of the table."""
        return count_hot(self._ranks, distinct.ids, distinct.times)


class SparseStaticSplit:
    """`StaticSplit` for tables too large for a word a row: state grows with the pinned rows.

    The same answers, by sorting the ids of a batch and searching the pinned rows.
    """

    def __init__(self, hottest_rows: Int64s, rows: int) -> None:
        hottest = _checked(hottest_rows, rows)
        self.capacity = len(hottest)
        self._rows = rows
        self._rank = np.argsort(hottest, kind="stable")
        self._sorted = hottest[self._rank]
        if np.any(self._sorted[1:] == self._sorted[:-1]):
            raise UsageError(_NOT_DISTINCT)

    def split(self, ids: Int64s) -> SplitBatch:
        """Split one batch; ids int64, shape (lookups,). `TraceError` for an id outside."""
        ids = np.ascontiguousarray(ids, dtype=np.int64)
        bad = np.flatnonzero((ids < 0) | (ids >= self._rows))
        if len(bad):
            raise TraceError(f"lookup {bad[0]}: id {ids[bad[0]]} outside of 0..{self._rows - 1}")
        unique, first, inverse = np.unique(ids, return_index=True, return_inverse=True)
        ranks = np.searchsorted(self._sorted, unique)
        inside = np.minimum(ranks, max(0, self.capacity - 1))
        is_hot = self._is_hot(unique, inside)
        order = np.argsort(first, kind="stable")
        hot_order, cold_order = order[is_hot[order]], order[~is_hot[order]]
        hot = is_hot[inverse]
        slots = self._rank[inside[hot_order]] if self.capacity else hot_order
        return SplitBatch(
            len(ids), int(hot.sum()), hot, unique[hot_order], slots, unique[cold_order]
        )

    def count(self, distinct: DistinctIds) -> tuple[int, int]:
        """Lookups of hot rows and distinct hot rows of one batch, whose ids are of the table."""
        ranks = np.searchsorted(self._sorted, distinct.ids)
        hot = self._is_hot(distinct.ids, np.minimum(ranks, max(0, self.capacity - 1)))
        return int(distinct.times[hot].sum()), int(hot.sum())

    def _is_hot(self, ids: Int64s, ranks: Int64s) -> npt.NDArray[np.bool_]:
        """Which of `ids` are pinned; `ranks`: where they would lie among the pinned rows."""
        if not self.capacity:
            return np.zeros(len(ids), np.bool_)
        return np.asarray(self._sorted[ranks] == ids)


def static_splits(
    hottest: Sequence[Int64s], rows: Sequence[int]
) -> list[StaticSplit | SparseStaticSplit]:
    """One split a table: a word a row while those of all tables fit `HIT_MAP_BYTES`."""
    kind = StaticSplit if fits(sum(rows), HIT_MAP_BYTES) else SparseStaticSplit

    def split(table: int) -> StaticSplit | SparseStaticSplit:
        return kind(hottest[table], rows[table])

    return map_threads(split, len(rows), cores())  # most of it is memory touched first
