"""Cache replays of one trace: each mini-batch is drawn once and feeds all replays that want it.

What moves is separate from how long it takes: points that share trace, policy, capacity and
window share one replay, on however many machines they are timed.
"""

from __future__ import annotations

import dataclasses
import itertools
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from simulator.caches import (
    PoolPlan,
    PoolPlanner,
    SplitBatch,
    Window,
    build_planners,
    plan_batches,
    policy_class,
    pool_rows,
    static_splits,
)
from simulator.caches.plan.distinct import (
    DistinctBatch,
    distinct_batches,
    pool_shapes,
    with_next_uses,
)
from simulator.caches.plan.renumber import Numbering
from simulator.errors import CapacityError
from simulator.systems.base import BatchCounts, MovedRows, ReplayKind
from simulator.traces.base import MiniBatch, Trace

__all__ = ["Replay", "ReplayRequest", "Stream", "counts_of", "replay_all", "slots_of"]

Int64s = npt.NDArray[np.int64]
_NO_WINDOW = Window(0, 0)


@dataclass(frozen=True, slots=True)
class ReplayRequest:
    """What to replay; equal requests on one trace share a replay."""

    kind: ReplayKind
    slots: tuple[int, ...] = ()
    """Slots of each pool (`planned`) or pinned rows of each table (`static`)."""
    policy: str = ""
    scope: str = "table"
    window: Window = _NO_WINDOW
    prefill: str = "empty"
    held_misses: bool = False
    """Count misses that only the window caused."""
    seed: int = 0
    keep: frozenset[int] = frozenset()
    """Mini-batches whose row numbers are kept: for hits of the processors' caches, and for replay
    of memory addresses."""


@dataclass(slots=True)
class Replay:
    """The counts of every mini-batch, and the wall-clock seconds that they took."""

    counts: list[BatchCounts] = field(default_factory=list)
    wall_s: float = 0.0


@dataclass(slots=True)
class Stream:
    """The first `batches` mini-batches of a trace, drawn one after the other."""

    trace: Trace
    batches: int
    wall_s: float = 0.0

    def __iter__(self) -> Iterator[MiniBatch]:
        for index in range(self.batches):
            begin = time.perf_counter()
            batch = self.trace.minibatch(index)
            self.wall_s += time.perf_counter() - begin
            yield batch


def slots_of(
    trace: Trace,
    fraction: float,
    scope: str,
    window: Window,
    lookups: Sequence[int],
    *,
    need: Callable[[], Sequence[int]],
    grow: bool,
) -> tuple[tuple[int, ...], bool]:
    """Slots of each pool for a share of the rows, and whether they had to be grown.

    `lookups`: most lookups of a mini-batch in each table; `need`: the slots that the window takes,
    asked for only where they might not be there. Raises `CapacityError` with the numbers
    where the window does not fit and may not grow.
    """
    sizes = pool_rows(trace.rows, scope)
    slots = tuple(max(1, int(fraction * rows)) for rows in sizes)
    worst = pool_rows([window.batches * count for count in lookups], scope)
    if all(s >= min(w, rows) for s, w, rows in zip(slots, worst, sizes, strict=True)):
        return slots, False
    needed = need()
    grown = tuple(max(pair) for pair in zip(slots, needed, strict=True))
    if grown == slots or grow:
        return grown, grown != slots
    raise CapacityError(_too_small(slots, needed, sizes, fraction, window))


def _too_small(
    slots: Sequence[int], need: Sequence[int], sizes: Sequence[int], fraction: float, window: Window
) -> str:
    short = [p for p in range(len(slots)) if need[p] > slots[p]]
    pool = max(short, key=lambda p: need[p] / sizes[p])
    enough = max(need[p] / sizes[p] for p in short)
    return (
        f"cache.fraction {fraction:g} gives {slots[pool]:,} slots for {sizes[pool]:,} rows (pool "
        f"{pool}), but the window of {window.batches} mini-batches (past {window.past}, this one, "
        f"future {window.future}) holds up to {need[pool]:,} distinct rows: set cache.fraction to "
        f"at least {_rounded_up(enough)}, or cache.if_too_small: grow"
    )


def _rounded_up(fraction: float) -> str:
    return f"{min(1.0, np.ceil(fraction * 1e5) / 1e5):g}"


