"""Distinct rows of every mini-batch: all that a system without a cache needs to know."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from simulator.caches.facts import LOOKUP, UNIQUE, BatchFacts, Flow
from simulator.caches.plan.distinct import pool_shapes
from simulator.caches.replays.base import Kept, bases, edges_of
from simulator.caches.replays.deduped import DedupedReplay, deduped
from simulator.caches.replays.twins import twins
from simulator.caches.tiers import Tiers
from simulator.traces.base import MiniBatch, Trace
from simulator.traces.cuts import Parts

__all__ = ["UniqueReplay"]


@dataclass(frozen=True)
class UniqueReplay(DedupedReplay):
    """Lookups and unique rows, a shard a table."""

    keep: Kept = ()
    parts: Parts = ()
    tiers: Tiers | None = None

    @property
    def ignores_numbers(self) -> bool:
        return type(self) is UniqueReplay and not self.parts and self.tiers is None

    @property
    def twins(self) -> tuple[int, ...]:
        return twins(self.parts)

    def of_parts(self, numbers: Sequence[int]) -> UniqueReplay:
        return replace(self, parts=tuple(self.parts[k] for k in numbers))

    def run(self, trace: Trace, batches: Iterator[MiniBatch], threads: int) -> Iterator[BatchFacts]:
        starts = bases(trace.rows)
        for batch in deduped(batches, pool_shapes(trace.rows, self.scope), threads):
            unique = [pool.ids for pool in batch.pools]
            sizes = [(len(ids), len(rows)) for ids, rows in zip(batch.ids, unique, strict=True)]
            lookup = rows = tuple(Flow(n, k) for n, k in sizes)
            if batch.index in self.keep:
                lookup = tuple(
                    Flow(n, k, ids + start, offsets=offsets)
                    for (n, k), ids, start, offsets in zip(
                        sizes, batch.ids, starts, edges_of(batch, self.parts), strict=True
                    )
                )
                rows = tuple(
                    Flow(n, k, rows + start)
                    for (n, k), rows, start in zip(sizes, unique, starts, strict=True)
                )
            yield BatchFacts(batch.index, batch.samples, {LOOKUP: lookup, UNIQUE: rows})
