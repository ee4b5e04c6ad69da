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
    Lookups,
    Moved,
    Touched,
    WorkerCaches,
)
from simulator.caches.replays.base import Kept, Replay, bases, joined
from simulator.caches.replays.samples import of_trainer
from simulator.traces.base import MiniBatch, Trace

__all__ = ["LEFT", "NEW", "OLD", "PUSHED", "WorkerReplay"]

Int64s = npt.NDArray[np.int64]
Int32s = npt.NDArray[np.int32]
Int16s = npt.NDArray[np.int16]
Bools = npt.NDArray[np.bool_]

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
        del threads
        past = PAST if trace.past is None else min(PAST, trace.past)
        past = 0 if self.prefill == "empty" else past
        counts = self.algorithm == "lfu"
        caches = WorkerCaches(sum(trace.rows), len(self.samples), self.capacity, counts=counts)
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
    """A mini-batch over workers; once it was trained, what they found and what they push."""

    batch: MiniBatch
    lookups: Lookups
    owners: Int16s
    touched: Touched | None = None
    pushed: list[Moved] = field(default_factory=list)


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
        numbers = np.arange(batch.samples, dtype=np.int32)
        each = np.concatenate([np.repeat(numbers, np.diff(edges)) for edges in batch.offsets])
        lookups = Lookups(joined(self.starts, batch.ids), each)
        if not self.replay.allocates:
            owners = np.repeat(np.arange(len(samples), dtype=np.int16), samples)
            return _Turn(batch, lookups, owners)
        owners = self.caches.assigned(self._scored(batch, lookups), samples, batch.index)
        planned = self.caches.push_planned(lookups, owners)
        return _Turn(batch, lookups, owners, pushed=[planned])

    def _scored(self, batch: MiniBatch, lookups: Lookups) -> Lookups:
        """Those lookups by which samples are allocated."""
        chosen = self.replay.scored
        if chosen is None:
            return lookups
        part = np.repeat(
            np.isin(np.arange(len(batch.ids)), chosen), [len(ids) for ids in batch.ids]
        )
        return Lookups(lookups.rows[part], lookups.samples[part])

    def take(self, turn: _Turn) -> None:
        """Workers look a mini-batch up and train it."""
        bound = self.replay.bound
        turn.touched = self.caches.touch(turn.lookups, turn.owners, bound)
        if self.replay.allocates:
            turn.pushed = [self.caches.push_shared(turn.touched)]
        else:
            turn.pushed = [self.caches.push_old(turn.touched, bound)]

    def told(self, turn: _Turn, coming: _Turn | None) -> BatchFacts:
        """The facts of a mini-batch before `coming`, whose plan is pushed with it."""
        touched, batch, flows = turn.touched, turn.batch, _Flows(self, turn.batch.index)
        assert touched is not None
        rows, slots = self.caches.rows_of(touched.number), touched.slot.astype(np.int64)
        found = Moved(touched.worker, rows, slots)
        told = {LOOKUP: self._lookups(batch)}
        new, old = touched.kind == MISSING, touched.kind == OUTDATED
        for name, chosen in ((NEW, new), (OLD, old), (UNIQUE, new | True)):
            told |= flows.named(name, found.part(chosen), touched.times[chosen])
        changed = touched.victim_updates > 0
        left = Moved(touched.worker, self.caches.rows_of(touched.victim), slots)
        told |= flows.named(LEFT, left.part(changed))
        pushed = [*turn.pushed, *(coming.pushed if coming is not None else ())]
        told |= flows.named(PUSHED, _together(pushed))
        each = Moved(touched.worker[touched.which], turn.lookups.rows, slots[touched.which])
        told |= flows.named(LOOKUP, each)
        for name, chosen in ((UNIQUE, new | True), (HIT, ~new & ~old), (MISS, new | old)):
            told[name] = flows.summed(rows[chosen], touched.times[chosen])
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
    """Makes flows of what workers do with rows in a mini-batch, a shard a table."""

    turns: _Turns
    number: int

    def named(
        self, name: str, moved: Moved, times: Int32s | None = None
    ) -> dict[str, tuple[Flow, ...]]:
        """The flow of each worker; `times`: lookups of each row, by default none but in a flow of
        lookups."""
        workers, tables = len(self.turns.replay.samples), len(self.turns.starts)
        key = moved.worker.astype(np.int64) * tables + self._table(moved.row)
        most = workers * tables
        rows = np.bincount(key, minlength=most)
        lookups = rows if name == LOOKUP else np.zeros(most, np.int64)
        if times is not None:
            lookups = np.bincount(key, times, most).astype(np.int64)
        if self.number in self.turns.replay.keep:
            order = np.argsort(key, kind="stable")
            edges = np.cumsum([0, *rows])
            parts = [order[a:b] for a, b in pairwise(edges.tolist())]
            flows = [
                Flow(int(n), len(part), moved.row[part], moved.slot[part])
                for n, part in zip(lookups, parts, strict=True)
            ]
        else:
            pairs = zip(lookups.tolist(), rows.tolist(), strict=True)
            flows = [Flow(n, count) for n, count in pairs]
        return {
            of_trainer(worker, name): tuple(flows[worker * tables : (worker + 1) * tables])
            for worker in range(workers)
        }

    def summed(self, rows: Int64s, times: Int32s | None = None) -> tuple[Flow, ...]:
        """Of all workers, counts alone: a row may lie in several of their caches."""
        tables, key = len(self.turns.starts), self._table(rows)
        counts = np.bincount(key, minlength=tables).tolist()
        if times is None:
            return tuple(Flow(0, count) for count in counts)
        lookups = np.bincount(key, times, tables).astype(np.int64).tolist()
        return tuple(Flow(n, count) for n, count in zip(lookups, counts, strict=True))

    def _table(self, rows: Int64s) -> Int64s:
        return np.searchsorted(self.turns.starts, rows, side="right") - 1


def _together(moves: Sequence[Moved]) -> Moved:
    workers, rows, slots = zip(*moves, strict=True)
    return Moved(np.concatenate(workers), np.concatenate(rows), np.concatenate(slots))
