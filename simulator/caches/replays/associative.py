"""The replay of a set-associative cache in one pool, whose conflict misses are served below."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from simulator._threads import map_threads
from simulator.caches.facts import (
    BYPASS,
    COLD,
    HIT,
    LOOKUP,
    MISS,
    UNIQUE,
    VICTIM,
    WRITE_BACK,
    BatchFacts,
    Flow,
    Start,
)
from simulator.caches.plan.associative import Algorithm, AssociativeCache, Loaded
from simulator.caches.plan.distinct import DistinctBatch, distinct_batches, pool_shapes
from simulator.caches.plan.planning import together
from simulator.caches.replays.base import Kept, Replay, bases, slots_of_lookups
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

FETCHED = "fetched"
"""Missed rows that came into the cache."""
CACHED_LOOKUP, BYPASS_LOOKUP = "cached_lookup", "bypass_lookup"
"""Lookups that are served out of the cache, and where the rows lie."""
CACHED_UPDATE, BYPASS_UPDATE = "cached_update", "bypass_update"
"""Rows (and their lookups) that are updated in the cache, and where they lie."""
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

    def wanted(self, facts: Sequence[BatchFacts]) -> float | None:
        """Those of a mini-batch, and of the one before where it is locked: a row of both twice."""
        rows = [batch[UNIQUE].rows for batch in facts]
        return (1 + self.locked) * float(np.mean(rows)) if rows else None

    def run(self, trace: Trace, batches: Iterator[MiniBatch], threads: int) -> Iterator[BatchFacts]:
        cache, start = self._started(trace, threads)
        shapes, starts = pool_shapes(trace.rows, "table"), bases(trace.rows)
        before: _Batch | None = None
        for batch in distinct_batches(batches, shapes, threads):
            loaded = _Batch.of(batch, starts, cache)
            if not self.locked:
                yield loaded.facts(start, loaded.slots, batch.index in self.keep)
                continue
            if before is not None:
                yield before.facts(start, cache.slots_of(before.rows), before.index in self.keep)
            before = loaded
        if before is not None:
            yield before.facts(start, cache.slots_of(before.rows), before.index in self.keep)

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
            cache.fill_by_count()
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
                seen += cache.play([_looked_up(batch, starts) for batch in deduped], threads)
            count = wanted
            if is_settled(seen, min(self.slots[0], max((r for r, _ in seen), default=0))):
                break
        return cache, Start("planned", count)


def _looked_up(batch: DistinctBatch, starts: Int64s) -> tuple[Int64s, Int64s]:
    """The distinct rows of all tables, and their lookups; `starts`: the first row of each table."""
    pairs = zip(batch.pools, starts, strict=True)
    rows = np.concatenate([pool.ids + start for pool, start in pairs])
    return rows, np.concatenate([pool.times for pool in batch.pools])


@dataclass(frozen=True)
class _Batch:
    """A mini-batch that was loaded; arrays over the distinct rows of all tables."""

    batch: DistinctBatch
    starts: Int64s
    """The first row of each table."""
    rows: Int64s
    times: Int64s
    loaded: Loaded

    @classmethod
    def of(cls, batch: DistinctBatch, starts: Int64s, cache: AssociativeCache) -> _Batch:
        rows, times = _looked_up(batch, starts)
        return cls(batch, starts, rows, times, cache.load(rows, times))

    @property
    def index(self) -> int:
        return self.batch.index

    @property
    def slots(self) -> Int64s:
        return self.loaded.slots

    def facts(self, start: Start, trained_in: Int64s, keeps: bool) -> BatchFacts:
        """Its flows; `trained_in`: the slot in which each row is updated, -1: none."""
        ends = np.cumsum([0, *(len(pool.ids) for pool in self.batch.pools)])
        victims = self._victims(keeps)
        shards = [
            self._shard(table, slice(ends[table], ends[table + 1]), trained_in, keeps)
            | {VICTIM: victims[table], WRITE_BACK: victims[table]}
            for table in range(len(self.batch.pools))
        ]
        flows = {name: tuple(shard[name] for shard in shards) for name in shards[0]}
        return BatchFacts(self.index, self.batch.samples, flows, start, pooled=True)

    def _victims(self, keeps: bool) -> Sequence[Flow]:
        rows, slots = self.loaded.victims, self.loaded.freed
        tables = np.searchsorted(self.starts, rows, side="right") - 1
        if not keeps:
            return [Flow(0, int(n)) for n in np.bincount(tables, minlength=len(self.starts))]
        own = [tables == table for table in range(len(self.starts))]
        return [Flow(0, int(mine.sum()), rows[mine], slots[mine]) for mine in own]

    def _shard(self, table: int, part: slice, trained: Int64s, keeps: bool) -> dict[str, Flow]:
        loaded, rows, times = self.loaded, self.rows[part], self.times[part]
        slots, hit, fetched = loaded.slots[part], loaded.hit[part], loaded.fetched[part]
        trained = trained[part]

        def flow(chosen: npt.NDArray[np.bool_], where: Int64s) -> Flow:
            lookups = int(times[chosen].sum())
            if not keeps:
                return Flow(lookups, int(chosen.sum()))
            return Flow(lookups, int(chosen.sum()), rows[chosen], where[chosen])

        everything = np.ones(len(rows), np.bool_)
        flows = {
            LOOKUP: flow(everything, slots),
            UNIQUE: flow(everything, slots),
            HIT: flow(hit, slots),
            MISS: flow(~hit, slots),
            FETCHED: flow(fetched, slots),
            BYPASS: flow(slots < 0, slots),
            CACHED_LOOKUP: flow(slots >= 0, slots),
            BYPASS_LOOKUP: flow(slots < 0, slots),
            CACHED_UPDATE: flow(trained >= 0, trained),
            BYPASS_UPDATE: flow(trained < 0, trained),
            COLD: Flow(0, int(loaded.new[part].sum())),
        }
        return flows | self._lookups(table, rows, slots, flows) if keeps else flows

    def _lookups(
        self, table: int, rows: Int64s, slots: Int64s, flows: dict[str, Flow]
    ) -> dict[str, Flow]:
        """Flows that keep every lookup, in order."""
        ids = self.batch.ids[table] + self.starts[table]
        where = slots_of_lookups(rows, slots, ids)
        cached = where >= 0

        def kept(name: str, chosen: npt.NDArray[np.bool_] | slice) -> Flow:
            return Flow(flows[name].lookups, flows[name].rows, ids[chosen], where[chosen])

        whole = flows[LOOKUP]
        offsets = self.batch.offsets[table]
        return {
            LOOKUP: Flow(whole.lookups, whole.rows, ids, where, offsets),
            CACHED_LOOKUP: kept(CACHED_LOOKUP, cached),
            BYPASS_LOOKUP: kept(BYPASS_LOOKUP, ~cached),
        }
