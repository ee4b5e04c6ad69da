"""Plans a stream of mini-batches over all pools: look-ahead, threads, and what a window needs."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import numpy.typing as npt

from simulator._threads import Begun, cores, map_threads
from simulator.caches.plan.base import BatchPlan, Numbers, PoolPlan, Window
from simulator.caches.plan.distinct import (
    DistinctBatch,
    PoolShape,
    distinct_batches,
    pool_shapes,
    with_next_uses,
)
from simulator.caches.plan.hitmap import DenseHitMap, HashHitMap, HitMap
from simulator.caches.plan.look_ahead import WindowTracker
from simulator.caches.plan.scratchpad import PoolPlanner
from simulator.caches.plan.sizes import HIT_MAP_BYTES, fits
from simulator.caches.plan.words import narrowest
from simulator.errors import UsageError
from simulator.traces.base import MiniBatch

__all__ = ["build_planners", "looked_up", "plan_batches", "pool_rows", "together", "window_need"]

Int64s = npt.NDArray[np.int64]

_TOGETHER = 8
"""Mini-batches that a pool plans one after the other, before another pool's state pushes its own
out of the processor's caches."""
_LOOKUPS_TOGETHER = 2_000_000
"""Lookups of those mini-batches, about: planning takes some 40 bytes for each, and the plans of a
group are used while the next is planned."""


def pool_rows(rows: Sequence[int], scope: str) -> tuple[int, ...]:
    """Rows of each pool: one a table (`table`), or all tables in one (`global`)."""
    return tuple(shape.rows for shape in pool_shapes(rows, scope))


def build_planners(
    policy: str,
    rows: Sequence[int],
    capacities: Sequence[int],
    window: Window,
    *,
    scope: str = "table",
    seed: int = 0,
    hottest: Sequence[Int64s] | None = None,
    preload: Sequence[Int64s] | None = None,
    preload_trained: bool = False,
    hit_map: str = "auto",
    check: bool = False,
) -> tuple[PoolPlanner, ...]:
    """One planner a pool. `rows`: of each table; `capacities`, `hottest`, `preload`: of each pool.

    In a `global` pool, rows are numbered table offset + row. Hit-Maps are dense while their words
    fit `HIT_MAP_BYTES` together, hashed beyond that. `check`: see `PoolPlanner`.
    """
    shapes = pool_shapes(rows, scope)
    if len(capacities) != len(shapes):
        raise UsageError(f"{len(capacities)} capacities for {len(shapes)} pools")
    if hit_map == "auto" and not fits(sum(rows), HIT_MAP_BYTES):
        hit_map = "hash"

    def build(p: int) -> PoolPlanner:
        return PoolPlanner(
            policy,
            shapes[p].rows,
            capacities[p],
            window,
            seed=_pool_seed(seed, p),
            hottest=None if hottest is None else hottest[p],
            preload=None if preload is None else preload[p],
            preload_trained=preload_trained,
            hit_map=hit_map,
            shape=shapes[p],
            check=check,
        )

    return tuple(map_threads(build, len(shapes), cores()))  # most of it is preloading


def _pool_seed(seed: int, pool: int) -> int:
    return int(np.random.SeedSequence([seed, pool]).generate_state(1, np.uint64)[0])


def plan_batches(
    minibatches: Iterable[MiniBatch],
    planners: Sequence[PoolPlanner],
    window: Window,
    *,
    threads: int | None = None,
    shadows: Sequence[PoolPlanner] | None = None,
) -> Iterator[BatchPlan]:
    """Plan mini-batches in order; reads them in groups (`together`), so that beyond
    `window.future` less than two groups are read ahead.

    Pools are planned side by side on `threads` (default: the cores there are), by the others while
    this one uses the plans of the group before and reads the next; the plans do not depend on how
    many. Planners that share a trace may be given `distinct_batches` of it. Policies
    with `needs_future` (belady) read all of `minibatches` first and keep their ids (8 bytes a
    lookup, 24 a distinct id), so give them a finite iterable: exactly the run's batches. Planners
    carry state: a second call goes on where the first one stopped.

    `shadows`: the same planners made for the window (0, 0). They are planned beside the others, at
    twice the cost, and tell the misses that only the window caused (`PoolPlan.held_misses`).
    """
    lanes = _Lanes(planners, window, shadows, threads or cores())
    if any(planner.needs_future for planner in planners):
        minibatches = _with_future(list(minibatches), planners, lanes.workers)
    indices: deque[int] = deque()

    def works() -> Iterator[_Work | None]:
        for group in together(minibatches):
            indices.extend(batch.index for batch in group)
            yield partial(_Lane.steps, batches=group)
        yield _Lane.rest
        yield None  # for the plans of that

    try:
        for work in works():
            planned = lanes.then(work)
            while planned:
                yield BatchPlan(indices.popleft(), planned.popleft())
    finally:
        lanes.abandon()


def together(minibatches: Iterable[MiniBatch]) -> Iterator[list[MiniBatch]]:
    """`minibatches` in groups that a pool plans at a time: few enough to be held in memory."""
    group: list[MiniBatch] = []
    lookups = 0
    for batch in minibatches:
        group.append(batch)
        lookups += batch.lookups
        if len(group) == _TOGETHER or lookups >= _LOOKUPS_TOGETHER:
            yield group
            group, lookups = [], 0
    if group:
        yield group


