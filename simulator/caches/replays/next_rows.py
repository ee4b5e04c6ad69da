"""Distinct rows of every mini-batch and of the one after it: what one mini-batch of look-ahead
gives."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from simulator.caches.facts import UNIQUE, BatchFacts, Flow
from simulator.caches.replays.unique import UniqueReplay
from simulator.traces.base import MiniBatch, Trace

__all__ = ["NEXT", "NEXT_ALONE", "NextRowsReplay"]

Int64s = npt.NDArray[np.int64]

NEXT = "next"
"""Lookups and distinct rows of the next mini-batch; none where there is no next one."""
NEXT_ALONE = "next_alone"
"""Those of its rows that this mini-batch does not look up."""


@dataclass(frozen=True)
class NextRowsReplay(UniqueReplay):
    """Lookups and unique rows of a mini-batch and of the next one, a shard a table."""

    @property
    def ahead(self) -> int:
        return 1

    def run(self, trace: Trace, batches: Iterator[MiniBatch], threads: int) -> Iterator[BatchFacts]:
        unique = UniqueReplay(keep=range(2**62), parts=self.parts)
        mark = np.zeros(sum(trace.rows), np.bool_)
        before: BatchFacts | None = None
        for facts in unique.run(trace, batches, threads):
            if before is not None:
                yield self._told(before, facts, mark)
            before = facts
        if before is not None:
            yield self._told(before, None, mark)

    def _told(
        self, facts: BatchFacts, after: BatchFacts | None, mark: npt.NDArray[np.bool_]
    ) -> BatchFacts:
        """`facts` with the rows of the mini-batch `after`; `mark`: False for every row."""
        kept = facts.index in self.keep
        coming = tuple(Flow(0, 0, np.empty(0, np.int64)) for _ in range(facts.shards))
        if after is not None:
            coming = after.flows[UNIQUE]
        pairs = zip(facts.flows[UNIQUE], coming, strict=True)
        alone = tuple(_without(mark, rows.ids, flow.ids) for rows, flow in pairs)
        flows = {**facts.flows, NEXT: coming, NEXT_ALONE: alone}
        told = replace(facts, flows=flows)
        return told if kept else told.without_rows()


def _without(mark: npt.NDArray[np.bool_], rows: Int64s | None, coming: Int64s | None) -> Flow:
    """Those of `coming` that are not among `rows`."""
    if rows is None or coming is None:
        return Flow(0, 0, np.empty(0, np.int64))
    mark[rows] = True
    left = coming[~mark[coming]]
    mark[rows] = False
    return Flow(0, len(left), left)
