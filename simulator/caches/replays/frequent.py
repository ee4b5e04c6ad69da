"""The split of lookups by frequent rows, of which every GPU has a copy for its own samples."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from simulator.caches.facts import HIT, LOOKUP, MISS, UNIQUE, BatchFacts, Flow
from simulator.caches.plan.static_split import (
    SparseStaticSplit,
    SplitBatch,
    StaticSplit,
    static_splits,
)
from simulator.caches.replays.base import Kept, Replay, bases, joined, slots_of_lookups
from simulator.caches.replays.static import HIT_LOOKUP, MISS_LOOKUP
from simulator.config.trace import HALF
from simulator.traces.base import MiniBatch, Trace
from simulator.traces.cuts import Parts, TablePart

__all__ = ["CROSSING", "TRAINED", "FrequentReplay"]

Int64s = npt.NDArray[np.int64]

CROSSING = "crossing"
"""Bags of a copy's samples that have an infrequent row (or none at all), as lookups: their pooled
vectors come from other GPUs."""
TRAINED = "trained"
"""Frequent rows that any sample looks up, each once, told by the first copy of a table."""
_NOTHING = np.empty(0, np.int64)


@dataclass(frozen=True)
class FrequentReplay(Replay):
    """Lookups of infrequent rows part by part (`miss`), then those of frequent ones copy by copy
    (`hit`), each copy for the samples of its GPU.

    `frequent`: rows of each table that are so, its hottest. `parts`: those of infrequent rows, then
    the `copies` copies of each table. All copies of a row have one number, and one slot in each; it
    counts once in each copy that is looked up.
    """

    frequent: tuple[int, ...]
    copies: int
    parts: Parts
    keep: Kept = ()
    profile: float = HALF
    """Share of a file whose lookups say which rows are the hottest."""

    @property
    def slots(self) -> tuple[int, ...]:
        return self.frequent

    @property
    def whole_slots(self) -> int:
        return sum(self.frequent)

    @property
    def first_copy(self) -> int:
        """Number of the first copy among the parts."""
        return len(self.parts) - len(self.frequent) * self.copies

    def resident(self, trace: Trace) -> Int64s:
        starts = bases(trace.rows)[self.first_copy :: self.copies]
        return joined(starts, self._hottest(trace))

    def _hottest(self, trace: Trace) -> list[Int64s]:
        """Frequent rows of each table."""
        firsts = range(self.first_copy, len(self.parts), self.copies)
        return [
            trace.hottest(first, count, self.profile)
            for first, count in zip(firsts, self.frequent, strict=True)
        ]

    def _splits(
        self, trace: Trace, hottest: Sequence[Int64s]
    ) -> list[StaticSplit | SparseStaticSplit]:
        """The split of each part."""
        sizes = {_cut(part): trace.rows[k] for k, part in enumerate(self.parts)}
        hot = [_of_part(hottest[table], parts, index) for table, index, parts in sizes]
        made = dict(zip(sizes, static_splits(hot, list(sizes.values())), strict=True))
        return [made[_cut(part)] for part in self.parts]

    def run(self, trace: Trace, batches: Iterator[MiniBatch], threads: int) -> Iterator[BatchFacts]:
        del threads
        hottest = self._hottest(trace)
        splits = self._splits(trace, hottest)
        starts, slots = bases(trace.rows), bases(self.frequent)
        for batch in batches:
            keeps = batch.index in self.keep
            marks = [np.zeros(count, np.bool_) for count in self.frequent]
            shards = []
            for number, (part, split) in enumerate(zip(self.parts, splits, strict=True)):
                ids = batch.ids[number]
                done = split.split(ids)
                if number < self.first_copy:
                    shards.append(_below(ids, done, int(starts[number]), keeps))
                    continue
                marks[part.table][done.hot_slots] = True
                first = self.first_copy + part.table * self.copies
                where = (int(starts[first]), int(slots[part.table]))
                shard = _above(ids, done, where, keeps)
                edges = _own_bags(batch.pooled[number], part.samples(batch.samples), batch.samples)
                shards.append(shard | {CROSSING: Flow(_crossing(done, edges))})
            for table, rows in enumerate(hottest):
                used = np.flatnonzero(marks[table])
                flow = Flow(len(used), len(used))
                first = self.first_copy + table * self.copies
                if keeps:
                    ids = rows[used] + starts[first]
                    flow = Flow(len(used), len(used), ids, used + slots[table])
                shards[first] |= {TRAINED: flow}
            yield BatchFacts(batch.index, batch.samples, _by_name(shards))


def _cut(part: TablePart) -> tuple[int, int, int]:
    """Equal for parts with the same rows: copies, and the whole table, share one split."""
    return (part.table, part.index, part.parts) if part.cut == "row" else (part.table, 0, 1)


def _of_part(rows: Int64s, parts: int, index: int) -> Int64s:
    """Which of `rows` a part by rows has, numbered as it does; a whole table has all."""
    return rows[rows % parts == index] // parts if parts > 1 else rows


def _below(ids: Int64s, split: SplitBatch, start: int, keeps: bool) -> dict[str, Flow]:
    """Flows of a part of the infrequent rows."""
    lookups, rows = len(ids) - split.lookup_hits, split.unique_misses
    if not keeps:
        flow = each = Flow(lookups, rows)
    else:
        flow = Flow(lookups, rows, split.cold_rows + start)
        each = Flow(lookups, rows, ids[~split.hot] + start)
    return {LOOKUP: each, UNIQUE: flow, MISS: flow, MISS_LOOKUP: each}


def _above(ids: Int64s, split: SplitBatch, starts: tuple[int, int], keeps: bool) -> dict[str, Flow]:
    """Flows of a copy of frequent rows; `starts`: the first row and slot of its table."""
    lookups, rows = split.lookup_hits, split.unique_hits
    flow = each = Flow(lookups, rows)
    if keeps:
        row, slot = starts
        hot = ids[split.hot]
        where = slots_of_lookups(split.hot_rows, split.hot_slots, hot)
        flow = Flow(lookups, rows, split.hot_rows + row, split.hot_slots + slot)
        each = Flow(lookups, rows, hot + row, where + slot)
    return {LOOKUP: each, UNIQUE: flow, HIT: flow, HIT_LOOKUP: each}


def _own_bags(edges: Int64s, samples: tuple[int, int], whole: int) -> Int64s:
    """The edges of the bags of some of `whole` samples; `edges`: of all."""
    each = (len(edges) - 1) // whole
    return edges[samples[0] * each : samples[1] * each + 1]


def _crossing(split: SplitBatch, edges: Int64s) -> int:
    """Bags (between `edges`) that frequent rows alone do not fill."""
    served = np.r_[0, np.cumsum(split.hot)][edges]
    lengths, hot = np.diff(edges), np.diff(served)
    return len(lengths) - int(((hot == lengths) & (lengths > 0)).sum())


def _by_name(shards: Sequence[dict[str, Flow]]) -> dict[str, tuple[Flow, ...]]:
    """Flows by name, a shard each; what a shard does not tell is nothing."""
    names = dict.fromkeys(name for shard in shards for name in shard)
    nothing = Flow(0, 0, _NOTHING, _NOTHING) if shards[0][LOOKUP].ids is not None else Flow()
    return {name: tuple(shard.get(name, nothing) for shard in shards) for name in names}
