"""Caches of several workers over the same rows, with versions: what HET and Herald keep.

Each worker has a cache of its own, LRU or LFU (fewest mini-batches since the row came in, then the
oldest). A server counts the updates of each row that reached it (its *version*); a copy has the
version that it came with and the updates that its worker made since. All rows of a mini-batch are
looked for before the first victim is chosen, so that none of them is one.

Workers take a mini-batch beside each other, on threads: they read versions and write to their own
copies; what they push is added once all are done. A worker finds its copies by a hash of the row
and keeps 16 bytes of each, or 12 where samples are allocated; the order of uses is sorted out once
a cache is full, and again when all of it has been gone through. A version takes 16 bits while that
is enough for all updates that there were. Where samples are allocated no copy may lack any, so that
whether a version changed is all that is asked: the number of the mini-batch that changed it last
stands for it, in 8 bits while that is enough. While the copy of one worker alone is fresh nobody
asks even that, and the worker's number stands there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from simulator._threads import map_threads
from simulator.caches.plan import worker_kernels as kernels
from simulator.caches.plan.arrays import zeros
from simulator.caches.plan.distinct import Deduper
from simulator.caches.plan.slot_table import rehash
from simulator.caches.plan.worker_kernels import (
    HIT_COPY,
    MISSING,
    OUTDATED,
    UPDATES,
    USED,
    Copies,
    Rules,
    Touched,
)
from simulator.errors import CapacityError, UsageError
from simulator.traces.base import MiniBatch

__all__ = ["HIT_COPY", "MISSING", "OUTDATED", "Dealt", "Moved", "Touched", "WorkerCaches"]

Int64s = npt.NDArray[np.int64]
Int32s = npt.NDArray[np.int32]
Int16s = npt.NDArray[np.int16]
Numbers = npt.NDArray[Any]

_FIRST = 1024
"""Places of a worker's table, and lists of uses, at first."""
_FULL = 0.8
"""Share of the places of a table that may be taken."""
_GROWTH = 1.5
"""Times the places that it had; as much is copied twice at most."""
_LAST_USE = 2**31 - 1
"""That a record can note."""
_NARROW: dict[Any, int] = {np.dtype(kind): np.iinfo(kind).max for kind in (np.int8, np.int16)}
"""The highest version of so many bits."""
_WIDER: dict[Any, Any] = {np.dtype(np.int8): np.int16, np.dtype(np.int16): np.int32}
"""What follows them."""


class Moved(NamedTuple):
    """Rows (over all tables) of one worker, and their slots in its cache."""

    row: Int64s
    slot: Int32s

    def part(self, chosen: npt.NDArray[Any]) -> Moved:
        """Some of them."""
        return Moved(self.row[chosen], self.slot[chosen])


class Dealt(NamedTuple):
    """Lookups of a mini-batch by worker: rows over all tables, one worker after the other, table by
    table, in the order of its samples; `counts`: how many, shape (workers, tables)."""

    rows: Int64s
    counts: Int64s

    def of(self, worker: int) -> Int64s:
        """The lookups of one worker."""
        ends = np.cumsum(self.counts.sum(axis=1))
        return self.rows[ends[worker] - self.counts[worker].sum() : ends[worker]]

    def most(self, rows: int) -> int:
        """Slots that hold what any worker looks up, of tables with so many rows in all."""
        return min(int(self.counts.sum(axis=1).max()), rows)


@dataclass(slots=True)
class _Worker:
    """The cache of one worker, and how far its uses were counted and its slots taken."""

    copies: Copies
    dedupe: Deduper
    clock: int = 0
    taken: int = 0
    queue: Int32s = field(default_factory=lambda: np.empty(0, np.int32))
    """Its slots in the order of uses, when that was sorted out last."""
    head: int = 0
    sorted_at: int = 0


