"""Flows of a mini-batch that a set-associative cache has loaded, a shard a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from simulator._compiled import compiled
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
from simulator.caches.plan.associative import AssociativeCache, Loaded
from simulator.caches.plan.distinct import DistinctBatch
from simulator.caches.plan.hashed_sets import Tags
from simulator.caches.replays.base import slots_of_lookups

__all__ = ["BYPASS_LOOKUP", "BYPASS_UPDATE", "CACHED_LOOKUP", "CACHED_UPDATE", "FETCHED"]
__all__ += ["LoadedBatch", "looked_up"]

Int64s = npt.NDArray[np.int64]
Int32s = npt.NDArray[np.int32]
Bools = npt.NDArray[np.bool_]

FETCHED = "fetched"
"""Missed rows that came into the cache."""
CACHED_LOOKUP, BYPASS_LOOKUP = "cached_lookup", "bypass_lookup"
"""Lookups that are served out of the cache, and where the rows lie."""
CACHED_UPDATE, BYPASS_UPDATE = "cached_update", "bypass_update"
"""Rows (and their lookups) that are updated in the cache, and where they lie."""


def looked_up(
    batch: DistinctBatch, starts: Int64s, dtype: npt.DTypeLike, threads: int
) -> tuple[Tags, Int32s]:
    """The distinct rows of all tables, of that type, and their lookups; `starts`: the first row of
    each table."""
    ends = np.cumsum([0, *(len(pool.ids) for pool in batch.pools)])
    rows, times = np.empty(ends[-1], dtype), np.empty(ends[-1], np.int32)

    def write(table: int) -> None:
        pool, part = batch.pools[table], slice(ends[table], ends[table + 1])
        np.add(pool.ids, starts[table], out=rows[part], casting="unsafe")
        times[part] = pool.times

    map_threads(write, len(batch.pools), threads)
    return rows, times


@dataclass(frozen=True, slots=True)
class LoadedBatch:
    """A mini-batch that was loaded; arrays over the distinct rows of all tables."""

    batch: DistinctBatch
    starts: Int64s
    """The first row of each table."""
    rows: Tags
    times: Int32s
    loaded: Loaded

    @classmethod
    def of(
        cls, batch: DistinctBatch, starts: Int64s, cache: AssociativeCache, threads: int
    ) -> LoadedBatch:
        """Load a mini-batch."""
        rows, times = looked_up(batch, starts, cache.tags.dtype, threads)
        return cls(batch, starts, rows, times, cache.load(rows, times, threads))

    def facts(self, start: Start, trained: Int64s, keeps: bool) -> BatchFacts:
        """Its flows; `trained`: the slot in which each row is updated, -1: none. `keeps`: whether
        they have row numbers."""
        ends = np.cumsum([0, *(len(pool.ids) for pool in self.batch.pools)])
        victims = self._victims(keeps)
        if keeps:
            parts = [slice(a, b) for a, b in pairwise(ends.tolist())]
            shards = [self._kept(table, part, trained) for table, part in enumerate(parts)]
        else:
            counts = np.zeros((len(self.starts), 6, 2), np.int64)
            tally(self.times, self.loaded, trained, ends, counts)
            shards = [_counted(told) for told in counts.tolist()]
        for shard, flow in zip(shards, victims, strict=True):
            shard |= {VICTIM: flow, WRITE_BACK: flow}
        flows = {name: tuple(shard[name] for shard in shards) for name in shards[0]}
        return BatchFacts(self.batch.index, self.batch.samples, flows, start, pooled=True)

    def _victims(self, keeps: bool) -> Sequence[Flow]:
        rows, slots = self.loaded.victims, self.loaded.freed
        if not keeps:
            counts = np.zeros(len(self.starts), np.int64)
            count_by_table(rows, self.starts, counts)
            return [Flow(0, count) for count in counts.tolist()]
        tables = np.searchsorted(self.starts, rows, side="right") - 1
        own = [tables == table for table in range(len(self.starts))]
        return [Flow(0, int(mine.sum()), rows[mine], slots[mine]) for mine in own]

    def _kept(self, table: int, part: slice, trained: Int64s) -> dict[str, Flow]:
        """Flows of a table with its rows, those of `part`."""
        loaded, rows, times = self.loaded, self.rows[part].astype(np.int64), self.times[part]
        slots, hit, fetched = loaded.slots[part], loaded.hit[part], loaded.fetched[part]
        trained = trained[part]

        def flow(chosen: Bools, where: Int64s) -> Flow:
            lookups = int(times[chosen].sum())
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
        return flows | self._lookups(table, rows, slots, flows)

    def _lookups(
        self, table: int, rows: Int64s, slots: Int64s, flows: dict[str, Flow]
    ) -> dict[str, Flow]:
        """Flows that keep every lookup, in order."""
        ids = self.batch.ids[table] + self.starts[table]
        where = slots_of_lookups(rows, slots, ids)
        cached = where >= 0

        def kept(name: str, chosen: Bools) -> Flow:
            return Flow(flows[name].lookups, flows[name].rows, ids[chosen], where[chosen])

        whole = flows[LOOKUP]
        offsets = self.batch.offsets[table]
        return {
            LOOKUP: Flow(whole.lookups, whole.rows, ids, where, offsets),
            CACHED_LOOKUP: kept(CACHED_LOOKUP, cached),
            BYPASS_LOOKUP: kept(BYPASS_LOOKUP, ~cached),
        }


def _counted(counts: Sequence[Sequence[int]]) -> dict[str, Flow]:
    """Flows of a table without its rows; `counts`: what `tally` says of it."""
    every, hit, fetched, cached, trained, new = (Flow(lookups, rows) for lookups, rows in counts)

    def but(served: Flow) -> Flow:
        return Flow(every.lookups - served.lookups, every.rows - served.rows)

    return {
        LOOKUP: every,
        UNIQUE: every,
        HIT: hit,
        MISS: but(hit),
        FETCHED: fetched,
        BYPASS: but(cached),
        CACHED_LOOKUP: cached,
        BYPASS_LOOKUP: but(cached),
        CACHED_UPDATE: trained,
        BYPASS_UPDATE: but(trained),
        COLD: Flow(0, new.rows),
    }


@compiled
def tally(times: Int32s, loaded: Loaded, trained: Int64s, ends: Int64s, counts: Int64s) -> None:
    """Count by table, those of one between two `ends`: to `counts`, shape (tables, 6, 2), the
    lookups and rows of all, of those that hit, came in, are in the cache, are updated there, and
    that came in for the first time."""
    for table in range(len(ends) - 1):
        own = counts[table]
        for k in range(ends[table], ends[table + 1]):
            own[0, 0] += times[k]
            own[0, 1] += 1
            for what, holds in enumerate(
                (loaded.hit[k], loaded.fetched[k], loaded.slots[k] >= 0, trained[k] >= 0,
                 loaded.new[k])
            ):  # fmt: skip
                own[what + 1, 0] += times[k] * int(holds)
                own[what + 1, 1] += int(holds)


@compiled
def count_by_table(rows: Int64s, starts: Int64s, counts: Int64s) -> None:
    """Add how many of `rows` each table has, which `starts` there."""
    size = 1
    while size < len(starts):
        size *= 2
    edges = np.full(size, np.iinfo(np.int64).max, np.int64)
    edges[: len(starts)] = starts
    for k in range(len(rows)):
        table, step = 0, size // 2
        while step > 0:  # without a branch: rows are in no order
            table += step * int(edges[table + step] <= rows[k])
            step //= 2
        counts[table] += 1
