"""A cache in host memory before the tables in a tier below: what one tier misses the next is asked.

Of every mini-batch the rows that a system reads in its tables and those that it writes there are
looked up in pools of slots under LRU. Rows that are read and not there come up from the tier below;
rows that are written whole take a slot without that. What leaves goes down if it was changed.
Exact, without time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from simulator.caches.facts import BatchFacts, Flow
from simulator.caches.plan.base import Window
from simulator.caches.plan.planning import build_planners, pool_rows
from simulator.caches.plan.scratchpad import PoolPlanner
from simulator.caches.replays.sampled import sampled_rows
from simulator.caches.tiers import Resident
from simulator.errors import CapacityError
from simulator.traces.base import Trace

__all__ = ["FILLED", "SPILLED", "HostCache", "HostRows"]

Int64s = npt.NDArray[np.int64]

FILLED = "filled"
"""Rows that come up from the tier below."""
SPILLED = "spilled"
"""Changed rows that go down to it."""


@dataclass(frozen=True)
class HostCache:
    """What the cache is. `slots`: of each pool; `reads`, `writes`: flows of the rows that a
    mini-batch reads and writes in its tables, a shard a pool; `held`: mini-batches before one whose
    rows may not leave, for they may not have been written yet; `keep`: mini-batches whose row
    numbers the facts keep."""

    slots: tuple[int, ...]
    reads: str
    writes: str
    scope: str = "table"
    held: int = 0
    prefill: str = "empty"
    profile: float = 1.0
    keep: tuple[int, ...] | range = ()

    by_replay: ClassVar[bool] = True

    def counter(self, trace: Trace, above: Sequence[int], resident: Resident) -> HostRows:
        """Its state before the first mini-batch of `trace`."""
        preload = None if self.prefill == "empty" else self._valued(trace, above, resident())
        planners = build_planners(
            "lru",
            trace.rows,
            self.slots,
            Window(self.held, 0),
            scope=self.scope,
            preload=preload,
            preload_trained=True,
        )
        starts = (0,) if self.scope == "global" else tuple(np.cumsum([0, *trace.rows[:-1]]))
        changed = np.zeros(sum(trace.rows), np.bool_)
        for start, rows in zip(starts, preload or (), strict=False):
            changed[rows + start] = True
        return HostRows(self, planners, starts, changed)

    def _valued(self, trace: Trace, above: Sequence[int], resident: Int64s) -> list[Int64s]:
        """Rows of each pool to start with: those that were used last and are not above, or the
        hottest where that has no closed form."""
        sizes = pool_rows(trace.rows, self.scope)
        upper = above if len(above) == len(sizes) else (0,) * len(sizes)
        wanted = [min(sum(pair), n) for *pair, n in zip(self.slots, upper, sizes, strict=True)]
        ranked = sampled_rows(trace, wanted, self.scope) if self.prefill == "steady" else None
        if ranked is None:
            ranked = self._hottest(trace, wanted)
        held = np.zeros(sum(trace.rows), np.bool_)
        held[resident[resident >= 0]] = True
        starts = np.cumsum([0, *sizes[:-1]])
        return [
            rows[~held[rows + start]][:count]
            for rows, start, count in zip(ranked, starts, self.slots, strict=True)
        ]

    def _hottest(self, trace: Trace, wanted: Sequence[int]) -> list[Int64s]:
        if self.scope == "table":
            return [trace.hottest(t, count, self.profile) for t, count in enumerate(wanted)]
        total, starts = sum(trace.rows), np.cumsum([0, *trace.rows[:-1]])
        shares = [wanted[0] * count // total for count in trace.rows]
        ranked = [trace.hottest(t, n, self.profile) + starts[t] for t, n in enumerate(shares)]
        order = np.argsort(np.concatenate([np.arange(len(r)) for r in ranked]), kind="stable")
        return [np.concatenate(ranked)[order]]


@dataclass
class HostRows:
    """The cache as mini-batches go by."""

    cache: HostCache
    planners: tuple[PoolPlanner, ...]
    starts: Sequence[int]
    changed: npt.NDArray[np.bool_]
    """Of every row, whether the tier below has an old value of it."""

    def counted(self, facts: BatchFacts) -> BatchFacts:
        """`facts` with what comes up and goes down; row numbers are left in where they are to be
        kept.

        Raises `CapacityError` where the rows that it must hold have no room.
        """
        cache, kept = self.cache, facts.index in self.cache.keep
        pairs = zip(facts.flows[cache.reads], facts.flows[cache.writes], strict=True)
        shards = [
            self._moved(pool, _ids(read), _ids(written))
            for pool, (read, written) in enumerate(pairs)
        ]
        told = facts if kept else facts.without_rows()
        flows = {
            name: tuple(Flow(0, len(rows), rows if kept else None) for rows in each)
            for name, each in zip((FILLED, SPILLED), zip(*shards, strict=True), strict=True)
        }
        return replace(told, flows={**told.flows, **flows})

    def _moved(self, pool: int, reads: Int64s, writes: Int64s) -> tuple[Int64s, Int64s]:
        """Rows, over all tables, that come up and that go down."""
        start, planner = self.starts[pool], self.planners[pool]
        touched = reads if reads is writes else np.unique(np.concatenate([reads, writes]))
        try:
            planner.load(touched - start, times=np.ones(len(touched), np.int64))
        except CapacityError as error:
            raise CapacityError(
                f"tables.cache: {error}: raise tables.cache, or lower model.batch_size"
            ) from error
        plan = planner.plan()
        came, left = plan.missed_rows + start, plan.victim_rows + start
        filled = came if reads is writes else came[np.isin(came, reads)]
        spilled = left[self.changed[left]]
        self.changed[left] = False
        self.changed[writes] = True
        return filled, spilled


def _ids(rows: Flow) -> Int64s:
    """Row numbers of a flow, which replays with tiers keep for all mini-batches."""
    return np.empty(0, np.int64) if rows.ids is None else rows.ids
