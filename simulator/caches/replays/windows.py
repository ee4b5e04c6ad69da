"""Replays of caches that are loaded once for several mini-batches: cDLRM's windows, HugeCTR's
passes."""

from __future__ import annotations

import itertools
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from simulator.caches.facts import BYPASS, HIT, LOOKUP, MISS, UNIQUE, BatchFacts, Flow, Start
from simulator.caches.plan.distinct import (
    DistinctBatch,
    DistinctIds,
    distinct_batches,
    pool_shapes,
)
from simulator.caches.plan.ordered import sorted_distinct
from simulator.caches.plan.windowed import Arrived, WindowedCache
from simulator.caches.replays.associative import (
    BYPASS_LOOKUP,
    BYPASS_UPDATE,
    CACHED_LOOKUP,
    CACHED_UPDATE,
    FETCHED,
)
from simulator.caches.replays.base import Kept, Replay, bases, slots_of_lookups
from simulator.errors import CapacityError, ConfigError
from simulator.traces.base import MiniBatch, Trace

__all__ = ["LEAVING", "READ_AHEAD", "RESIDENT", "PassReplay", "WindowReplay"]

Int64s = npt.NDArray[np.int64]

READ_AHEAD = "read_ahead"
"""All lookups and unique rows of a window, with its first mini-batch."""
RESIDENT = "resident"
"""Rows of a window that were in the cache already, with its first mini-batch."""
LEAVING = "leaving"
"""Rows that leave the cache, with the mini-batch after which (or before which) they do."""
_NOTHING = np.empty(0, np.int64)
_NOBODY = Arrived(_NOTHING, _NOTHING, _NOTHING, _NOTHING, _NOTHING)
_PAST_WINDOWS = 8
"""Windows of the past that fill the cache before the first mini-batch."""


@dataclass(frozen=True)
class _Loads:
    """What happens to the cache of one table with one mini-batch; rows are those of the table."""

    arrived: Arrived = _NOBODY
    left: Arrived = _NOBODY
    """Who leaves without somebody coming in its place."""
    ahead: int = 0
    """Lookups of the window that begins."""
    unique: int = 0
    """Its rows."""


class _Grouped(Replay):
    """Base: mini-batches in groups of `length`, for which caches are loaded together."""

    keep: Kept

    @property
    @abstractmethod
    def length(self) -> int:
        """Mini-batches of a group."""

    @property
    @abstractmethod
    def who(self) -> str:
        """What reads that far ahead, and how to change it, for messages."""

    def require_batches(self, count: int) -> None:
        if count < self.length:
            raise ConfigError(
                f"{self.who} reads {self.length:,} mini-batches ahead, but the run has {count:,}, "
                "those after the timed ones included: lower it, or raise run.batches"
            )

    def groups(
        self, trace: Trace, batches: Iterator[MiniBatch], threads: int
    ) -> Iterator[tuple[DistinctBatch, ...]]:
        """The mini-batches, `length` at a time; the last group may be short.

        Raises `ConfigError` where there are not as many as one group takes.
        """
        distinct = distinct_batches(batches, pool_shapes(trace.rows, "table"), threads)
        for number, group in enumerate(
            iter(lambda: tuple(itertools.islice(distinct, self.length)), ())
        ):
            if number == 0:
                self.require_batches(len(group))
            yield group


