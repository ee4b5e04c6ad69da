"""The replay of a set-associative cache in one pool, whose conflict misses are served below."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from simulator._threads import map_threads
from simulator.caches.facts import UNIQUE, BatchFacts, Start
from simulator.caches.plan.associative import Algorithm, AssociativeCache
from simulator.caches.plan.distinct import distinct_batches, pool_shapes
from simulator.caches.plan.planning import together
from simulator.caches.replays.associative_flows import (
    BYPASS_LOOKUP,
    BYPASS_UPDATE,
    CACHED_LOOKUP,
    CACHED_UPDATE,
    FETCHED,
    LoadedBatch,
    looked_up,
)
from simulator.caches.replays.base import Kept, Replay, bases
from simulator.caches.replays.drawing import drawn
from simulator.caches.replays.sampled import sampled_rows
from simulator.caches.replays.steady import attempts, is_settled, most_played
from simulator.config.trace import HALF
from simulator.traces.base import MiniBatch, Trace
from simulator.traces.draws import draws_of

__all__ = [
    "BYPASS_LOOKUP",
    "BYPASS_UPDATE",
    "CACHED_LOOKUP",
    "CACHED_UPDATE",
    "FETCHED",
    "AssociativeReplay",
]

Int64s = npt.NDArray[np.int64]

_OVERSAMPLED = 1.5
"""Rows for each slot that are drawn for the steady state: sets fill unevenly."""


@dataclass(frozen=True)
class AssociativeReplay(Replay):
    """`sets` sets of `ways` slots for the rows of all tables, as FBGEMM keeps them: hashed to a
    set, LRU or LFU in it, rows without a slot served where they lie; a shard a table.

    `locked`: 1 where a mini-batch is loaded while the one before it trains: its rows may not
    leave, and where they are updated is looked up after that load.
    """

    sets: int
    ways: int
    algorithm: Algorithm = "lru"
    locked: int = 0
    prefill: str = "empty"
    keep: Kept = ()
    profile: float = HALF
    """Share of a file whose lookups say which rows are the hottest."""

    @property
    def slots(self) -> tuple[int, ...]:
        return (self.sets * self.ways,)

    @property
    def policy(self) -> str:
        return self.algorithm

    def wanted(self, facts: Iterable[BatchFacts]) -> float | None:
        """Those of a mini-batch, and of the one before where it is locked: a row of both twice."""
        rows = [batch[UNIQUE].rows for batch in facts]
        return (1 + self.locked) * float(np.mean(rows)) if rows else None

    def run(self, trace: Trace, batches: Iterator[MiniBatch], threads: int) -> Iterator[BatchFacts]:
        cache, start = self._started(trace, threads)
        shapes, starts = pool_shapes(trace.rows, "table"), bases(trace.rows)
        before: LoadedBatch | None = None
        for batch in distinct_batches(batches, shapes, threads):
            loaded = LoadedBatch.of(batch, starts, cache, threads)
            if not self.locked:
                yield loaded.facts(start, loaded.loaded.slots, batch.index in self.keep)
                continue
            if before is not None:
                yield self._locked_facts(before, cache, start)
            before = loaded
        if before is not None:
            yield self._locked_facts(before, cache, start)

    def _locked_facts(
        self, before: LoadedBatch, cache: AssociativeCache, start: Start
    ) -> BatchFacts:
        """Of the mini-batch before the one that was loaded last, which trains now."""
        trained = cache.still_in(before.rows, before.loaded)
        return before.facts(start, trained, before.batch.index in self.keep)

    def resident(self, trace: Trace) -> Int64s:
        return self._started(trace, 1)[0].tags

    def _empty(self, trace: Trace) -> AssociativeCache:
        return AssociativeCache(sum(trace.rows), self.sets, self.ways, self.algorithm, self.locked)

    def _started(self, trace: Trace, threads: int) -> tuple[AssociativeCache, Start]:
        """The cache before the first mini-batch."""
        cache, rows = self._empty(trace), sum(trace.rows)
        if self.prefill == "empty":
            return cache, Start("empty")
        if self.prefill == "hot":
            cache.fill(self._hottest(trace))
            return cache, Start("hot")
        if self.algorithm == "lru":
            drawn = sampled_rows(trace, (min(rows, int(_OVERSAMPLED * self.slots[0])),), "global")
            if drawn is not None:
                cache.fill(drawn[0], all_known=True)
                return cache, Start("sampled")
        elif count := self._counted(cache, trace, threads):
            cache.fill_by_count(threads)
            return cache, Start("sampled", count)
        return self._after_a_past(trace, threads)

    def _counted(self, cache: AssociativeCache, trace: Trace, threads: int) -> int:
        """Give the rows of the empty cache the lookups of as many mini-batches as are planned at
        most, which it returns; 0 where there is no closed form."""
        draws, starts = draws_of(trace), bases(trace.rows)
        if draws is None or not draws.independent or draws.correlated:
            return 0
        batches, lookups = most_played(trace), draws.counts

        def count(table: int) -> None:
            for rows, times in lookups(table).over(batches):
                cache.note_counts(rows, int(starts[table]), times)

        map_threads(count, len(trace.rows), threads)
        return batches

    def _hottest(self, trace: Trace) -> Int64s:
        """The hottest rows of all tables, rank by rank, tables in proportion to their rows."""
        rows, starts = sum(trace.rows), bases(trace.rows)
        wanted = min(rows, int(_OVERSAMPLED * self.slots[0]))
        ranked = [
            trace.hottest(table, wanted * count // rows, self.profile) + starts[table]
            for table, count in enumerate(trace.rows)
        ]
        order = np.argsort(np.concatenate([np.arange(len(r)) for r in ranked]), kind="stable")
        return np.concatenate(ranked)[order]

    def _after_a_past(self, trace: Trace, threads: int) -> tuple[AssociativeCache, Start]:
        """After as many mini-batches of the past as it takes until misses do not trend; where it
        does not matter which they are, more of them follow those that were too few."""
        shapes, starts = pool_shapes(trace.rows, "table"), bases(trace.rows)
        draws, most = draws_of(trace), most_played(trace)
        stays = draws is not None and draws.independent
        cache, seen, count = self._empty(trace), list[tuple[int, int]](), 0
        for wanted in attempts(trace, self.slots, "global", most):
            if not stays:
                cache, seen, count = self._empty(trace), [], 0
            first = -most if stays else -wanted
            past = drawn(trace, wanted - count, first=first + count, ahead=threads > 1)
            for group in together(past):
                deduped = distinct_batches(group, shapes, threads)
                seen += cache.play(
                    [looked_up(batch, starts, np.int64, threads) for batch in deduped], threads
                )
            count = wanted
            if is_settled(seen, min(self.slots[0], max((r for r, _ in seen), default=0))):
                break
        return cache, Start("planned", count)