def replay_all(
    stream: Stream,
    requests: Sequence[ReplayRequest],
    *,
    threads: int | None,
    progress: Callable[[int], None] | None = None,
) -> dict[ReplayRequest, Replay]:
    """Replay the stream for every request; `progress(mini-batches done)` after each one.

    Planned replays with the same scope share deduped mini-batches and the index of next uses.
    """
    replays = {request: Replay() for request in requests}
    sharing: dict[object, list[ReplayRequest]] = {}
    for request in replays:
        key = request.scope if request.kind == "planned" else request
        sharing.setdefault(key, []).append(request)
    feeds: dict[ReplayRequest, Iterator[MiniBatch]] = {}
    for copy, group in zip(itertools.tee(stream, len(sharing)), sharing.values(), strict=True):
        feed = _distinct(stream.trace, group, copy, threads) if len(group) > 1 else copy
        feeds |= zip(group, itertools.tee(feed, len(group)), strict=True)
    runs = [
        _RUNS[request.kind](stream.trace, request, feeds[request], threads) for request in replays
    ]
    for done in range(1, stream.batches + 1):
        for run, replay in zip(runs, replays.values(), strict=True):
            begin, drawn = time.perf_counter(), stream.wall_s
            replay.counts.append(next(run))
            replay.wall_s += time.perf_counter() - begin - (stream.wall_s - drawn)
        if progress is not None:
            progress(done)
    return replays


def _distinct(
    trace: Trace,
    requests: Sequence[ReplayRequest],
    batches: Iterable[MiniBatch],
    threads: int | None,
) -> Iterator[MiniBatch]:
    """`batches` deduped once for all `requests` (planned, one scope)."""
    shapes = pool_shapes(trace.rows, requests[0].scope)
    found: Iterable[DistinctBatch]
    found = distinct_batches(batches, shapes, threads or os.cpu_count() or 1)
    if any(policy_class(request.policy).needs_future for request in requests):
        found = with_next_uses(list(found), shapes)
    yield from found


def _unique_only(
    trace: Trace, request: ReplayRequest, batches: Iterator[MiniBatch], threads: int | None
) -> Iterator[BatchCounts]:
    nothing = np.empty(0, np.int64)
    splits = static_splits([nothing] * len(trace.rows), trace.rows)
    bases = _bases(trace.rows)
    for batch in batches:
        unique = [split.split(ids).cold_rows for split, ids in zip(splits, batch.ids, strict=True)]
        moved = MovedRows()
        if batch.index in request.keep:
            rows, lookups = _joined(bases, unique), _joined(bases, batch.ids)
            moved = MovedRows(
                cpu_lookups=lookups, cpu_unique=rows, gpu_lookups=lookups, gpu_unique=rows
            )
        yield BatchCounts(
            index=batch.index,
            lookups=batch.lookups,
            unique_rows=sum(map(len, unique)),
            moved=moved,
        )


def _static(
    trace: Trace, request: ReplayRequest, batches: Iterator[MiniBatch], threads: int | None
) -> Iterator[BatchCounts]:
    hottest = [trace.hottest(table, count) for table, count in enumerate(request.slots)]
    splits = static_splits(hottest, trace.rows)
    for batch in batches:
        parts = [split.split(ids) for split, ids in zip(splits, batch.ids, strict=True)]
        hot = sum(part.unique_hits for part in parts)
        cold = sum(part.unique_misses for part in parts)
        yield BatchCounts(
            index=batch.index,
            lookups=batch.lookups,
            unique_rows=hot + cold,
            lookup_hits=sum(part.lookup_hits for part in parts),
            unique_hits=hot,
            misses=cold,
            moved=_moved_static(trace, request, batch, parts),
        )


def _moved_static(
    trace: Trace, request: ReplayRequest, batch: MiniBatch, parts: Sequence[SplitBatch]
) -> MovedRows:
    if batch.index not in request.keep:
        return MovedRows()
    rows, slots = _bases(trace.rows), _bases(request.slots)
    cold = [ids[~part.hot] for ids, part in zip(batch.ids, parts, strict=True)]
    hot = [
        _places(part.hot_rows, part.hot_slots, ids[part.hot])
        for ids, part in zip(batch.ids, parts, strict=True)
    ]
    return MovedRows(
        cpu_lookups=_joined(rows, cold),
        cpu_unique=_joined(rows, [part.cold_rows for part in parts]),
        gpu_lookups=_joined(slots, hot),
        gpu_unique=_joined(slots, [part.hot_slots for part in parts]),
    )


