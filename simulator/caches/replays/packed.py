"""The replay of a pool of rows before chunks of a drive, whose victims are packed by next use.

Mini-batches are known ahead. Rows that a mini-batch needs and that are not in the pool come up with
the chunks that they lie in, and with them what else is alive there. What is used last of all
leaves (Belady), rows of the mini-batch never; changed rows go into new chunks in the order of their
next use, so that rows that are needed together come up together. Rows that nobody changed stay
where they lay. Exact, without time; what is used next is a number of a mini-batch, so that rows
wait in a bucket for each.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from simulator.caches.facts import HIT, LOOKUP, MISS, UNIQUE, BatchFacts, Flow, Start
from simulator.caches.host_cache import FILLED, SPILLED
from simulator.caches.plan.distinct import DistinctBatch, distinct_batches, pool_shapes
from simulator.caches.plan.future import next_uses
from simulator.caches.plan.ordered import sorted_distinct
from simulator.caches.plan.packing import (
    alive_rows,
    leaving,
    look_up,
    order_by_use,
    take_wanted,
)
from simulator.caches.replays.base import Kept, Replay, bases
from simulator.errors import CapacityError
from simulator.traces.base import MiniBatch, Trace

__all__ = ["Moved", "PackedPool", "PackedReplay"]

Int64s = npt.NDArray[np.int64]


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
        numbers = range(-before, 0)
        coming = list(distinct_batches(batches, shapes, threads))
        end = coming[-1].index + 1 if coming else 0
        last = end + self.known if trace.batches is None else min(end + self.known, trace.batches)
        past, later = (
            list(distinct_batches(map(trace.minibatch, those), shapes, threads))
            for those in (numbers, range(end, last))
        )
        known = [*past, *coming, *later]
        pools = []
        for table, rows in enumerate(trace.rows):
            uses = [batch.pools[table].ids for batch in known]
            pool = PackedPool(rows, self.capacities[table], self.packed[table])
            pool.expect(uses, next_uses(uses, rows))
            if before:
                pool.fill(trace.hottest(table, self.capacities[table], self.profile))
            pools.append(pool)
        start = Start("planned", before) if before else Start("empty")
        for number, batch in enumerate(known[: before + len(coming)]):
            moved = [pool.serve(number) for pool in pools]
            if number >= before:
                yield self._facts(batch, moved, starts, start)

    def _facts(
        self, batch: DistinctBatch, moved: Sequence[Moved], starts: Int64s, start: Start
    ) -> BatchFacts:
        kept = batch.index in self.keep
        flows: dict[str, list[Flow]] = {
            name: [] for name in (LOOKUP, UNIQUE, HIT, MISS, FILLED, SPILLED)
        }
        for table, (own, base) in enumerate(zip(moved, starts.tolist(), strict=True)):
            pool, ids = batch.pools[table], batch.ids[table]
            late, count = int(pool.times[own.late].sum()), len(pool.ids)
            whole = Flow(len(ids), count, ids + base if kept else None)
            flows[LOOKUP].append(whole)
            flows[UNIQUE].append(Flow(len(ids), count, pool.ids + base if kept else None))
            flows[HIT].append(Flow(len(ids) - late, count - len(own.missed)))
            flows[MISS].append(Flow(late, len(own.missed)))
            for name, rows, chunks in (
                (FILLED, own.filled, own.read),
                (SPILLED, own.spilled, own.written),
            ):
                where = rows + base if kept else None
                flows[name].append(Flow(0, len(rows), where, chunks=chunks))
        told = {name: tuple(each) for name, each in flows.items()}
        return BatchFacts(batch.index, batch.samples, told, start)


@dataclass(frozen=True, slots=True)
class Moved:
    """What a mini-batch moves: rows that it needed and were not there (`late`: which of its rows
    those are), all that came up, changed ones that went down, and chunks read and written."""

    late: npt.NDArray[np.bool_]
    missed: Int64s
    filled: Int64s
    spilled: Int64s
    read: int
    written: int


@dataclass
class PackedPool:
    """A pool of `capacity` of `rows` rows before chunks of `packed` rows, at first in their order.

    `expect` all mini-batches, then `serve` them one after the other.
    """

    rows: int
    capacity: int
    packed: int
    _uses: Sequence[Int64s] = ()
    _later: Sequence[Int64s] = ()
    _buckets: list[list[Int64s]] = field(default_factory=list)
    """Rows of the pool by the mini-batch that uses them next; the last: none does."""
    _held: int = 0

    def expect(self, uses: Sequence[Int64s], later: Sequence[Int64s]) -> None:
        """Distinct rows of all mini-batches, and the number of the one that uses each next."""
        self._uses, self._later = uses, later
        self._buckets = [[] for _ in range(len(uses) + 1)]
        self._there = np.zeros(self.rows, np.bool_)
        self._changed = np.zeros(self.rows, np.bool_)
        most = 2 * (self.rows + sum(map(len, uses)))  # each row that goes down alone in a chunk
        chunk_type = np.int32 if most < 2**31 else np.int64
        self._chunk = np.arange(self.rows, dtype=chunk_type) // self.packed
        self._old = self._chunks = -(-self.rows // self.packed)
        self._written = np.full((1024, self.packed), -1, np.int64)
        # sorted in the fewest passes, for as many mini-batches as most runs have
        number_type = np.int16 if len(uses) < 2**15 else np.int64
        self._upcoming = np.full(self.rows, len(uses), number_type)
        for number in range(len(uses) - 1, -1, -1):
            self._upcoming[uses[number]] = number

    def fill(self, rows: Int64s) -> None:
        """Rows that the pool has before the first mini-batch, changed ones."""
        self._there[rows] = self._changed[rows] = True
        self._held = len(rows)
        self._put(rows)

    def serve(self, number: int) -> Moved:
        """The next mini-batch; `CapacityError` where its rows do not fit."""
        wanted, never = self._uses[number], len(self._uses)
        if len(wanted) > self.capacity:
            raise CapacityError(
                f"mini-batch {number} uses {len(wanted):,} distinct rows of a table, but its pool "
                f"has room for {self.capacity:,} of {self.rows:,}: raise kept"
            )
        late, missed, read = np.empty(len(wanted), np.bool_), *np.empty((2, len(wanted)), np.int64)
        count = look_up(wanted, self._there, self._chunk, late, missed, read)
        missed, read = missed[:count], sorted_distinct(read[:count])
        alive = np.empty(len(read) * self.packed, np.int64)
        up = alive_rows(read, self._old, self._written, self._chunk, self._there, alive)
        alive = alive[:up].copy()
        self._buckets[number] = []  # all of them are wanted now
        beside = alive.copy()
        count = take_wanted(wanted, self._later[number], never, self._upcoming, beside, self._there)
        self._put(beside[:count])
        self._held += len(alive)
        spilled = self._evicted(number)
        written = self._write(spilled)
        self._changed[wanted] = True
        self._put(wanted)
        return Moved(late, missed, alive, spilled, len(read), written)

    def _put(self, rows: Int64s) -> None:
        """Rows into the buckets of their next use, in their order."""
        ordered, ends = np.empty(len(rows), np.int64), np.zeros(len(self._buckets), np.int64)
        order_by_use(rows, self._upcoming, ends, ordered)
        counts = np.diff(ends, prepend=0)
        for use in np.flatnonzero(counts).tolist():
            self._buckets[use].append(ordered[ends[use] - counts[use] : ends[use]])

    def _evicted(self, number: int) -> Int64s:
        """Makes room: rows that leave, changed ones in the order of their next use. Chunks are
        filled as far as rows can leave."""
        over, gone = self._held - self.capacity, [np.empty(0, np.int64)]
        changed = 0
        for bucket in reversed(self._buckets[number + 1 :]):
            while bucket and (over > 0 or changed % self.packed):
                rows = bucket.pop()
                count, of_them = leaving(rows, self._changed, over, changed, self.packed)
                if count < len(rows):
                    bucket.append(rows[:-count])
                over -= count
                changed += of_them
                gone.append(rows[len(rows) - count :])
        left = np.concatenate(gone[::-1])
        self._held -= len(left)
        self._there[left] = False
        spilled = left[self._changed[left]]
        self._changed[spilled] = False
        return spilled

    def _write(self, spilled: Int64s) -> int:
        """Packs rows into new chunks; how many."""
        count = -(-len(spilled) // self.packed)
        begin = self._chunks - self._old
        if begin + count > len(self._written):
            more = np.full((len(self._written) + count, self.packed), -1, np.int64)
            self._written = np.concatenate([self._written, more])
        self._written[begin : begin + count].reshape(-1)[: len(spilled)] = spilled
        self._chunk[spilled] = self._chunks + np.arange(len(spilled)) // self.packed
        self._chunks += count
        return count
