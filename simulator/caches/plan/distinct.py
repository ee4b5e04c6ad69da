"""The lookups of mini-batches deduped once, for all replays that plan them.

Planners dedupe the lookups that they load; several planners of one trace (a sweep of cache sizes)
load distinct ids instead, with how often each is looked up, and share the index of next uses.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from simulator._compiled import compiled, inner_kernel, inner_on_words, on_words
from simulator._mix import hashed
from simulator._threads import map_threads
from simulator.caches.plan.future import next_uses
from simulator.errors import TraceError, UsageError
from simulator.traces.base import MiniBatch

__all__ = [
    "Deduper",
    "DistinctBatch",
    "DistinctIds",
    "PoolShape",
    "distinct_batches",
    "pool_shapes",
    "with_next_uses",
]

Int64s = npt.NDArray[np.int64]
Int32s = npt.NDArray[np.int32]

_NOT_ASKED = np.empty(0, np.int32)


class PoolShape(NamedTuple):
    """The `rows` of a pool, and where they come from: `bases[k]` + row of its `tables[k]`."""

    rows: int
    tables: tuple[int, ...]
    bases: tuple[int, ...]

    def ids(self, batch: MiniBatch) -> Int64s:
        """The lookups of the pool, table by table, numbered within it; shape (lookups,)."""
        if len(self.tables) == 1:
            return batch.ids[self.tables[0]]
        pairs = zip(self.tables, self.bases, strict=True)
        return np.concatenate([batch.ids[table] + base for table, base in pairs])

    def lookups(self, batch: MiniBatch) -> int:
        """How many there are."""
        return sum(len(batch.ids[table]) for table in self.tables)


def pool_shapes(rows: Sequence[int], scope: str) -> tuple[PoolShape, ...]:
    """One pool a table (`table`), or all tables of `rows` rows in one (`global`)."""
    if scope == "table":
        return tuple(PoolShape(size, (table,), (0,)) for table, size in enumerate(rows))
    if scope == "global":
        bases = tuple(int(base) for base in np.cumsum([0, *rows[:-1]]))
        return (PoolShape(sum(rows), tuple(range(len(rows))), bases),)
    raise UsageError(f"no cache scope {scope!r}; known: table, global")


@dataclass(frozen=True, slots=True)
class DistinctIds:
    """What a mini-batch looks up in a pool: distinct `ids` in order of first occurrence, int64."""

    ids: Int64s
    times: Int64s
    """Lookups of each id."""
    next_use: Int64s | None = None
    """Number of the next batch of the pool that looks each id up, or `policy.NEVER`."""


@dataclass(frozen=True, slots=True)
class DistinctBatch(MiniBatch):
    """A mini-batch with its distinct ids, pool by pool."""

    pools: tuple[DistinctIds, ...]

    @property
    def has_next_uses(self) -> bool:
        return all(pool.next_use is not None for pool in self.pools)


@on_words
def dedupe(
    ids: Int64s, rows: int, table: Int32s, unique: Int64s, times: Int64s, places: Int32s
) -> int:
    """Write the distinct `ids` in order of first occurrence, how often each occurs, and, where
    `places` is not empty, where each of `ids` is among them.

    `unique`, `times`: with room for one more than there are ids. `table`: a power of two of at
    least twice the ids, zero before and after; it holds positions in `unique` + 1. Whether an id is
    new is decided by arithmetic, for a branch would be mispredicted; only where another id has its
    place the table is searched. Returns how many are distinct, or -1 - k where `ids[k]` is outside
    of the rows.
    """
    n = 0
    bad = 0
    for k in range(len(ids)):
        if np.uint64(ids[k]) >= np.uint64(rows):  # below 0 as well: it wraps
            bad = -1 - k
            break
        unique[n], times[n] = ids[k], 0
        at = hashed(ids[k]) & (len(table) - 1)
        place = table[at] - 1
        new = int(place < 0)
        place = n if new else place
        if unique[place] != ids[k]:
            at = search(ids[k], at, unique, table)
            place = table[at] - 1
            new = int(place < 0)
            place = n if new else place
        table[at] = place + 1
        times[place] += 1
        if len(places) > 0:
            places[k] = place
        n += new
    for at in range(len(table)):
        table[at] = 0
    return bad if bad < 0 else n


@inner_on_words
def search(row: int, at: int, unique: Int64s, table: Int32s) -> int:
    """The place of `row` in the table, from `at` on, or the empty one where it would be."""
    while table[at] != 0 and unique[table[at] - 1] != row:
        at = (at + 1) & (len(table) - 1)
    return at


@inner_kernel
def enter(rows: Int64s, table: Int32s) -> None:
    """Write the place of each of distinct `rows`, plus one, to `table`.

    `table`: a power of two of zeros, at least twice as many as the rows.
    """
    mask = len(table) - 1
    for k in range(len(rows)):
        at = hashed(rows[k]) & mask
        while table[at] != 0:
            at = (at + 1) & mask
        table[at] = k + 1


@inner_kernel
def place_of(row: int, rows: Int64s, table: Int32s) -> int:
    """Where `row` is among `rows`, which `table` was made of by `enter`; -1: it is none of them."""
    mask = len(table) - 1
    at = hashed(row) & mask
    while table[at] != 0 and rows[table[at] - 1] != row:
        at = (at + 1) & mask
    return int(table[at]) - 1


@compiled
def write_slots(rows: Int64s, slots: Int64s, ids: Int64s, table: Int32s, found: Int64s) -> bool:
    """Write the slot of each of `ids` to `found`, where `slots[k]` is that of the distinct
    `rows[k]`; False where an id is none of the rows.

    `table`: a power of two of zeros, at least twice as many as the rows.
    """
    enter(rows, table)
    for k in range(len(ids)):
        place = place_of(ids[k], rows, table)
        if place < 0:
            return False
        found[k] = slots[place]
    return True


class Deduper:
    """Dedupes the batches of one pool; keeps a hash table of the largest batch, and room for it,
    which stays in the processor's caches."""

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self._make_room(1)
        self._batches = 0

    def _make_room(self, lookups: int) -> None:
        size = 1 << (2 * lookups - 1).bit_length()
        self._table = np.zeros(size, dtype=np.int32)
        self._room = np.empty((2, size // 2 + 1), dtype=np.int64)

    def __call__(self, ids: Int64s, places: Int32s = _NOT_ASKED) -> DistinctIds:
        """The distinct `ids`, and in `places`, shape (ids,), if given, where each of `ids` is among
        them; `TraceError` for one outside of the pool."""
        ids = np.ascontiguousarray(ids, dtype=np.int64)
        if len(self._table) < 2 * len(ids):
            self._make_room(len(ids))
        if 0 < len(places) < len(ids):
            raise UsageError(f"places of {len(places)} of {len(ids)} ids")
        unique, times = self._room
        table = self._table[: 1 << max(1, (2 * len(ids) - 1).bit_length())]
        n = dedupe(ids, self._rows, table, unique, times, places)
        if n < 0:
            raise TraceError(
                f"batch {self._batches}, lookup {-1 - n}: id {ids[-1 - n]} outside of "
                f"0..{self._rows - 1}"
            )
        self._batches += 1
        return DistinctIds(unique[:n].copy(), times[:n].copy())


def distinct_batches(
    minibatches: Iterable[MiniBatch], shapes: Sequence[PoolShape], threads: int = 1
) -> Iterator[DistinctBatch]:
    """`minibatches`, each deduped pool by pool; `threads` pools at a time."""
    dedupers = [Deduper(shape.rows) for shape in shapes]
    for batch in minibatches:

        def dedupe_pool(p: int, batch: MiniBatch = batch) -> DistinctIds:
            return dedupers[p](shapes[p].ids(batch))

        pools = tuple(map_threads(dedupe_pool, len(shapes), threads))
        yield DistinctBatch(batch.index, batch.ids, batch.offsets, pools, bags=batch.bags)


def with_next_uses(
    batches: Sequence[DistinctBatch], shapes: Sequence[PoolShape], *, first: int = 0
) -> list[DistinctBatch]:
    """`batches`, all there are, with the next use of every id; the first one has number `first`."""
    futures = [
        next_uses([batch.pools[p].ids for batch in batches], shape.rows, first=first)
        for p, shape in enumerate(shapes)
    ]
    return [
        replace(
            batch,
            pools=tuple(
                replace(pool, next_use=future[k])
                for pool, future in zip(batch.pools, futures, strict=True)
            ),
        )
        for k, batch in enumerate(batches)
    ]