@dataclass(frozen=True)
class WindowReplay(_Grouped):
    """A set-associative cache a table, loaded with all rows of `length` mini-batches when the first
    of them starts; what finds no slot is read below for each lookup; a shard a table.

    `sets`: of each table. `flush`: empty the cache before each window.
    """

    sets: tuple[int, ...]
    ways: int
    look_ahead: int
    flush: bool = False
    prefill: str = "empty"
    seed: int = 0
    keep: Kept = ()

    @property
    def length(self) -> int:
        return self.look_ahead

    @property
    def who(self) -> str:
        return "look_ahead of cdlrm"

    @property
    def slots(self) -> tuple[int, ...]:
        return tuple(count * self.ways for count in self.sets)

    @property
    def policy(self) -> str:
        return "random"

    def wanted(self, facts: Iterable[BatchFacts]) -> float | None:
        """Those of a window."""
        rows = [batch[READ_AHEAD].rows for batch in facts if batch[READ_AHEAD].rows]
        return float(np.mean(rows)) if rows else None

    def _caches(self, trace: Trace) -> list[WindowedCache]:
        """The caches before the first mini-batch."""
        caches = [
            WindowedCache(count, self.ways, self.seed + 1000 * table)
            for table, count in enumerate(self.sets)
        ]
        if self.prefill == "hot":
            for table, cache in enumerate(caches):
                cache.load(np.sort(trace.hottest(table, len(cache.tags))))
        if self.prefill == "steady":
            past = (trace.minibatch(number) for number in range(-self._past(trace), 0))
            shapes = pool_shapes(trace.rows, "table")
            distinct = distinct_batches(past, shapes, 1)
            for group in iter(lambda: tuple(itertools.islice(distinct, self.look_ahead)), ()):
                for table, cache in enumerate(caches):
                    cache.load(_rows_of(group, table))
        return caches

    def _past(self, trace: Trace) -> int:
        """Mini-batches of the past that fill the caches."""
        most = _PAST_WINDOWS * self.look_ahead
        return most if trace.past is None else min(most, trace.past)

    def _start(self, trace: Trace) -> Start:
        if self.prefill == "steady":
            return Start("planned", self._past(trace))
        return Start(self.prefill)

    def resident(self, trace: Trace) -> Int64s:
        return np.concatenate(
            [
                np.where(cache.tags < 0, -1, cache.tags + start)
                for cache, start in zip(self._caches(trace), bases(trace.rows), strict=True)
            ]
        )

    def run(self, trace: Trace, batches: Iterator[MiniBatch], threads: int) -> Iterator[BatchFacts]:
        caches = self._caches(trace)
        tell = _Told(trace, self.slots, self.keep, self._start(trace))
        for group in self.groups(trace, batches, threads):
            loads = [self._load(cache, group, t) for t, cache in enumerate(caches)]
            for number, batch in enumerate(group):
                slots = [c.slots_of(p.ids) for c, p in zip(caches, batch.pools, strict=True)]
                yield tell.facts(batch, slots, loads if number == 0 else [_Loads()] * len(caches))

    def _load(self, cache: WindowedCache, group: Sequence[DistinctBatch], table: int) -> _Loads:
        rows = _rows_of(group, table)
        left = cache.flush() if self.flush else _NOBODY
        lookups = sum(len(batch.ids[table]) for batch in group)
        return _Loads(cache.load(rows), left, lookups, len(rows))


@dataclass(frozen=True)
class PassReplay(_Grouped):
    """All rows of `length` mini-batches in HBM while they train, and all of them written back after
    the last of them; a shard a table.

    `capacity`: slots of all tables together.
    """

    capacity: int
    batches_a_pass: int
    keep: Kept = ()

    @property
    def length(self) -> int:
        return self.batches_a_pass

    @property
    def who(self) -> str:
        return "pass_batches of hugectr_etc"

    @property
    def unforeseen(self) -> str:
        return "whether the cache holds the rows of each pass"

    @property
    def rehearsal(self) -> PassReplay:
        return replace(self, keep=())

    @property
    def slots(self) -> tuple[int, ...]:
        return (self.capacity,)

    def run(self, trace: Trace, batches: Iterator[MiniBatch], threads: int) -> Iterator[BatchFacts]:
        for group in self.groups(trace, batches, threads):
            rows = [_rows_of(group, table) for table in range(len(trace.rows))]
            sizes = [len(each) for each in rows]
            if sum(sizes) > self.capacity:
                raise CapacityError(
                    f"a pass of {len(group):,} mini-batches has {sum(sizes):,} distinct rows, more "
                    f"than the {self.capacity:,} slots: set cache.rows to at least "
                    f"{_most(trace, group)} (as many as a pass has lookups, no table more than its "
                    "rows), or lower pass_batches"
                )
            tell = _Told(trace, sizes, self.keep, Start("empty"))
            for number, batch in enumerate(group):
                slots = [
                    np.searchsorted(each, pool.ids)
                    for each, pool in zip(rows, batch.pools, strict=True)
                ]
                loads = [self._load(each, group, t, number) for t, each in enumerate(rows)]
                yield tell.facts(batch, slots, loads)

    def _load(
        self, rows: Int64s, group: Sequence[DistinctBatch], table: int, number: int
    ) -> _Loads:
        """All come in before the first mini-batch of a pass, and leave after its last."""
        slots = np.arange(len(rows))
        first, last = number == 0, number == len(group) - 1
        return _Loads(
            Arrived(rows, slots, _NOTHING, _NOTHING, _NOTHING) if first else _NOBODY,
            Arrived(_NOTHING, _NOTHING, rows, slots, _NOTHING) if last else _NOBODY,
            sum(len(batch.ids[table]) for batch in group) if first else 0,
            len(rows) if first else 0,
        )


