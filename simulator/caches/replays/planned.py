"""The plan of a scratchpad: hits, fetched rows, victims and slots of every mini-batch, exact."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import ceil

import numpy as np
import numpy.typing as npt

from simulator._threads import cores
from simulator.caches.facts import (
    AS_FILLED,
    COLD,
    HELD,
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
from simulator.caches.flows import Counted
from simulator.caches.plan.base import PoolPlan, Window
from simulator.caches.plan.distinct import (
    DistinctBatch,
    distinct_batches,
    pool_shapes,
)
from simulator.caches.plan.planning import build_planners, plan_batches, pool_rows
from simulator.caches.plan.scratchpad import PoolPlanner
from simulator.caches.policies.base import BUILT_IN, policy_class
from simulator.caches.replays.base import (
    Kept,
    bases,
    copies,
    edges_of,
    joined,
    slots_of_lookups,
)
from simulator.caches.replays.deduped import DedupedReplay
from simulator.caches.replays.sampled import sampled_rows
from simulator.caches.replays.steady import NO_WINDOW, Past, Started, restart
from simulator.caches.replays.twins import twins
from simulator.caches.size import CacheSize
from simulator.caches.tiers import Tiers
from simulator.config.trace import HALF
from simulator.errors import CapacityError, UsageError
from simulator.traces.base import MiniBatch, Trace
from simulator.traces.cuts import Parts

__all__ = ["PlannedReplay", "facts_of", "slots_for"]

Int64s = npt.NDArray[np.int64]
PoolRows = tuple[int, int, Int64s, Int64s | None]
"""First row and slot of a pool, rows of its lookups, and where its samples begin."""


@dataclass(frozen=True)
class PlannedReplay(DedupedReplay):
    """A cache with look-ahead, Hold mask and a replacement policy; a shard a pool.

    `capacities`: slots of each pool. `lookup` flows keep the slot of every lookup, the others
    rows and slots of distinct rows.
    """

    capacities: tuple[int, ...]
    replacement: str = "lru"
    scope: str = "table"
    window: Window = NO_WINDOW
    prefill: str = "empty"
    held_misses: bool = False
    """Count misses that only the window caused."""
    seed: int = 0
    enlarged: bool = False
    """The cache that was asked for could not hold its window."""
    check: bool = False
    """Check the victims of built-in policies too."""
    keep: Kept = ()
    profile: float = HALF
    """Share of a file whose lookups say which rows are the hottest."""
    parts: Parts = ()
    tiers: Tiers | None = None
    lookups_alone: bool = False
    """Keep rows and slots of lookups, not of what moves, unless `tiers` count that."""
    filled: float = 1.0
    """Share of the slots of each pool that `prefill: hot` fills."""

    @property
    def ignores_numbers(self) -> bool:
        by_table = self.scope == "table" and not self.parts and self.tiers is None
        return by_table and self.replacement in BUILT_IN  # others may look at rows

    @property
    def twins(self) -> tuple[int, ...]:
        return twins(self.parts, self.capacities) if self.scope == "table" else ()

    def of_parts(self, numbers: Sequence[int]) -> PlannedReplay:
        return replace(
            self,
            capacities=tuple(self.capacities[k] for k in numbers),
            parts=tuple(self.parts[k] for k in numbers),
        )

    @property
    def slots(self) -> tuple[int, ...]:
        return self.capacities

    @property
    def grown(self) -> bool:
        return self.enlarged

    @property
    def policy(self) -> str:
        return self.replacement

    @property
    def needs_future(self) -> bool:
        """Whether the policy knows the next use of every row."""
        return policy_class(self.replacement).needs_future

    @property
    def fills_hot(self) -> bool:
        """Whether it starts from a profile of the hottest rows."""
        return policy_class(self.replacement).needs_profile or self.prefill == "hot"

    @property
    def wants_next_uses(self) -> bool:
        return self.needs_future and self.prefill != "steady"

    @property
    def dedupes_itself(self) -> bool:
        """Planning does, which looks every lookup up as fast as it is deduped apart; lookups of
        several tables in one pool are put together once for all."""
        return self.scope == "table" and not self.needs_future

    def planners(self, trace: Trace, window: Window | None = None) -> tuple[PoolPlanner, ...]:
        """Planners of all pools as they are before the first mini-batch; `window`: instead of
        its own.

        Raises `UsageError` where that depends on the mini-batches to come.
        """
        if self.prefill == "steady" and self.needs_future and trace.past != 0:
            raise UsageError(
                f"policy {self.replacement} looks ahead, so that nothing can be said of its cache "
                "before the run is known: set cache.prefill to empty or hot"
            )
        return self._started(trace, window or self.window, cores(), ()).planners

    def _started(
        self, trace: Trace, window: Window, threads: int, coming: Sequence[DistinctBatch]
    ) -> Started:
        """Planners with what `prefill` puts into the cache; `coming`: for policies that look
        ahead."""
        by_profile = policy_class(self.replacement).needs_profile
        hottest = self._profile(trace) if by_profile else None
        build = partial(self._built, trace, hottest=hottest)
        if self.prefill == "empty":
            return Started(build(window, None), Start("empty"), coming)
        if self.prefill == "hot":
            ranked = zip(self._profile(trace), self.capacities, strict=True)
            planners = build(window, [rows[: ceil(self.filled * n)] for rows, n in ranked])
            if by_profile:
                restart(planners, window)  # those rows are there to stay: nothing is provisional
            return Started(planners, Start("hot"), coming)
        sampled = None
        if self.replacement == "lru":
            sampled = sampled_rows(trace, self.capacities, self.scope)
        if sampled is not None:
            planners = build(window, sampled)
            restart(planners, window, all_known=True)
            return Started(planners, Start("sampled"), coming)
        past = Past(trace, self.capacities, self.scope, threads, coming)
        started = past.planned(lambda: build(NO_WINDOW, hottest), self.needs_future)
        restart(started.planners, window)
        return started

    def _built(
        self,
        trace: Trace,
        window: Window,
        preload: Sequence[Int64s] | None,
        *,
        hottest: Sequence[Int64s] | None,
    ) -> tuple[PoolPlanner, ...]:
        return build_planners(
            self.replacement,
            trace.rows,
            self.capacities,
            window,
            scope=self.scope,
            seed=self.seed,
            hottest=hottest,
            preload=preload,
            preload_trained=True,
            check=self.check,
        )

    def resident(self, trace: Trace) -> Int64s:
        rows = []
        for planner, capacity in zip(self.planners(trace), self.capacities, strict=True):
            held = np.full(capacity, -1, np.int64)
            held[: len(planner.resident())] = planner.resident()
            rows.append(held)
        starts = bases(pool_rows(trace.rows, self.scope))
        return np.concatenate(
            [np.where(held < 0, -1, held + start) for held, start in zip(rows, starts, strict=True)]
        )

    def run(self, trace: Trace, batches: Iterator[MiniBatch], threads: int) -> Iterator[BatchFacts]:
        ahead: list[DistinctBatch] = []
        if self.needs_future and self.prefill == "steady":
            shapes = pool_shapes(trace.rows, self.scope)
            ahead = list(distinct_batches(batches, shapes, threads or cores()))
            batches = iter(ahead)
        started = self._started(trace, self.window, threads, ahead)
        shadows = None
        if self.held_misses:
            shadows = self._started(trace, NO_WINDOW, threads, ahead).planners
        coming, planned = copies(started.coming if ahead else batches, 2)
        plans = plan_batches(
            planned, started.planners, self.window, threads=threads, shadows=shadows
        )
        for plan in plans:
            batch = next(coming)
            rows = self._rows(trace, batch, plan.pools) if plan.index in self.keep else None
            told = facts_of(plan.index, batch.samples, plan.pools, rows, start=started.start)
            yield told.with_lookups_alone() if self.lookups_alone and not self.tiers else told

    def _rows(
        self, trace: Trace, batch: MiniBatch, pools: Sequence[PoolPlan]
    ) -> Sequence[PoolRows]:
        """For each pool: first row, first slot, rows and samples of its lookups."""
        rows = bases(pool_rows(trace.rows, self.scope)).tolist()
        slots = bases(self.capacities).tolist()
        if self.scope == "table":
            return list(zip(rows, slots, batch.ids, edges_of(batch, self.parts), strict=True))
        ids = joined(bases(trace.rows), batch.ids)
        return [(rows[0], slots[0], ids, None)]  # lookups of a sample lie apart, table by table

    def _profile(self, trace: Trace) -> list[Int64s]:
        """The hottest rows of each pool, as many as it has slots."""
        if self.scope == "table":
            counts = enumerate(self.capacities)
            return [trace.hottest(table, count, self.profile) for table, count in counts]
        rows, capacity = sum(trace.rows), self.capacities[0]
        starts = bases(trace.rows)
        shares = [capacity * count // rows for count in trace.rows]
        ranked = [
            trace.hottest(t, share, self.profile) + starts[t] for t, share in enumerate(shares)
        ]
        # rank by rank across tables: row r of every table is about as hot
        order = np.argsort(np.concatenate([np.arange(len(r)) for r in ranked]), kind="stable")
        return [np.concatenate(ranked)[order]]


def facts_of(
    index: int,
    samples: int,
    pools: Sequence[PoolPlan],
    rows: Sequence[PoolRows] | None = None,
    start: Start | None = None,
) -> BatchFacts:
    """The plans of all pools of mini-batch `index` as flows.

    `rows`: for each pool its first row and slot in the numbering of all pools, the rows of its
    lookups, and where its samples begin (or None); without it, counts alone.
    """
    names = [LOOKUP, UNIQUE, HIT, MISS, VICTIM, WRITE_BACK, COLD]
    if all(pool.held_misses is not None for pool in pools):
        names.append(HELD)
    if all(pool.as_filled is not None for pool in pools):
        names.append(AS_FILLED)
    if rows is None:
        counts = [_counts(pool) for pool in pools]
        array = np.array([[each[name] for each in counts] for name in names], np.int64)
        return BatchFacts(index, samples, Counted(tuple(names), array), start)
    shards = [_with_rows(pool, *rows[number]) for number, pool in enumerate(pools)]
    flows = {name: tuple(shard[name] for shard in shards) for name in names}
    return BatchFacts(index, samples, flows, start)


def _counts(pool: PoolPlan) -> dict[str, tuple[int, int]]:
    """Lookups and rows of each flow."""
    unique, missed = len(pool.unique.rows), len(pool.missed.rows)
    return {
        LOOKUP: (pool.lookups, unique),
        UNIQUE: (pool.lookups, unique),
        HIT: (pool.lookup_hits, pool.unique_hits),
        MISS: (pool.lookups - pool.lookup_hits, missed),
        VICTIM: (0, len(pool.victims.rows)),
        WRITE_BACK: (0, pool.dirty_victims),
        COLD: (0, pool.cold_misses),
        HELD: (0, pool.held_misses or 0),
        AS_FILLED: (0, pool.as_filled or 0),
    }


def _with_rows(
    pool: PoolPlan, row: int, slot: int, ids: Int64s, offsets: Int64s | None
) -> dict[str, Flow]:
    flows = {name: Flow(*counts) for name, counts in _counts(pool).items()}
    dirty = pool.victim_dirty

    def kept(name: str, rows: Int64s, slots: Int64s) -> Flow:
        return Flow(flows[name].lookups, flows[name].rows, rows + row, slots + slot)

    lookup_slots = slots_of_lookups(pool.rows, pool.slots, ids)
    lookup = flows[LOOKUP]
    return flows | {
        LOOKUP: Flow(lookup.lookups, lookup.rows, ids + row, lookup_slots + slot, offsets),
        UNIQUE: kept(UNIQUE, pool.rows, pool.slots),
        MISS: kept(MISS, pool.missed_rows, pool.missed_slots),
        VICTIM: kept(VICTIM, pool.victim_rows, pool.victim_slots),
        WRITE_BACK: kept(WRITE_BACK, pool.victim_rows[dirty], pool.victim_slots[dirty]),
    }


def slots_for(
    rows: Sequence[int],
    size: CacheSize,
    scope: str,
    window: Window,
    lookups: Sequence[int],
    *,
    need: Callable[[], Sequence[int]] | None,
    grow: bool,
) -> tuple[tuple[int, ...], bool]:
    """Slots of each pool of a cache of `size`, and whether they had to be grown.

    `rows`: of each table; `lookups`: most lookups of a mini-batch in each table; `need`: the slots
    that the window takes, asked for only where they might not be there (None: not known yet, taken
    to be there). Raises `CapacityError` with the numbers where the window does not fit and may not
    grow.
    """
    sizes = pool_rows(rows, scope)
    slots = size.slots(sizes)
    worst = pool_rows([window.batches * count for count in lookups], scope)
    enough = all(s >= min(w, n) for s, w, n in zip(slots, worst, sizes, strict=True))
    if enough or need is None:
        return slots, False
    needed = need()
    grown = tuple(max(pair) for pair in zip(slots, needed, strict=True))
    if grown == slots or grow:
        return grown, grown != slots
    raise CapacityError(_too_small(slots, needed, sizes, size, window))


def _too_small(
    slots: Sequence[int], need: Sequence[int], sizes: Sequence[int], size: CacheSize, window: Window
) -> str:
    short = [p for p in range(len(slots)) if need[p] > slots[p]]
    pool = max(short, key=lambda p: need[p] / sizes[p])
    enough = size.holding(need, sizes)
    return (
        f"{size} gives {slots[pool]:,} slots for {sizes[pool]:,} rows (pool "
        f"{pool}), but the window of {window.batches} mini-batches (past {window.past}, this one, "
        f"future {window.future}) holds up to {need[pool]:,} distinct rows: set {enough}, "
        "or cache.if_too_small: grow"
    )
