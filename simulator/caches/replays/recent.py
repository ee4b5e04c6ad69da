"""The replay of buffers of rows that are handed on from mini-batch to mini-batch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from simulator.caches.facts import HIT, LOOKUP, MISS, UNIQUE, BatchFacts, Flow
from simulator.caches.plan.distinct import DistinctBatch, distinct_batches, pool_shapes
from simulator.caches.plan.recent import InBuffer, RecentRows
from simulator.caches.replays.base import Kept, Replay, bases, slots_of_lookups
from simulator.traces.base import MiniBatch, Trace

__all__ = ["MATCHED", "NEWEST", "RecentReplay"]

Int64s = npt.NDArray[np.int64]

NEWEST = "newest"
"""Rows that earlier mini-batches in flight train too, where the newest of those has them; `hit` has
them where they go."""
MATCHED = "matched"
"""Distinct rows of a mini-batch and of those in flight before it, whose ids are compared."""


@dataclass(frozen=True)
class RecentReplay(Replay):
    """All distinct rows of a mini-batch in a buffer of its own, of `buffers` in a ring; those that
    the mini-batches before it in the ring train too are copied out of theirs (`hit`); a shard a
    table.

    `sizes`: slots of a buffer for each table.
    """

    sizes: tuple[int, ...]
    buffers: int
    keep: Kept = ()

    @property
    def slots(self) -> tuple[int, ...]:
        return tuple(size * self.buffers for size in self.sizes)

    def run(self, trace: Trace, batches: Iterator[MiniBatch], threads: int) -> Iterator[BatchFacts]:
        rings = [RecentRows(self.buffers, size) for size in self.sizes]
        starts = list(zip(bases(trace.rows).tolist(), bases(self.slots).tolist(), strict=True))
        for batch in distinct_batches(batches, pool_shapes(trace.rows, "table"), threads):
            shards = []
            for table, ring in enumerate(rings):
                ids = batch.pools[table].ids
                matched = Flow(len(ids) + ring.rows, len(ids))
                told = _Table(batch, table, ring.load(ids), starts[table])
                shards.append(told.flows(batch.index in self.keep) | {MATCHED: matched})
            yield BatchFacts(
                batch.index,
                batch.samples,
                {name: tuple(shard[name] for shard in shards) for name in shards[0]},
            )


@dataclass(frozen=True)
class _Table:
    """A mini-batch in one table; `starts`: its first row and its first slot."""

    batch: DistinctBatch
    table: int
    where: InBuffer
    starts: tuple[int, int]

    def flows(self, keeps: bool) -> dict[str, Flow]:
        """Its flows, with row numbers where it `keeps` them."""
        slots, newest = self.where
        everything, shared = np.ones(len(slots), np.bool_), newest >= 0
        flows = {
            LOOKUP: self._flow(everything, slots, keeps),
            UNIQUE: self._flow(everything, slots, keeps),
            HIT: self._flow(shared, slots, keeps),
            MISS: self._flow(~shared, slots, keeps),
            NEWEST: self._flow(shared, newest, keeps),
        }
        return flows | {LOOKUP: self._lookups(flows[LOOKUP])} if keeps else flows

    def _flow(self, chosen: npt.NDArray[np.bool_], slots: Int64s, keeps: bool) -> Flow:
        pool, (row, slot) = self.batch.pools[self.table], self.starts
        lookups, rows = int(pool.times[chosen].sum()), int(chosen.sum())
        if not keeps:
            return Flow(lookups, rows)
        return Flow(lookups, rows, pool.ids[chosen] + row, slots[chosen] + slot)

    def _lookups(self, flow: Flow) -> Flow:
        """Every lookup, in order."""
        ids, (row, slot) = self.batch.ids[self.table], self.starts
        where = slots_of_lookups(self.batch.pools[self.table].ids, self.where.slots, ids)
        offsets = self.batch.offsets[self.table]
        return Flow(flow.lookups, flow.rows, ids + row, where + slot, offsets)