def _rows_of(group: Sequence[DistinctBatch], table: int) -> Int64s:
    """The distinct rows of a table in several mini-batches, ascending."""
    return sorted_distinct(np.concatenate([batch.pools[table].ids for batch in group]))


def _most(trace: Trace, group: Sequence[MiniBatch]) -> int:
    """Rows of all tables that as many lookups as those of `group` may reach."""
    lookups = (sum(len(batch.ids[table]) for batch in group) for table in range(len(trace.rows)))
    return sum(map(min, trace.rows, lookups))


@dataclass(frozen=True)
class _Told:
    """Turns what happens table by table into facts; `sizes`: slots of each table."""

    trace: Trace
    sizes: Sequence[int]
    keep: Kept
    start: Start

    def facts(
        self, batch: DistinctBatch, slots: Sequence[Int64s], loads: Sequence[_Loads]
    ) -> BatchFacts:
        """The flows of a mini-batch; `slots`: of the distinct rows of each table, -1: none."""
        keeps = batch.index in self.keep
        firsts = zip(bases(self.trace.rows), bases(self.sizes), strict=True)
        shards = [
            self._shard(batch, table, slots[table], loads[table], _Kept(keeps, row, slot))
            for table, (row, slot) in enumerate(firsts)
        ]
        flows = {name: tuple(shard[name] for shard in shards) for name in shards[0]}
        return BatchFacts(batch.index, batch.samples, flows, self.start)

    def _shard(
        self, batch: DistinctBatch, table: int, slots: Int64s, loads: _Loads, kept: _Kept
    ) -> dict[str, Flow]:
        pool, ids = batch.pools[table], batch.ids[table]
        arrived, left = loads.arrived, loads.left
        victims = np.concatenate([arrived.victims, left.victims])
        freed = np.concatenate([arrived.freed, left.freed])
        cached = slots >= 0
        every = kept.some(pool, slots, slice(None))
        inside, outside = (kept.some(pool, slots, chosen) for chosen in (cached, ~cached))
        flows = {
            LOOKUP: every,
            UNIQUE: every,
            HIT: inside,
            MISS: outside,
            BYPASS: outside,
            CACHED_UPDATE: inside,
            BYPASS_UPDATE: outside,
            CACHED_LOOKUP: inside,
            BYPASS_LOOKUP: outside,
            FETCHED: kept.flow(0, arrived.rows, arrived.slots),
            LEAVING: kept.flow(0, victims, freed),
            READ_AHEAD: Flow(loads.ahead, loads.unique),
            RESIDENT: kept.flow(0, arrived.stayed, arrived.stayed),
        }
        if not kept.keeps:
            return flows
        where = slots_of_lookups(pool.ids, slots, ids)
        found, offsets = where >= 0, batch.offsets[table]
        return flows | {
            LOOKUP: kept.each(flows[LOOKUP], ids, where, offsets),
            CACHED_LOOKUP: kept.each(flows[CACHED_LOOKUP], ids[found], where[found]),
            BYPASS_LOOKUP: kept.each(flows[BYPASS_LOOKUP], ids[~found], where[~found]),
        }


@dataclass(frozen=True)
class _Kept:
    """Flows of one table: its first row and slot over all tables, and whether rows are kept."""

    keeps: bool
    row: int
    slot: int

    def flow(self, lookups: int, rows: Int64s, slots: Int64s) -> Flow:
        """Rows of the table, in slots of its cache."""
        if not self.keeps:
            return Flow(lookups, len(rows))
        return Flow(lookups, len(rows), rows + self.row, slots + self.slot)

    def some(self, pool: DistinctIds, slots: Int64s, chosen: npt.NDArray[np.bool_] | slice) -> Flow:
        """The chosen ones of the distinct rows of a mini-batch."""
        return self.flow(int(pool.times[chosen].sum()), pool.ids[chosen], slots[chosen])

    def each(self, flow: Flow, ids: Int64s, slots: Int64s, offsets: Int64s | None = None) -> Flow:
        """The same flow with every lookup."""
        return Flow(flow.lookups, flow.rows, ids + self.row, slots + self.slot, offsets)