def _with_future(
    minibatches: Sequence[MiniBatch], planners: Sequence[PoolPlanner], threads: int
) -> Sequence[MiniBatch]:
    """`minibatches` with the next use of each id, unless they have it."""
    if all(isinstance(batch, DistinctBatch) and batch.has_next_uses for batch in minibatches):
        return minibatches
    shapes = [planner.shape for planner in planners]
    batches = list(distinct_batches(minibatches, shapes, threads))
    return with_next_uses(batches, shapes, first=planners[0].loaded)


class _Lanes:
    """All pools side by side."""

    def __init__(
        self,
        planners: Sequence[PoolPlanner],
        window: Window,
        shadows: Sequence[PoolPlanner] | None,
        threads: int,
    ) -> None:
        if any(planner.window != window for planner in planners):
            raise UsageError("planners were made for another window")
        if any(shadow.window != Window(0, 0) for shadow in shadows or ()):
            raise UsageError("shadow planners must have the window (0, 0)")
        beside: Sequence[PoolPlanner | None] = shadows or [None] * len(planners)
        pairs = zip(planners, beside, strict=True)
        lanes = [_Lane(pool, *pair) for pool, pair in enumerate(pairs)]
        self.workers = min(threads, len(lanes))
        self._lanes = lanes
        self._begun: Begun[list[PoolPlan]] | None = None

    def then(self, work: _Work | None) -> deque[tuple[PoolPlan, ...]]:
        """Begin `work`, if any, for every lane once what was begun before is done; the plans that
        came of that, mini-batch by mini-batch, in the order of the pools."""
        begun, self._begun = self._begun, None
        plans = begun.results() if begun else []
        if work is not None:
            lanes = self._lanes
            self._begun = Begun(lambda pool: work(lanes[pool]), len(lanes), self.workers)
        return deque(zip(*plans, strict=True))

    def abandon(self) -> None:
        """Nobody asks for what was begun last; returns once nobody works."""
        if self._begun is not None:
            self._begun.abandon()


_Work = Callable[["_Lane"], list[PoolPlan]]


def looked_up(
    batch: MiniBatch, pool: int, shape: PoolShape
) -> tuple[Int64s, Int64s | None, Int64s | None]:
    """What a pool of that shape loads of a mini-batch: distinct ids, their next uses and how often
    each is looked up, or all ids and no more where it was not deduped."""
    if isinstance(batch, DistinctBatch):
        distinct = batch.pools[pool]
        return distinct.ids, distinct.next_use, distinct.times
    return shape.ids(batch), None, None


class _Lane:
    """One pool on its way through the batches: its planner and, where asked for, the shadow."""

    def __init__(self, pool: int, planner: PoolPlanner, shadow: PoolPlanner | None) -> None:
        self._pool = pool
        self._planner = planner
        self._shadow = shadow
        self._shadow_missed: deque[Numbers] = deque()

    def steps(self, batches: Sequence[MiniBatch]) -> list[PoolPlan]:
        """Load `batches` one by one; plans of those whose look-ahead is complete by then."""
        plans = []
        for batch in batches:
            self._load(batch)
            if self._planner.waiting > self._planner.window.future:
                plans.append(self._plan())
        return plans

    def rest(self) -> list[PoolPlan]:
        """Plans of those that wait, once the trace has ended."""
        return [self._plan() for _ in range(self._planner.waiting)]

    def _load(self, batch: MiniBatch) -> None:
        ids, later, times = looked_up(batch, self._pool, self._planner.shape)
        self._planner.load(ids, later, times)
        if self._shadow is not None:
            self._shadow.load(ids, later, times)
            self._shadow_missed.append(self._shadow.plan().missed.rows)

    def _plan(self) -> PoolPlan:
        plan = self._planner.plan()
        if self._shadow is None:
            return plan
        missed_anyway = np.isin(plan.missed.rows, self._shadow_missed.popleft())
        return replace(plan, held_misses=len(plan.missed.rows) - int(missed_anyway.sum()))


def _counting(rows: int, dense: bool) -> HitMap:
    """A Hit-Map for rows that get no slots."""
    return DenseHitMap(rows, narrowest(0)) if dense else HashHitMap(rows)


def window_need(
    minibatches: Iterable[MiniBatch],
    rows: Sequence[int],
    window: Window,
    *,
    scope: str = "table",
) -> tuple[int, ...]:
    """The smallest capacity of each pool that can hold its window throughout; exact.

    The largest number of distinct rows that `window.batches` consecutive mini-batches look up.
    `rows`: of each table. Reads `minibatches` once, in order; state: a word a row (tables that are
    too large for that together: an entry a distinct row).
    """
    shapes = pool_shapes(rows, scope)
    dense = fits(sum(rows), HIT_MAP_BYTES)
    trackers = [WindowTracker(shape.rows, window, _counting(shape.rows, dense)) for shape in shapes]
    need = [0] * len(shapes)
    for batch in minibatches:
        for p, tracker in enumerate(trackers):
            tracker.load(shapes[p].ids(batch))
            need[p] = max(need[p], tracker.distinct)
    return tuple(need)
