"""The replay of a pool of rows before chunks of a drive, whose victims are packed by next use.

Mini-batches are known ahead. Rows that a mini-batch needs and that are not in the pool come up with
the chunks that they lie in, and with them what else is alive there. What is used last of all
leaves (Belady), rows of the mini-batch never; changed rows go into new chunks in the order of their
next use, so that rows that are needed together come up together. Rows that nobody changed stay
where they lay. Exact, without time; what is used next is a number of a mini-batch, so that rows
wait in a bucket for each.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from simulator._threads import map_threads
from simulator.caches.facts import HIT, LOOKUP, MISS, UNIQUE, BatchFacts, Flow, Start
from simulator.caches.host_cache import FILLED, SPILLED
from simulator.caches.plan.arrays import zeros
from simulator.caches.plan.distinct import DistinctBatch, distinct_batches, pool_shapes
from simulator.caches.plan.ordered import sorted_distinct
from simulator.caches.plan.packing import (
    CHANGED,
    NEXT,
    THERE,
    alive_rows,
    expected,
    leave,
    leaving,
    lie_in,
    look_up,
    order_by_use,
    take_wanted,
)
from simulator.caches.replays.base import Kept, Replay, bases
from simulator.errors import CapacityError
from simulator.traces.base import MiniBatch, Trace

__all__ = ["Moved", "PackedPool", "PackedReplay"]

Int64s = npt.NDArray[np.int64]
Numbers = npt.NDArray[Any]
"""Whole numbers of any size."""
_BLOCK = 1 << 16
"""Rows at a time."""
_NARROW = 2**15
"""Words below it have 16 bits: enough for the mini-batches of most runs."""


@dataclass(frozen=True)
class PackedReplay(Replay):
    """Pools of `capacities` rows, a table each, before chunks of `packed` rows; `past`:
    mini-batches before the first that fill them."""

    capacities: tuple[int, ...]
    packed: tuple[int, ...]
    """Rows of a chunk of each table."""
    past: int = 0
    known: int = 0
    """Mini-batches after the run whose rows are known."""
    keep: Kept = ()
    profile: float = 1.0
    """Share of a file whose lookups say which rows are the hottest: those fill the pool first."""

    @property
    def unforeseen(self) -> str:
        return "whether the pools of its tables hold the rows of each mini-batch"

    @property
    def rehearsal(self) -> PackedReplay:
        return replace(self, past=0, keep=())

    def run(self, trace: Trace, batches: Iterator[MiniBatch], threads: int) -> Iterator[BatchFacts]:
        shapes, starts = pool_shapes(trace.rows, "table"), bases(trace.rows)
        before = self.past if trace.past is None else min(self.past, trace.past)
        pools = [
            PackedPool(rows, self.capacities[table], self.packed[table])
            for table, rows in enumerate(trace.rows)
        ]

        def known(those: Iterable[MiniBatch]) -> list[_Known]:
            deduped = distinct_batches(those, shapes, threads)
            return [_Known.of(batch, pools, self.keep) for batch in deduped]

        past = known(map(trace.minibatch, range(-before, 0)))
        coming = known(batches)
        end = coming[-1].index + 1 if coming else 0
        last = end + self.known if trace.batches is None else min(end + self.known, trace.batches)
        known(map(trace.minibatch, range(end, last)))
        _require_room(pools, range(-before, last))

        def begin(table: int) -> None:
            pools[table].begin()
            if before:
                pools[table].fill(trace.hottest(table, self.capacities[table], self.profile))

        map_threads(begin, len(pools), threads)
        start = Start("planned", before) if before else Start("empty")
        for batch in [*past, *coming]:
            moved = map_threads(lambda table: pools[table].serve(), len(pools), threads)
            if batch.index >= 0:
                yield self._facts(batch, moved, starts, start)

    def _facts(
        self, batch: _Known, moved: Sequence[Moved], starts: Int64s, start: Start
    ) -> BatchFacts:
        flows: dict[str, list[Flow]] = {
            name: [] for name in (LOOKUP, UNIQUE, HIT, MISS, FILLED, SPILLED)
        }
        for table, (own, base) in enumerate(zip(moved, starts.tolist(), strict=True)):
            late, count = int(batch.times[table][own.late].sum()), len(own.late)
            lookups, ids = batch.lookups[table], batch.ids[table]
            flows[LOOKUP].append(Flow(lookups, count, None if ids is None else ids + base))
            unique = None if ids is None else own.wanted.astype(np.int64) + base
            flows[UNIQUE].append(Flow(lookups, count, unique))
            flows[HIT].append(Flow(lookups - late, count - len(own.missed)))
            flows[MISS].append(Flow(late, len(own.missed)))
            for name, rows, chunks in (
                (FILLED, own.filled, own.read),
                (SPILLED, own.spilled, own.written),
            ):
                where = None if ids is None else rows.astype(np.int64) + base
                flows[name].append(Flow(0, len(rows), where, chunks=chunks))
        told = {name: tuple(each) for name, each in flows.items()}
        return BatchFacts(batch.index, batch.samples, told, start)


@dataclass(frozen=True, slots=True)
class _Known:
    """What facts need of a mini-batch beside what its pools move; of each table."""

    index: int
    samples: int
    lookups: tuple[int, ...]
    times: tuple[Numbers, ...]
    """Lookups of each distinct row."""
    ids: Sequence[Int64s | None]
    """Every lookup, where rows are kept."""

    @classmethod
    def of(cls, batch: DistinctBatch, pools: Sequence[PackedPool], keep: Kept) -> _Known:
        """Of a mini-batch whose distinct rows each pool then expects."""
        for pool, own in zip(pools, batch.pools, strict=True):
            pool.expect(own.ids)
        lookups = tuple(map(len, batch.ids))
        number = np.uint16 if max(lookups, default=0) < 2**16 else np.int64
        times = tuple(own.times.astype(number) for own in batch.pools)
        ids = batch.ids if batch.index in keep else (None,) * len(pools)
        return cls(batch.index, batch.samples, lookups, times, ids)


def _require_room(pools: Sequence[PackedPool], numbers: range) -> None:
    """Raise `CapacityError` where a pool does not hold what a mini-batch needs of it."""
    needs = [max(pool.needs, default=0) for pool in pools]
    if all(need <= pool.capacity for need, pool in zip(needs, pools, strict=True)):
        return
    shares = [need / pool.rows for need, pool in zip(needs, pools, strict=True)]
    table = max(range(len(pools)), key=shares.__getitem__)
    need, pool = needs[table], pools[table]
    number = numbers[pool.needs.index(need)]
    which = f"mini-batch {number}" if number >= 0 else f"mini-batch {-number} before the run"
    enough = math.ceil(shares[table] * 10_000) / 10_000
    raise CapacityError(
        f"{which} uses {need:,} distinct rows of table {table}, the largest share of all, but its "
        f"pool has room for {pool.capacity:,} of {pool.rows:,}: set kept to {enough:g} or more, or "
        "lower model.batch_size"
    )


@dataclass(frozen=True, slots=True)
class Moved:
    """What a mini-batch moves: rows that it needed (`wanted`) and those that were not there
    (`late`: which of them those are), all that came up, changed ones that went down, and chunks
    read and written."""

    wanted: Numbers
    late: npt.NDArray[np.bool_]
    missed: Numbers
    filled: Numbers
    spilled: Numbers
    read: int
    written: int


class PackedPool:
    """A pool of `capacity` of `rows` rows before chunks of `packed` rows, at first in their order.

    `expect` all mini-batches, `begin`, then `serve` them one after the other: what is known of one
    is forgotten with that.
    """

    def __init__(self, rows: int, capacity: int, packed: int) -> None:
        self.rows, self.capacity, self.packed = rows, capacity, packed
        self.needs: list[int] = []
        """Distinct rows of each mini-batch."""
        self._row_type = np.int32 if rows < 2**31 else np.int64
        self._uses: list[Numbers] = []
        self._later: list[Numbers] = []
        self._buckets: list[list[Numbers]] = []
        """Rows of the pool by the mini-batch that uses them next; the last: none does."""
        self._held = self._served = 0

    def expect(self, rows: Int64s) -> None:
        """The distinct rows of the next mini-batch that will be served."""
        self._uses.append(rows.astype(self._row_type))
        self.needs.append(len(rows))

    def begin(self) -> None:
        """All mini-batches are known."""
        never, uses = len(self._uses), self._uses
        self._buckets = [[] for _ in range(never + 1)]
        narrow = (never + 1) << NEXT < _NARROW
        self._words = zeros(self.rows, np.int16 if narrow else np.int64)
        self._words[:] = never << NEXT
        self._later = [np.empty(len(rows), np.int16 if narrow else np.int64) for rows in uses]
        for number in reversed(range(never)):
            expected(uses[number], number, self._words, self._later[number])
        most = 2 * (self.rows + sum(self.needs))  # each row that goes down alone in a chunk
        self._chunk = zeros(self.rows, np.int32 if most < 2**31 else np.int64)
        self._old = self._chunks = -(-self.rows // self.packed)
        self._written = np.empty((1024, self.packed), self._row_type)
        for first in range(0, self.rows, _BLOCK):
            last = min(first + _BLOCK, self.rows)
            self._chunk[first:last] = np.arange(first, last) // self.packed

    def fill(self, rows: Int64s) -> None:
        """Rows that the pool has before the first mini-batch, changed ones."""
        self._words[rows] |= THERE | CHANGED
        self._held = len(rows)
        self._put(rows.astype(self._row_type))

    def serve(self) -> Moved:
        """The next mini-batch, whose rows have room in the pool."""
        number, words = self._served, self._words
        self._served += 1
        wanted, later = self._uses[number], self._later[number]
        self._uses[number] = self._later[number] = np.empty(0, self._row_type)
        late, read = np.empty(len(wanted), np.bool_), np.empty(len(wanted), np.int64)
        missed = np.empty(len(wanted), self._row_type)
        count = look_up(wanted, words, self._chunk, late, missed, read)
        missed, read = missed[:count], sorted_distinct(read[:count])
        alive = np.empty(len(read) * self.packed, self._row_type)
        up = alive_rows(read, self._old, self._written, self._chunk, words, alive)
        alive = alive[:up].copy()
        self._buckets[number] = []  # all of them are wanted now
        beside = alive.copy()
        count = take_wanted(wanted, later, words, beside)
        self._put(beside[:count])
        self._held += len(alive)
        spilled = self._evicted(number)
        written = self._write(spilled)
        self._put(wanted)
        return Moved(wanted, late, missed, alive, spilled, len(read), written)

    def _put(self, rows: Numbers) -> None:
        """Rows into the buckets of their next use, in their order."""
        ordered, ends = np.empty_like(rows), np.zeros(len(self._buckets), np.int64)
        order_by_use(rows, self._words, ends, ordered)
        counts = np.diff(ends, prepend=0)
        for use in np.flatnonzero(counts).tolist():
            own = ordered[ends[use] - counts[use] : ends[use]]
            self._buckets[use].append(own.copy())  # a view would keep all of them

    def _evicted(self, number: int) -> Numbers:
        """Makes room: rows that leave, changed ones in the order of their next use. Chunks are
        filled as far as rows can leave."""
        over, gone = self._held - self.capacity, [np.empty(0, self._row_type)]
        changed = 0
        for bucket in reversed(self._buckets[number + 1 :]):
            while bucket and (over > 0 or changed % self.packed):
                rows = bucket.pop()
                count, of_them = leaving(rows, self._words, over, changed, self.packed)
                if count < len(rows):
                    bucket.append(rows[:-count])
                over -= count
                changed += of_them
                gone.append(rows[len(rows) - count :])
        left = np.concatenate(gone[::-1])
        self._held -= len(left)
        return left[: leave(left, self._words)]

    def _write(self, spilled: Numbers) -> int:
        """Packs rows into new chunks; how many."""
        count = -(-len(spilled) // self.packed)
        begin = self._chunks - self._old
        if begin + count > len(self._written):
            larger = np.empty((begin + begin // 2 + count, self.packed), self._row_type)
            larger[:begin] = self._written[:begin]
            self._written = larger
        written = self._written[begin : begin + count].reshape(-1)
        written[: len(spilled)], written[len(spilled) :] = spilled, -1
        lie_in(spilled, self._chunks, self.packed, self._chunk)
        self._chunks += count
        return count
