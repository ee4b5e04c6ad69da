"""The split of lookups by pinned rows: the hottest of each table above, the others below."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from simulator.caches.facts import HIT, LOOKUP, MISS, UNIQUE, BatchFacts, Flow
from simulator.caches.plan.distinct import DistinctBatch, pool_shapes
from simulator.caches.plan.static_split import (
    SparseStaticSplit,
    SplitBatch,
    StaticSplit,
    static_splits,
)
from simulator.caches.replays.base import (
    Kept,
    bases,
    edges_of,
    joined,
    slots_of_lookups,
)
from simulator.caches.replays.deduped import DedupedReplay, deduped
from simulator.caches.replays.twins import twins
from simulator.caches.tiers import Tiers
from simulator.config.trace import HALF
from simulator.traces.base import MiniBatch, Trace
from simulator.traces.cuts import Parts

__all__ = ["StaticReplay"]

Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True)
class StaticReplay(DedupedReplay):
    """Lookups and unique rows of pinned rows (`hit`) and of all others (`miss`), a shard a table.

    `pinned`: rows of each table that the upper tier holds, its hottest. Kept `hit` rows are the
    distinct ones with their slots; `lookup` rows keep no slots.
    """

    pinned: tuple[int, ...]
    keep: Kept = ()
    profile: float = HALF
    """Share of a file whose lookups say which rows are the hottest."""
    parts: Parts = ()
    tiers: Tiers | None = None

    @property
    def ignores_numbers(self) -> bool:
        return type(self) is StaticReplay and not self.parts and self.tiers is None

    @property
    def twins(self) -> tuple[int, ...]:
        return twins(self.parts, self.pinned)

    def of_parts(self, numbers: Sequence[int]) -> StaticReplay:
        return replace(
            self,
            pinned=tuple(self.pinned[k] for k in numbers),
            parts=tuple(self.parts[k] for k in numbers),
        )

    @property
    def slots(self) -> tuple[int, ...]:
        return self.pinned

    @property
    def policy(self) -> str:
        return "static_hot"

    def resident(self, trace: Trace) -> Int64s:
        return joined(bases(trace.rows), self._hottest(trace))

    def _hottest(self, trace: Trace) -> list[Int64s]:
        counts = enumerate(self.pinned)
        return [trace.hottest(table, count, self.profile) for table, count in counts]

    def run(self, trace: Trace, batches: Iterator[MiniBatch], threads: int) -> Iterator[BatchFacts]:
        splits = static_splits(self._hottest(trace), trace.rows)
        for batch in deduped(batches, pool_shapes(trace.rows, self.scope), threads):
            if batch.index in self.keep:
                parts = [split.split(ids) for split, ids in zip(splits, batch.ids, strict=True)]
                flows = self._with_rows(trace, batch, parts)
            else:
                flows = _counts(batch, splits)
            yield BatchFacts(batch.index, batch.samples, flows)

    def _with_rows(
        self, trace: Trace, batch: MiniBatch, parts: Sequence[SplitBatch]
    ) -> dict[str, tuple[Flow, ...]]:
        rows, slots = bases(trace.rows), bases(self.pinned)
        edges = edges_of(batch, self.parts)
        flows: dict[str, list[Flow]] = {name: [] for name in (*_NAMES, HIT_LOOKUP, MISS_LOOKUP)}
        for table, split in enumerate(parts):
            ids, hot = batch.ids[table], split.hot
            hot_ids = ids[hot]
            hot_slots = slots_of_lookups(split.hot_rows, split.hot_slots, hot_ids)
            hit = Flow(
                split.lookup_hits,
                split.unique_hits,
                split.hot_rows + rows[table],
                split.hot_slots + slots[table],
            )
            miss = Flow(
                len(ids) - split.lookup_hits, split.unique_misses, split.cold_rows + rows[table]
            )
            unique = np.concatenate([split.hot_rows, split.cold_rows]) + rows[table]
            count = split.unique_hits + split.unique_misses
            flows[LOOKUP].append(Flow(len(ids), count, ids + rows[table], offsets=edges[table]))
            flows[UNIQUE].append(Flow(len(ids), count, unique))
            flows[HIT].append(hit)
            flows[MISS].append(miss)
            flows[HIT_LOOKUP].append(
                Flow(hit.lookups, hit.rows, hot_ids + rows[table], hot_slots + slots[table])
            )
            flows[MISS_LOOKUP].append(Flow(miss.lookups, miss.rows, ids[~hot] + rows[table]))
        return {name: tuple(each) for name, each in flows.items()}


HIT_LOOKUP = "hit_lookup"
"""Every lookup of a pinned row, in order: row and slot."""
MISS_LOOKUP = "miss_lookup"
"""Every other lookup, in order."""
_NAMES = (LOOKUP, UNIQUE, HIT, MISS)


def _counts(
    batch: DistinctBatch, splits: Sequence[StaticSplit | SparseStaticSplit]
) -> dict[str, tuple[Flow, ...]]:
    pools = batch.pools
    everything = tuple(
        Flow(len(ids), len(pool.ids)) for ids, pool in zip(batch.ids, pools, strict=True)
    )
    hit = tuple(Flow(*split.count(pool)) for split, pool in zip(splits, pools, strict=True))
    miss = tuple(
        Flow(every.lookups - hot.lookups, every.rows - hot.rows)
        for every, hot in zip(everything, hit, strict=True)
    )
    return {
        LOOKUP: everything,
        UNIQUE: everything,
        HIT: hit,
        MISS: miss,
        HIT_LOOKUP: hit,
        MISS_LOOKUP: miss,
    }
