"""The state that a cache reaches on a trace, before the first mini-batch of a run.

LRU on independent draws is sampled: the rows of the cache are those that were looked up last, and
when that was has a closed form (`traces.recency`). Exact but for the independence of rows that it
takes. Elsewhere mini-batches of the past are planned without being timed: from so far back that all
slots are taken and misses no longer trend over the last half of them; if they do, from twice as far
back. At most `MOST` of them, or all that there are. Where draws are independent in time it does not
matter which of the past they are, so that more of them follow those that were too few.

Approximated: the past knows no window (a row that coming mini-batches look up is not held yet), so
that the first mini-batches of the run miss a few rows more: below 1 % of them, and gone after as
many mini-batches as the window looks ahead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
import numpy.typing as npt

from simulator._threads import cores, map_threads
from simulator.caches.facts import Start
from simulator.caches.plan.base import Window
from simulator.caches.plan.distinct import (
    DistinctBatch,
    distinct_batches,
    pool_shapes,
    with_next_uses,
)
from simulator.caches.plan.planning import looked_up, together
from simulator.caches.plan.scratchpad import PoolPlanner
from simulator.caches.replays.sampled import age_of
from simulator.caches.trend import trend_of
from simulator.traces.base import MiniBatch, Trace
from simulator.traces.draws import draws_of

__all__ = ["MOST", "MOST_LOOKUPS", "MOST_PLAYED", "NO_WINDOW", "Past", "Started"]
__all__ += [
    "attempts",
    "fitting",
    "is_settled",
    "most_played",
    "outcomes",
    "restart",
]

Int64s = npt.NDArray[np.int64]

MOST = 512
"""Mini-batches of the past that are planned at most."""
MOST_PLAYED = 84_000_000
"""Lookups of the past that are planned at most (and `_FEWEST` mini-batches whatever those look up).
256 mini-batches of the default model; more of them matter to LFU alone, whose counts grow for ever:
twice as many take another 2.5 % off its misses in a cache of 2 %, at twice the time."""
MOST_LOOKUPS = 40_000_000
"""Lookups of the past that are kept at most for a policy that looks ahead: 8 B each, and 24 B a
distinct id (about 1.2 GB)."""
NO_WINDOW = Window(0, 0)
_FEWEST = 32
_TURNS = 2.0
"""Times over that the first attempt fills the cache."""


@dataclass(frozen=True, slots=True)
class Started:
    """Planners as they are before the first mini-batch of a run, and how they came to it.

    `coming`: the mini-batches of the run, with next uses where those were asked for.
    """

    planners: tuple[PoolPlanner, ...]
    start: Start
    coming: Sequence[DistinctBatch] = ()


@dataclass(frozen=True, slots=True)
class Past:
    """The past of a run of mini-batches `coming` in a cache of `capacities` slots."""

    trace: Trace
    capacities: tuple[int, ...]
    scope: str
    threads: int
    coming: Sequence[DistinctBatch]

    def planned(self, build: Callable[[], tuple[PoolPlanner, ...]], needs_future: bool) -> Started:
        """Planners of `build` (without a window) after as many mini-batches of the past as it
        takes."""
        most = self._most_ahead() if needs_future else most_played(self.trace)
        draws = draws_of(self.trace)
        stays = not needs_future and draws is not None and draws.independent
        capacity, planners, coming = sum(self.capacities), build(), self.coming
        plans: list[tuple[int, int]] = []
        done = count = 0
        for count in attempts(self.trace, self.capacities, self.scope, most):
            if done and not stays:
                planners, plans, done = build(), [], 0
            first = -most if stays else -count
            drawn = map(self.trace.minibatch, range(first + done, first + count))
            past: Iterator[MiniBatch] = self._fitting(drawn)
            if needs_future:
                past, coming = self._with_next_uses(list(self._deduped(drawn)))
            plans += outcomes(past, planners, self.threads)
            done = count
            if is_settled(plans, capacity):
                break
        return Started(planners, Start("planned", count), coming)

    def _most_ahead(self) -> int:
        lookups = max((batch.lookups for batch in self.coming), default=1)
        return max(_FEWEST, min(MOST, MOST_LOOKUPS // max(1, lookups)))

    def _deduped(self, batches: Iterable[MiniBatch]) -> Iterator[DistinctBatch]:
        """Those that fit."""
        shapes = pool_shapes(self.trace.rows, self.scope)
        return fitting(distinct_batches(batches, shapes, self.threads or cores()), self.capacities)

    def _fitting(self, batches: Iterable[MiniBatch]) -> Iterator[MiniBatch]:
        """Those that fit; where lookups alone say that, as they were drawn: a planner dedupes what
        it loads."""
        shapes = pool_shapes(self.trace.rows, self.scope)
        pairs = list(zip(shapes, self.capacities, strict=True))
        for batch in batches:
            if all(shape.lookups(batch) <= slots for shape, slots in pairs):
                yield batch
            else:
                yield from self._deduped([batch])

    def _with_next_uses(
        self, past: Sequence[DistinctBatch]
    ) -> tuple[Iterator[DistinctBatch], Sequence[DistinctBatch]]:
        """The past and what is to come, each id with its next use in either.

        What comes after the run need not be known: rows that are used there alone are evicted
        before all others in any case.
        """
        shapes = pool_shapes(self.trace.rows, self.scope)
        every = with_next_uses([*past, *self.coming], shapes)
        return iter(every[: len(past)]), every[len(past) :]


def restart(planners: Sequence[PoolPlanner], window: Window, *, all_known: bool = False) -> None:
    """`PoolPlanner.restart` of all pools."""
    for planner in planners:
        planner.restart(window, all_known=all_known)


def most_played(trace: Trace) -> int:
    """Mini-batches of the past that are planned at most, for policies that do not look ahead."""
    lookups = 1 if trace.past == 0 else max(1, trace.minibatch(-1).lookups)
    return max(_FEWEST, min(MOST, MOST_PLAYED // lookups))


def attempts(
    trace: Trace, capacities: Sequence[int], scope: str, most: int = MOST
) -> Iterator[int]:
    """How many mini-batches of the past to plan, then how many if that was too few, and so on."""
    most = most if trace.past is None else min(most, trace.past)
    count = min(most, max(_FEWEST, ceil(min(_TURNS * _filled(trace, capacities, scope), most))))
    while count < most:
        yield count
        count = min(2 * count, most)
    yield most


def _filled(trace: Trace, capacities: Sequence[int], scope: str) -> float:
    """Mini-batches of independent draws that fill all pools to 99 % (of what is looked up); 0
    where that is not known."""
    draws = draws_of(trace)
    if draws is None:
        return 0.0
    slowest = 0.0
    for shape, capacity in zip(pool_shapes(trace.rows, scope), capacities, strict=True):
        tables = [draws.ages(table) for table in shape.tables]
        touched = sum(table.touched for table in tables)
        slowest = max(slowest, age_of(tables, 0.99 * min(capacity, touched)))
    return slowest


def fitting(batches: Iterator[DistinctBatch], capacities: Sequence[int]) -> Iterator[DistinctBatch]:
    """`batches` without those that look up more rows than a pool has slots.

    A run refuses those; in a past they are passed over.
    """
    for batch in batches:
        pairs = zip(batch.pools, capacities, strict=True)
        if all(len(pool.ids) <= capacity for pool, capacity in pairs):
            yield batch


def is_settled(plans: Sequence[tuple[int, int]], capacity: int) -> bool:
    """Whether all slots are taken and the misses of the last half of `plans` do not trend (or
    there are none).

    `plans`: resident rows and misses after each mini-batch; `capacity`: of all pools.
    """
    misses = [missed for _, missed in plans[len(plans) // 2 :]]
    trend = trend_of(misses)
    full = plans[-1][0] == capacity if plans else False
    return trend is not None and not trend.moves and (full or not any(misses))


def outcomes(
    batches: Iterator[MiniBatch], planners: Sequence[PoolPlanner], threads: int
) -> list[tuple[int, int]]:
    """Resident rows and misses of all pools after each of `batches`, which `planners` (without a
    window) plan."""
    told: list[tuple[int, int]] = []
    for group in together(batches):

        def plan(pool: int, group: Sequence[MiniBatch] = group) -> list[tuple[int, int]]:
            return [_outcome(planners[pool], pool, batch) for batch in group]

        pools = map_threads(plan, len(planners), threads or cores())
        for each in zip(*pools, strict=True):
            resident, missed = zip(*each, strict=True)
            told.append((sum(resident), sum(missed)))
    return told


def _outcome(planner: PoolPlanner, pool: int, batch: MiniBatch) -> tuple[int, int]:
    planner.load(*looked_up(batch, pool, planner.shape))
    plan = planner.plan()
    return plan.resident_rows, len(plan.missed.rows)