class WorkerCaches:
    """Caches of `slots` rows for each of `workers`, empty at first, of tables with so many `rows`.

    `counts`: LFU, not LRU. `allocates`: samples go where their rows are fresh, and rows that
    several workers train are pushed. `expected`: mini-batches that there is room for at first.
    """

    def __init__(
        self,
        rows: Sequence[int],
        workers: int,
        slots: int,
        *,
        counts: bool = False,
        allocates: bool = False,
        expected: int = 1,
        threads: int = 1,
    ) -> None:
        self.slots, self._threads, self._expected = slots, threads, expected
        self._counts, self._allocates = counts, allocates
        self._bases = np.cumsum([0, *rows[:-1]], dtype=np.int64)
        self._total = total = sum(rows)
        narrow = allocates and kernels.held_by(workers) >= np.iinfo(np.int8).min
        self._version: Numbers = zeros(total, np.int8 if narrow else np.int16)
        """Updates of each row that reached the server; where samples are allocated, when the last
        ones did, or which worker holds it (`held_by`)."""
        number = np.int32 if total < 2**31 else np.int64
        lists, fields = _FIRST if counts else 1, UPDATES if allocates else UPDATES + 1
        self._workers = [
            _Worker(
                Copies(
                    zeros(_FIRST),
                    zeros(fields * slots, number).reshape(slots, fields),
                    zeros(4 * slots if counts else 4, np.int32).reshape(-1, 4),
                    np.full((lists, 2), -1, np.int32),
                ),
                Deduper(total),
            )
            for _ in range(workers)
        ]
        self._now = 0

    def dealt(self, batch: MiniBatch, owners: Int16s) -> Dealt:
        """The lookups of a mini-batch, each sample at its owner."""
        workers = len(self._workers)
        counts = np.empty((workers, len(batch.ids)), np.int64)
        for table, edges in enumerate(batch.offsets):
            counts[:, table] = np.bincount(owners, np.diff(edges), workers)
        ends = np.cumsum(counts).reshape(counts.shape) - counts
        rows = np.empty(batch.lookups, np.int64)

        def deal(table: int) -> None:
            ids, edges, own = batch.ids[table], batch.offsets[table], ends[:, table].copy()
            kernels.deal(ids, int(self._bases[table]), edges, owners, own, rows)

        map_threads(deal, len(batch.ids), self._threads)
        return Dealt(rows, counts)

    def train(self, dealt: Dealt, bound: int) -> list[Touched]:
        """All workers look their rows up, get those that are missing or more than `bound` updates
        old, and train them; then rows go to the server: those with more than `bound` updates, or
        where samples are allocated those that several workers trained. Told worker by worker.

        Raises `CapacityError` where a worker has less slots than rows, `UsageError` for a bound
        where samples are allocated.
        """
        if bound and self._allocates:
            raise UsageError(f"a bound of {bound} where samples are allocated: 0 is what that has")
        self._now += 1
        version = self._version
        highest = self._now * (1 if self._allocates else len(self._workers))
        if highest > _NARROW.get(version.dtype, highest):
            self._version = version.astype(_WIDER[version.dtype])
        most = 2**31 - 1 if self._allocates else bound

        def touch(number: int) -> Touched:
            rules = Rules(number, bound, most, self._counts, self._allocates)
            return self._touch(rules, dealt)

        told = map_threads(touch, len(self._workers), self._threads)
        if self._allocates:
            self._push_shared(told)
        for each in told:
            self._arrive(each.left[0], each.left[2])
            pushed = each.pushed > 0
            if pushed.any():
                self._arrive(each.row[pushed], each.pushed[pushed])
        return told

    def _arrive(self, rows: Int64s, updates: Numbers) -> None:
        """The server gets `updates` of rows, one or more of each."""
        if self._allocates:
            kernels.stamp(self._version, rows, self._now)
        else:
            kernels.add(self._version, rows, updates)

    def freshest(self, batch: MiniBatch) -> list[Numbers]:
        """Of each lookup, table by table, the worker whose copy alone is fresh, from 1 on; 0:
        nobody's."""
        version = self._version

        def ask(table: int) -> Numbers:
            found = np.empty(len(batch.ids[table]), version.dtype)
            kernels.freshest(batch.ids[table], int(self._bases[table]), version, found)
            return found

        return map_threads(ask, len(batch.ids), self._threads)

    def assigned(
        self, batch: MiniBatch, fresh: Sequence[Numbers], tables: Sequence[int], room: Sequence[int]
    ) -> Int16s:
        """The worker of each sample: of those that have room the one with most of its rows of
        `tables`."""
        workers = len(self._workers)
        scores = np.zeros((batch.samples, workers), np.int32)
        for table in tables:
            kernels.score(fresh[table], batch.offsets[table], scores)
        owners = np.empty(batch.samples, np.int16)
        kernels.assign(scores, np.array(room, np.int64), batch.index % workers, owners)
        return owners

    def push_planned(
        self, batch: MiniBatch, fresh: Sequence[Numbers], owners: Int16s
    ) -> list[Moved]:
        """Rows that are fresh at one worker, and that another looks up in the coming mini-batch, go
        to the server; told worker by worker."""

        def plan(table: int) -> Int64s:
            ids, edges, base = batch.ids[table], batch.offsets[table], int(self._bases[table])
            found = np.empty((2, len(ids)), np.int64)
            count = kernels.planned(ids, base, edges, owners, fresh[table], self._version, found)
            return found[:, :count]

        parts = map_threads(plan, len(batch.ids), self._threads)

        def push(number: int) -> Moved:
            rows = np.concatenate([rows[held == number] for held, rows in parts])
            slots = np.empty(len(rows), np.int32)
            kernels.find(rows, self._workers[number].copies, slots)
            kernels.stamp(self._version, rows, self._now)  # nobody else holds them
            return Moved(rows, slots)

        return map_threads(push, len(self._workers), self._threads)

    def _touch(self, rules: Rules, dealt: Dealt) -> Touched:
        """What one worker does.

        Raises `CapacityError` where it has less slots than rows.
        """
        worker = self._workers[rules.worker]
        unique = worker.dedupe(dealt.of(rules.worker))
        rows, count = unique.ids, len(unique.ids)
        self._make_room(worker, count)
        slots, pushed = np.empty((2, count), np.int32)
        kernels.find(rows, worker.copies, slots)
        out = Touched(rows, unique.times, slots, np.empty(count, np.int8), pushed, _NOTHING)
        begin = worker.clock
        there = kernels.look_up(begin, rules, self._version, worker.copies, out)
        missing, free = count - there, self.slots - worker.taken
        victims = np.empty(max(0, missing - free), np.int32)
        if len(victims):
            if self._choose(worker, begin, victims) < len(victims):
                raise CapacityError(
                    f"worker {rules.worker} looks up {count:,} rows in a mini-batch, but its cache "
                    f"has {self.slots:,} slots: set cache.rows to at least "
                    f"{dealt.most(self._total)} (as many as a worker has lookups), or lower "
                    "model.batch_size"
                )
            out = out._replace(left=np.empty((3, len(victims)), np.int64))
        left = kernels.bring(
            begin + there, worker.taken, rules, self._version, worker.copies, victims, out
        )
        worker.clock += count
        worker.taken += min(missing, free)
        return out._replace(left=out.left[:, :left])

    def _choose(self, worker: _Worker, begin: int, victims: Int32s) -> int:
        """Fills in slots of rows that leave; those that were used from `begin` on do not. How many
        there are."""
        records = worker.copies.records
        if self._counts:
            return int(kernels.choose_fewest(begin, worker.copies, victims))
        got, last = 0, False
        while got < len(victims) and not last:
            last = worker.head == len(worker.queue)
            if last:
                _sort_uses(worker, begin)
            worker.head, got = kernels.choose_oldest(
                worker.queue, worker.head, (worker.sorted_at, begin), records, victims, got
            )
        return int(got)

    def _make_room(self, worker: _Worker, more: int) -> None:
        """Room for rows and for a use more of each; uses are counted anew where they are many."""
        table, records, links, ends = worker.copies
        if self._counts and self._now + 2 >= len(ends):
            ends = np.concatenate([ends, np.full(ends.shape, -1, np.int32)])
        if min(worker.taken + more, self.slots) > _FULL * len(table):
            expected = worker.taken + more * (1 if worker.taken else self._expected)
            least = int(min(expected, self.slots) / _FULL) + 2
            larger = zeros(max(int(_GROWTH * len(table)), least))
            rehash(table, larger)
            table = larger
        worker.copies = Copies(table, records, links, ends)
        if worker.clock + more > _LAST_USE:
            _sort_uses(worker, worker.clock)
            records[worker.queue, USED] = np.arange(worker.taken)
            worker.clock = worker.sorted_at = worker.taken

    def _push_shared(self, told: Sequence[Touched]) -> None:
        """Rows that several workers trained go to the server; of others one has the fresh copy."""
        version = self._version
        for number, each in enumerate(told):
            kernels.mark(each.row, number, version)

        def push(number: int) -> None:
            kernels.push_shared(told[number].row, version, told[number].pushed)

        map_threads(push, len(told), self._threads)


_NOTHING = np.empty((3, 0), np.int64)


def _sort_uses(worker: _Worker, begin: int) -> None:
    """The slots in the order of their uses, those that were used from `begin` on left out."""
    used = worker.copies.records[: worker.taken, USED]
    order = np.argsort(used).astype(np.int32)
    worker.queue, worker.head = order[: int((used < begin).sum())], 0
    worker.sorted_at = begin
