"""The static cache: a fixed set of hot rows in fast memory; every other row stays where it is.

Hits and misses only: nothing is fetched or evicted, and cold rows are trained on the CPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from simulator._compiled import compiled
from simulator.caches.plan.arrays import zeros
from simulator.caches.plan.sizes import HIT_MAP_BYTES, fits
from simulator.errors import TraceError, UsageError

__all__ = ["SparseStaticSplit", "SplitBatch", "StaticSplit", "static_splits"]

Int64s = npt.NDArray[np.int64]

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
def split_lookups(
    state: Int64s,
    ids: Int64s,
    stamp: int,
    hot: npt.NDArray[np.bool_],
    hot_rows: Int64s,
    hot_slots: Int64s,
    cold_rows: Int64s,
    counts: Int64s,
) -> int:
    """`state[row]`: rank + 1 (0: cold) in the low, last stamp in the high 32 bits.

    `counts`: [lookup hits, unique hot, unique cold]. Returns the position of a bad id, or -1.
    """
    rows = len(state)
    hits = 0
    h = 0
    c = 0
    for k in range(len(ids)):
        row = ids[k]
        if row < 0 or row >= rows:
            return k
        word = state[row]
        rank = word & 0xFFFFFFFF
        fresh = word >> 32 != stamp
        hot[k] = rank != 0
        hits += rank != 0
        if fresh:
            if rank != 0:
                hot_rows[h] = row
                hot_slots[h] = rank - 1
                h += 1
            else:
                cold_rows[c] = row
                c += 1
            state[row] = rank | (stamp << 32)
    counts[0] = hits
    counts[1] = h
    counts[2] = c
    return -1


@compiled
def rank_rows(state: Int64s, hottest: Int64s) -> bool:
    """Write the rank of each of the `hottest` to `state`; False where one occurs twice."""
    for rank in range(len(hottest)):
        if state[hottest[rank]] != 0:
            return False
        state[hottest[rank]] = rank + 1
    return True


def _checked(hottest_rows: Int64s, rows: int) -> Int64s:
    """The pinned rows as int64: a list of rows of the table."""
    hottest = np.ascontiguousarray(hottest_rows, dtype=np.int64)
    if hottest.ndim != 1:
        raise UsageError(_NOT_DISTINCT)
    if len(hottest) and (hottest.min() < 0 or hottest.max() >= rows):
        raise TraceError(f"hottest rows outside of 0..{rows - 1}")
    return hottest


class StaticSplit:
    """Splits the batches of one table by `hottest_rows` (hottest first: rank = slot), of `rows`."""

    def __init__(self, hottest_rows: Int64s, rows: int) -> None:
        hottest = _checked(hottest_rows, rows)
        self.capacity = len(hottest)
        self._state = zeros(rows)
        if not rank_rows(self._state, hottest):
            raise UsageError(_NOT_DISTINCT)
        self._stamp = 0

    def split(self, ids: Int64s) -> SplitBatch:
        """Split one batch; ids int64, shape (lookups,). `TraceError` for an id outside."""
        ids = np.ascontiguousarray(ids, dtype=np.int64)
        self._stamp += 1
        n = len(ids)
        hot = np.empty(n, dtype=np.bool_)
        hot_rows, hot_slots, cold_rows = (np.empty(n, dtype=np.int64) for _ in range(3))
        counts = np.zeros(3, dtype=np.int64)
        bad = split_lookups(
            self._state, ids, self._stamp, hot, hot_rows, hot_slots, cold_rows, counts
        )
        if bad >= 0:
            raise TraceError(f"lookup {bad}: id {ids[bad]} outside of 0..{len(self._state) - 1}")
        hits, h, c = (int(count) for count in counts)
        return SplitBatch(n, hits, hot, hot_rows[:h], hot_slots[:h], cold_rows[:c])


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
        is_hot = np.zeros(len(unique), np.bool_)
        if self.capacity:
            is_hot = self._sorted[inside] == unique
        order = np.argsort(first, kind="stable")
        hot_order, cold_order = order[is_hot[order]], order[~is_hot[order]]
        hot = is_hot[inverse]
        slots = self._rank[inside[hot_order]] if self.capacity else hot_order
        return SplitBatch(
            len(ids), int(hot.sum()), hot, unique[hot_order], slots, unique[cold_order]
        )


def static_splits(
    hottest: Sequence[Int64s], rows: Sequence[int]
) -> list[StaticSplit | SparseStaticSplit]:
    """One split a table: a word a row while those of all tables fit `HIT_MAP_BYTES`."""
    kind = StaticSplit if fits(sum(rows), HIT_MAP_BYTES) else SparseStaticSplit
    return [kind(hot, size) for hot, size in zip(hottest, rows, strict=True)]
