"""The replay of HET and Herald: mini-batches divided over workers with caches of their own.

HET gives each worker its samples in order; a copy is pulled anew where it is more than `bound`
updates old, and pushed where it has more. Herald gives a sample to the worker that has most of its
rows fresh, and pushes what another worker needs next. Unique rows are those of each worker: hits,
missing and outdated ones together.

`steady`: mini-batches of the past, `PAST` of them at most, are played first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, pairwise

import numpy as np
import numpy.typing as npt

from simulator.caches.facts import (
    HIT,
    LOOKUP,
    MISS,
    UNIQUE,
    BatchFacts,
    Flow,
    Start,
)
from simulator.caches.plan.associative import Algorithm
from simulator.caches.plan.worker_caches import (
    MISSING,
    OUTDATED,
    Dealt,
    Moved,
    Touched,
    WorkerCaches,
)
from simulator.caches.replays.base import Kept, Replay, bases, slots_of_lookups
from simulator.caches.replays.samples import of_trainer
from simulator.traces.base import MiniBatch, Trace

__all__ = ["LEFT", "NEW", "OLD", "PUSHED", "WorkerReplay"]

Int64s = npt.NDArray[np.int64]

NEW = "new"
"""Of a worker: rows that it had no copy of."""
OLD = "old"
"""Of a worker: rows whose copy was outdated."""
LEFT = "left"
"""Of a worker: rows that left its cache with changes that the server lacks."""
PUSHED = "pushed"
"""Of a worker: rows whose changes it pushes once the mini-batch has trained."""
PAST = 32
"""Mini-batches of the past that are played at most."""
EMPTY = Start("empty")


@dataclass(frozen=True)
class WorkerReplay(Replay):
    """Caches of `capacity` rows for each worker, which trains so many of the `samples`.

    A shard a table, all rows of a worker in one pool of slots. `bound`: updates that a copy may
    lack, and that a worker may keep to itself. `allocates`: samples go where their rows are, those
    of the tables `scored` (default: all).
    """

    capacity: int
    samples: tuple[int, ...]
    bound: int = 0
    allocates: bool = False
    prefill: str = "empty"
    keep: Kept = ()
    algorithm: Algorithm = "lru"
    scored: tuple[int, ...] | None = None

    @property
    def slots(self) -> tuple[int, ...]:
        return (self.capacity,)

    @property
    def policy(self) -> str:
        return self.algorithm

    def run(self, trace: Trace, batches: Iterator[MiniBatch], threads: int) -> Iterator[BatchFacts]:
        past = PAST if trace.past is None else min(PAST, trace.past)
        past = 0 if self.prefill == "empty" else past
        caches = WorkerCaches(
            trace.rows,
            len(self.samples),
            self.capacity,
            counts=self.algorithm == "lfu",
            allocates=self.allocates,
            expected=past + 1,
            threads=threads,
        )
        turns = _Turns(self, bases(trace.rows), caches, Start("planned", past) if past else EMPTY)
        before = (trace.minibatch(number) for number in range(-past, 0))
        here: _Turn | None = None
        for batch in chain(before, batches):
            coming = turns.of(batch)
            if here is not None and here.batch.index >= 0:
                yield turns.told(here, coming)
            turns.take(coming)
            here = coming
        if here is not None:
            number = here.batch.index + 1
            ends = trace.batches is not None and number >= trace.batches
            yield turns.told(here, None if ends else turns.of(trace.minibatch(number)))


@dataclass(slots=True)
class _Turn:
    """A mini-batch over workers: what each pushes before it, and once it was trained what each
    found."""

    batch: MiniBatch
    lookups: Dealt
    planned: list[Moved]
    touched: list[Touched] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Turns:
    """Takes the mini-batches of a replay one after the other."""

    replay: WorkerReplay
    starts: Int64s
    """The first row of each table."""
    caches: WorkerCaches
    start: Start

    def of(self, batch: MiniBatch) -> _Turn:
        """A mini-batch and the worker of each of its samples, as caches are now; rows that others
        than their worker need are pushed before it."""
        samples = self.replay.samples
        if not self.replay.allocates:
            owners = np.repeat(np.arange(len(samples), dtype=np.int16), samples)
            return _Turn(batch, self.caches.dealt(batch, owners), [])
        fresh, scored = self.caches.freshest(batch), self.replay.scored
        tables = range(len(batch.ids)) if scored is None else scored
        owners = self.caches.assigned(batch, fresh, tables, samples)
        planned = self.caches.push_planned(batch, fresh, owners)
        return _Turn(batch, self.caches.dealt(batch, owners), planned)

    def take(self, turn: _Turn) -> None:
        """Workers look a mini-batch up and train it."""
        turn.touched = self.caches.train(turn.lookups, self.replay.bound)

    def told(self, turn: _Turn, coming: _Turn | None) -> BatchFacts:
        """The facts of a mini-batch before `coming`, whose plan is pushed with it."""
        batch, workers = turn.batch, range(len(self.replay.samples))
        planned = coming.planned if coming is not None else []
        flows = _Flows(self.starts, batch.index in self.replay.keep)
        each = [
            flows.of_worker(
                turn.lookups, worker, turn.touched[worker], planned[worker : worker + 1]
            )
            for worker in workers
        ]
        told = {LOOKUP: self._lookups(batch)}
        for name in (NEW, OLD, UNIQUE, LEFT, PUSHED, LOOKUP):
            told |= {of_trainer(worker, name): each[worker][name] for worker in workers}
        unique, missed = _summed(each, UNIQUE), _summed(each, NEW, OLD)
        told[UNIQUE] = unique
        told[HIT] = tuple(
            Flow(whole.lookups - miss.lookups, whole.rows - miss.rows)
            for whole, miss in zip(unique, missed, strict=True)
        )
        told[MISS] = missed
        return BatchFacts(batch.index, batch.samples, told, self.start, pooled=True)

    def _lookups(self, batch: MiniBatch) -> tuple[Flow, ...]:
        """Every lookup, a flow a table."""
        keeps = batch.index in self.replay.keep
        return tuple(
            Flow(len(ids), len(ids), ids + start if keeps else None)
            for ids, start in zip(batch.ids, self.starts, strict=True)
        )


@dataclass(frozen=True, slots=True)
class _Flows:
    """Makes flows of what workers do with rows in a mini-batch, a shard a table; with row numbers
    where it `keeps` those."""

    starts: Int64s
    keeps: bool

    def of_worker(
        self, lookups: Dealt, worker: int, own: Touched, planned: Sequence[Moved]
    ) -> dict[str, tuple[Flow, ...]]:
        """All flows of one, by name; rows of the plan are `planned`."""
        found = Moved(own.row, own.slot)
        tables = self._table(own.row)
        told = {}
        for name, kind in ((NEW, MISSING), (OLD, OUTDATED)):
            chosen = own.kind == kind
            told[name] = self._flows(tables[chosen], found.part(chosen), own.times[chosen])
        told[UNIQUE] = self._flows(tables, found, own.times)
        left = Moved(own.left[0], own.left[1].astype(np.int32))
        told[LEFT] = self._flows(self._table(left.row), left)
        moves = [found.part(own.pushed > 0), *planned]
        pushed = Moved(*(np.concatenate(parts) for parts in zip(*moves, strict=True)))
        told[PUSHED] = self._flows(self._table(pushed.row), pushed)
        told[LOOKUP] = self._of_lookups(lookups, worker, found)
        return told

    def _of_lookups(self, lookups: Dealt, worker: int, found: Moved) -> tuple[Flow, ...]:
        counts = lookups.counts[worker].tolist()
        if not self.keeps:
            return tuple(Flow(count, count) for count in counts)
        rows = lookups.of(worker)
        slots = slots_of_lookups(found.row, found.slot.astype(np.int64), rows)
        ends = np.cumsum([0, *counts]).tolist()
        return tuple(Flow(b - a, b - a, rows[a:b], slots[a:b]) for a, b in pairwise(ends))

    def _flows(self, tables: Int64s, moved: Moved, times: Int64s | None = None) -> tuple[Flow, ...]:
        """Rows by table, in their order; `times`: lookups of each, by default none."""
        most = len(self.starts)
        rows = np.bincount(tables, minlength=most).tolist()
        lookups = [0] * most
        if times is not None:
            lookups = np.bincount(tables, times, most).astype(np.int64).tolist()
        if not self.keeps:
            return tuple(Flow(n, count) for n, count in zip(lookups, rows, strict=True))
        order = np.argsort(tables, kind="stable")
        ends = np.cumsum([0, *rows]).tolist()
        parts = [order[a:b] for a, b in pairwise(ends)]
        return tuple(
            Flow(n, len(part), moved.row[part], moved.slot[part].astype(np.int64))
            for n, part in zip(lookups, parts, strict=True)
        )

    def _table(self, rows: Int64s) -> Int64s:
        return np.searchsorted(self.starts, rows, side="right") - 1


def _summed(each: Sequence[dict[str, tuple[Flow, ...]]], *names: str) -> tuple[Flow, ...]:
    """Of all workers, counts alone: a row may lie in several of their caches."""
    by_table = zip(*(own[name] for own in each for name in names), strict=True)
    return tuple(
        Flow(sum(flow.lookups for flow in flows), sum(flow.rows for flow in flows))
        for flows in by_table
    )
