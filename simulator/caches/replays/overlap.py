"""What neighbouring mini-batches have in common: rows that one trains and the next looks up, and
the lookups of the next that these cover. Exact from the trace, without a policy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from simulator.caches.facts import LOOKUP, UNIQUE, BatchFacts, Flow
from simulator.caches.nodes import Spread
from simulator.caches.replays.base import copies
from simulator.caches.replays.nodes import NodeCounter, NodesReplay
from simulator.caches.replays.unique import UniqueReplay
from simulator.traces.base import MiniBatch, Trace

__all__ = ["AGAIN_LOOKUP", "ALONE", "FRESH_LOOKUP", "SHARED", "OverlapReplay"]

Int64s = npt.NDArray[np.int64]
Marks = npt.NDArray[np.bool_]

FRESH_LOOKUP = "fresh_lookup"
"""Lookups of rows that the mini-batch before does not train; all of the first one."""
AGAIN_LOOKUP = "again_lookup"
"""Lookups of rows that the mini-batch before trains."""
SHARED = "shared"
"""Distinct rows that the next mini-batch looks up too, with the lookups of this one."""
ALONE = "alone"
"""Distinct rows that the next mini-batch does not look up; all of the last one."""
_NONE = np.empty(0, np.int64)


@dataclass(frozen=True)
class OverlapReplay(NodesReplay):
    """Lookups and unique rows, and which of them neighbouring mini-batches share, a shard a table;
    with what is done at which node where there are `homes`."""

    @property
    def ahead(self) -> int:
        return 1

    def run(self, trace: Trace, batches: Iterator[MiniBatch], threads: int) -> Iterator[BatchFacts]:
        own, others = copies(batches, 2)
        unique = UniqueReplay(keep=range(2**62)).run(trace, others, threads)
        told = _Neighbours(self, trace)
        for batch, facts in zip(own, unique, strict=True):
            yield from told.after(batch, facts)
        yield from told.after(None, None)


@dataclass
class _Neighbours:
    """The mini-batch that waits for the next one, and the rows of the one before it."""

    replay: OverlapReplay
    trace: Trace

    def __post_init__(self) -> None:
        self._counter = NodeCounter(self.replay, self.trace)
        self._mark = np.zeros(sum(self.trace.rows), np.bool_)
        self._waiting: tuple[MiniBatch, BatchFacts] | None = None
        self._before = [_NONE] * len(self.trace.rows)

    def after(self, batch: MiniBatch | None, facts: BatchFacts | None) -> Iterator[BatchFacts]:
        """The facts of the mini-batch that waits, now that the next one is known (None: none)."""
        coming = [_NONE] * len(self._before) if facts is None else _unique(facts)
        if self._waiting is not None:
            yield self._told(*self._waiting, coming)
            self._before = _unique(self._waiting[1])
        self._waiting = None if batch is None or facts is None else (batch, facts)

    def _told(self, batch: MiniBatch, facts: BatchFacts, coming: list[Int64s]) -> BatchFacts:
        self._counter.begin(batch.samples)
        tables = [
            self._of_table(_Table(t, batch, facts, self._counter.starts[t]), rows)
            for t, rows in enumerate(coming)
        ]
        self._counter.end()
        flows = {name: tuple(table[name] for table in tables) for name in tables[0]}
        told = replace(facts, flows=flows)
        return told if facts.index in self.replay.keep else told.without_rows()

    def _of_table(self, own: _Table, coming: Int64s) -> dict[str, Flow]:
        before = self._before[own.table]
        again, known = (self._among(rows, before) for rows in (own.ids, own.rows))
        shared = self._among(own.rows, coming)
        covered = self._among(own.ids, own.rows[shared])
        flows = {
            FRESH_LOOKUP: own.looked_up(~again, ~known),
            AGAIN_LOOKUP: own.looked_up(again, known),
            SHARED: own.trained(covered, shared),
            ALONE: own.trained(~covered, ~shared),
            LOOKUP: own.lookup,
            UNIQUE: own.unique,
        }
        if not self.replay.homes:
            return flows
        fresh = self._spread(own, ~again, ~known, read=True)
        more = self._spread(own, again, known, read=True)
        some = self._spread(own, covered, shared)
        whole = self._spread(own, np.ones_like(again), np.ones_like(known))
        reads = tuple(map(sum, zip(fresh.read, more.read, strict=True)))
        whole = replace(whole, asked=whole.lookups, read=reads)
        spreads = (fresh, more, some, whole.without(some), whole, whole)
        return {
            name: replace(flow, nodes=spread)
            for (name, flow), spread in zip(flows.items(), spreads, strict=True)
        }

    def _spread(self, own: _Table, lookups: Marks, rows: Marks, *, read: bool = False) -> Spread:
        """Of some lookups and some distinct rows of a table."""
        before = np.concatenate(([0], np.cumsum(lookups)))
        edges = before[own.edges]
        return self._counter.spread(own.table, own.ids[lookups], edges, own.rows[rows], read=read)

    def _among(self, ids: Int64s, rows: Int64s) -> Marks:
        """Which of `ids` are among `rows`."""
        mark = self._mark
        mark[rows] = True
        found: Marks = mark[ids]
        mark[rows] = False
        return found


class _Table:
    """One table in one mini-batch; rows numbered over all tables."""

    def __init__(self, table: int, batch: MiniBatch, facts: BatchFacts, start: int) -> None:
        self.table = table
        self.ids: Int64s = batch.ids[table] + start
        self.edges: Int64s = batch.pooled[table]
        """Of its bags."""
        self.lookup, self.unique = (facts.flows[name][table] for name in (LOOKUP, UNIQUE))
        self.rows = _unique(facts)[table]

    def looked_up(self, lookups: Marks, rows: Marks) -> Flow:
        """Some lookups, with the number of their rows."""
        return Flow(int(lookups.sum()), int(rows.sum()), self.ids[lookups])

    def trained(self, lookups: Marks, rows: Marks) -> Flow:
        """Some rows, with the number of their lookups."""
        return Flow(int(lookups.sum()), int(rows.sum()), self.rows[rows])


def _unique(facts: BatchFacts) -> list[Int64s]:
    """The distinct rows of each table."""
    return [_NONE if flow.ids is None else flow.ids for flow in facts.flows[UNIQUE]]