def _planned(
    trace: Trace, request: ReplayRequest, batches: Iterator[MiniBatch], threads: int | None
) -> Iterator[BatchCounts]:
    hottest = _profile(trace, request) if request.policy == "static_hot" else None
    preload = _profile(trace, request) if request.prefill == "hot" else None

    def planners_with(window: Window) -> tuple[PoolPlanner, ...]:
        return build_planners(
            request.policy,
            trace.rows,
            request.slots,
            window,
            scope=request.scope,
            seed=request.seed,
            hottest=hottest,
            preload=preload,
            preload_trained=True,
        )

    shadows = planners_with(_NO_WINDOW) if request.held_misses else None
    seen, planned = itertools.tee(batches) if request.keep else (iter(()), batches)
    planners = planners_with(request.window)
    for plan in plan_batches(planned, planners, request.window, threads=threads, shadows=shadows):
        counts = counts_of(plan.index, plan.pools)
        batch = next(seen, None)
        if batch is not None and plan.index in request.keep:
            counts = dataclasses.replace(counts, moved=_moved(trace, request, batch, plan.pools))
        yield counts


def _moved(
    trace: Trace, request: ReplayRequest, batch: MiniBatch, pools: Sequence[PoolPlan]
) -> MovedRows:
    rows = _bases(pool_rows(trace.rows, request.scope))
    slots = _bases(request.slots)
    ids = batch.ids if request.scope == "table" else [_joined(_bases(trace.rows), batch.ids)]
    lookups = [_places(p.rows, p.slots, of) for p, of in zip(pools, ids, strict=True)]
    return MovedRows(
        missed=_joined(rows, [p.missed_rows for p in pools]),
        victims=_joined(rows, [p.victim_rows[p.victim_dirty] for p in pools]),
        gpu_lookups=_joined(slots, lookups),
        gpu_unique=_joined(slots, [p.slots for p in pools]),
        missed_slots=_joined(slots, [p.missed_slots for p in pools]),
        victim_slots=_joined(slots, [p.victim_slots[p.victim_dirty] for p in pools]),
    )


def _places(rows: Int64s, slots: Int64s, ids: Int64s) -> Int64s:
    """The slot of each id, where `slots[k]` is the slot of `rows[k]`: the distinct `ids` in order
    of first occurrence."""
    return slots[Numbering(len(rows)).of(ids)]


def _bases(sizes: Sequence[int]) -> Int64s:
    """Where each table (or pool) starts in one numbering of all of them."""
    return np.cumsum([0, *sizes[:-1]], dtype=np.int64)


def _joined(bases: Int64s, parts: Sequence[Int64s]) -> Int64s:
    """Rows (slots) of all tables (pools) in one numbering."""
    return np.concatenate([part + base for part, base in zip(parts, bases, strict=True)])


def _profile(trace: Trace, request: ReplayRequest) -> list[Int64s]:
    """The hottest rows of each pool, as many as it has slots."""
    if request.scope == "table":
        return [trace.hottest(table, count) for table, count in enumerate(request.slots)]
    total, slots = sum(trace.rows), request.slots[0]
    bases = _bases(trace.rows)
    shares = [slots * rows // total for rows in trace.rows]
    ranked = [trace.hottest(t, share) + bases[t] for t, share in enumerate(shares)]
    # rank by rank across tables: row r of every table is about as hot
    order = np.argsort(np.concatenate([np.arange(len(r)) for r in ranked]), kind="stable")
    return [np.concatenate(ranked)[order]]


def counts_of(index: int, pools: Sequence[PoolPlan]) -> BatchCounts:
    """The plans of all pools of mini-batch `index`, summed."""
    return BatchCounts(
        index=index,
        lookups=sum(pool.lookups for pool in pools),
        unique_rows=sum(len(pool.rows) for pool in pools),
        lookup_hits=sum(pool.lookup_hits for pool in pools),
        unique_hits=sum(pool.unique_hits for pool in pools),
        misses=sum(len(pool.missed_rows) for pool in pools),
        victims=sum(len(pool.victim_rows) for pool in pools),
        write_backs=sum(int(pool.victim_dirty.sum()) for pool in pools),
        cold_misses=sum(pool.cold_misses for pool in pools),
        held_misses=_sum_known(pool.held_misses for pool in pools),
    )


def _sum_known(values: Iterable[int | None]) -> int | None:
    """The sum, or None where any is unknown."""
    known = list(values)
    return None if None in known else sum(value for value in known if value is not None)


_Run = Callable[[Trace, ReplayRequest, Iterator[MiniBatch], int | None], Iterator[BatchCounts]]
_RUNS: dict[ReplayKind, _Run] = {
    "none": _unique_only,
    "static": _static,
    "planned": _planned,
}
