"""Pinned rows in a near-memory pool, all others outside of it: the split of lookups, and the nodes
that those of pinned rows are in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from simulator.caches.facts import HIT, BatchFacts, Flow
from simulator.caches.nodes import Homes
from simulator.caches.plan.static_split import SplitBatch, static_splits
from simulator.caches.replays.nodes import NodeCounter, NodesReplay
from simulator.caches.replays.static import HIT_LOOKUP, StaticReplay
from simulator.traces.base import MiniBatch, Trace

__all__ = ["HotNodesReplay"]


@dataclass(frozen=True)
class HotNodesReplay(StaticReplay):
    """Lookups and unique rows of pinned rows and of all others, a shard a table; of pinned ones
    with what is done where (`Flow.nodes`): slots go round the `homes` by their number."""

    homes: tuple[Homes, ...] = ()

    def run(self, trace: Trace, batches: Iterator[MiniBatch], threads: int) -> Iterator[BatchFacts]:
        del threads
        splits = static_splits(self._hottest(trace), trace.rows)
        counter = NodeCounter(NodesReplay(homes=self.homes), trace)
        for batch in batches:
            parts = [split.split(ids) for split, ids in zip(splits, batch.ids, strict=True)]
            counter.begin(batch.samples)
            flows = self._with_rows(trace, batch, parts)
            told = self._told(counter, batch, parts, flows)
            facts = BatchFacts(batch.index, batch.samples, {**flows, **told})
            yield facts if batch.index in self.keep else facts.without_rows()

    def _told(
        self,
        counter: NodeCounter,
        batch: MiniBatch,
        parts: list[SplitBatch],
        flows: dict[str, tuple[Flow, ...]],
    ) -> dict[str, tuple[Flow, ...]]:
        """Flows of pinned rows, with their nodes."""
        spreads = []
        for table, split in enumerate(parts):
            lookups, rows = flows[HIT_LOOKUP][table].slots, flows[HIT][table].slots
            assert lookups is not None, "rows are kept up to here"
            assert rows is not None, "rows are kept up to here"
            before = np.concatenate(([0], np.cumsum(split.hot)))
            edges = before[batch.pooled[table]]
            spreads.append(counter.spread(table, lookups, edges, rows))
        return {
            name: tuple(
                replace(flow, nodes=spread)
                for flow, spread in zip(flows[name], spreads, strict=True)
            )
            for name in (HIT_LOOKUP, HIT)
        }
