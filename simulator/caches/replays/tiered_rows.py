"""The split of lookups by tiers of rows: the hotter a row, the nearer it is to all samples.

Of the rows of an upper tier each run of `Tier.gpus` GPUs has a copy, row r at GPU r modulo that
number of the run, for the samples of the run; all other rows lie where the parts of tables do.
"""

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

__all__ = ["BELOW", "CROSSING", "TRAINED", "WANTED", "Tier", "TieredReplay"]

Int64s = npt.NDArray[np.int64]
Split = StaticSplit | SparseStaticSplit

CROSSING = "crossing"
"""Bags of a GPU's samples that rows copied to it do not fill, as lookups: vectors for them come
from other GPUs. Told by pieces of tiers that each GPU has whole."""
WANTED = "wanted"
"""Lookups of a GPU's samples in a tier, whoever serves them."""
BELOW = "below"
"""Lookups of a GPU's samples in no upper tier; told by pieces of the first one."""
TRAINED = "trained"
"""Rows of a piece that any sample looks up, each once; told by pieces of the first run of GPUs."""
_NOTHING = np.empty(0, np.int64)


@dataclass(frozen=True)
class Tier:
    """Rows that lie on every run of `gpus` GPUs; `rows`: how many of each table."""

    rows: tuple[int, ...]
    gpus: int = 1

    def runs(self, gpus: int) -> range:
        """First GPU of each run, of `gpus` GPUs."""
        return range(0, gpus, self.gpus)


@dataclass(frozen=True)
class TieredReplay(Replay):
    """Lookups of rows of no upper tier part by part (`miss`), then tier by tier and table by table
    those that each GPU serves (`hit`).

    `upper`: tiers, the hottest rows first. `parts`: those of all other rows, then for each
    tier and table a copy for the samples of each of `gpus` GPUs. A row of a tier has one number on
    all GPUs, and one slot; it counts once on each GPU that looks it up.
    """

    upper: tuple[Tier, ...]
    gpus: int
    parts: Parts
    keep: Kept = ()
    profile: float = HALF
    """Share of a file whose lookups say which rows are the hottest."""

    @property
    def slots(self) -> tuple[int, ...]:
        return tuple(count for tier in self.upper for count in tier.rows)

    @property
    def whole_slots(self) -> int:
        return sum(self.slots)

    @property
    def first(self) -> int:
        """Number of the first piece of an upper tier."""
        return len(self.parts) - len(self.slots) * self.gpus

    @property
    def pools(self) -> range:
        """Number of the first piece of each tier and table."""
        return range(self.first, len(self.parts), self.gpus)

    def resident(self, trace: Trace) -> Int64s:
        starts = bases(trace.rows)[self.first :: self.gpus]
        return joined(starts, [rows for tier in self._hottest(trace) for rows in tier])

    def _hottest(self, trace: Trace) -> list[list[Int64s]]:
        """Rows of each tier and table."""
        each = zip(self.pools, *(tier.rows for tier in self.upper), strict=False)
        ranked = [trace.hottest(first, sum(rows), self.profile) for first, *rows in each]
        ends = np.cumsum([(0,) * len(ranked), *(tier.rows for tier in self.upper)], axis=0)
        return [
            [rows[begin:end] for rows, begin, end in zip(ranked, begins, ends, strict=True)]
            for begins, ends in zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True)
        ]

    def _splits(self, trace: Trace, tiers: Sequence[Sequence[Int64s]]) -> list[Split]:
        """The split of each part by all upper tiers, then that of each tier and table."""
        cuts = self.parts[: self.first]
        upper = [np.concatenate(rows) for rows in zip(*tiers, strict=True)]
        hot = [_of_part(upper[part.table], part) for part in cuts]
        hot += [rows for tier in tiers for rows in tier]
        return static_splits(hot, [trace.rows[k] for k in (*range(self.first), *self.pools)])

    def run(self, trace: Trace, batches: Iterator[MiniBatch], threads: int) -> Iterator[BatchFacts]:
        del threads
        splits = self._splits(trace, self._hottest(trace))
        starts = bases(trace.rows)
        for batch in batches:
            keeps = batch.index in self.keep
            below = [
                _below(batch.ids[k], split.split(batch.ids[k]), int(starts[k]), keeps)
                for k, split in enumerate(splits[: self.first])
            ]
            above = self._above(batch, splits[self.first :], starts, keeps)
            yield BatchFacts(batch.index, batch.samples, _by_name([*below, *above]))

    def _above(
        self, batch: MiniBatch, splits: Sequence[Split], starts: Int64s, keeps: bool
    ) -> list[dict[str, Flow]]:
        """Flows of all pieces of upper tiers."""
        slots, tables, samples = bases(self.slots), len(self.upper[0].rows), batch.samples
        shards: list[dict[str, Flow]] = []
        for pool, (first, split) in enumerate(zip(self.pools, splits, strict=True)):
            tier = self.upper[pool // tables]
            where = (int(starts[first]), int(slots[pool])) if keeps else None
            pieces = _Pieces(tier.gpus, split, self.slots[pool], where)
            for gpu in tier.runs(self.gpus):
                own = range(first + gpu, first + gpu + tier.gpus)
                whole = [(batch.pooled[k], self.parts[k]) for k in own if tier.gpus == 1]
                edges = [_own_bags(edges, part, samples) for edges, part in whole]
                pieces.add([batch.ids[k] for k in own], edges)
            shards += pieces.told()
        for k in range(tables * self.gpus):
            wanted = sum(shard[WANTED].lookups for shard in shards[k :: tables * self.gpus])
            shards[k][BELOW] = Flow(len(batch.ids[self.first + k]) - wanted)
        return shards


class _Pieces:
    """A tier's pieces of a table in a mini-batch, run of GPUs by run."""

    def __init__(
        self, gpus: int, split: Split, rows: int, where: tuple[int, int] | None = None
    ) -> None:
        """`gpus`: of a run; `where`: first row and slot of the table, where rows are kept."""
        self._gpus, self._split, self._where = gpus, split, where
        self._used = np.full(rows, -1, np.int64)
        """Row in each slot that a sample looks up."""
        self._shards: list[dict[str, Flow]] = []

    def add(self, ids: Sequence[Int64s], edges: Sequence[Int64s]) -> None:
        """A run of GPUs; `ids`: lookups of the samples of each; `edges`: of their bags, where a GPU
        is a run."""
        whole = ids[0] if len(ids) == 1 else np.concatenate(ids)
        done = self._split.split(whole)
        self._used[done.hot_slots] = done.hot_rows
        served = np.r_[0, np.cumsum(done.hot)]
        wanted = np.diff(served[np.cumsum([0, *map(len, ids)])])
        shards = self._served(whole[done.hot], done)
        for shard, lookups in zip(shards, wanted.tolist(), strict=True):
            self._shards.append(shard | {WANTED: Flow(lookups)})
        if edges:
            self._shards[-1][CROSSING] = Flow(_crossing(served, edges[0]))

    def _served(self, hot: Int64s, done: SplitBatch) -> Iterator[dict[str, Flow]]:
        """Flows of each GPU of a run; `hot`: lookups of rows of the tier."""
        n = self._gpus
        owners, owner = done.hot_rows % n, hot % n
        lookups, rows = (np.bincount(k, minlength=n).tolist() for k in (owner, owners))
        for index in range(n):
            flow = each = Flow(lookups[index], rows[index])
            if self._where is not None:
                row, slot = self._where
                mine, ids = owners == index, hot[owner == index]
                own, slots = done.hot_rows[mine], done.hot_slots[mine]
                flow = Flow(lookups[index], rows[index], own + row, slots + slot)
                places = slots_of_lookups(own, slots, ids)
                each = Flow(lookups[index], rows[index], ids + row, places + slot)
            yield {LOOKUP: each, UNIQUE: flow, HIT: flow, HIT_LOOKUP: each}

    def told(self) -> list[dict[str, Flow]]:
        """Flows of all GPUs, once all are added."""
        slots = np.flatnonzero(self._used >= 0)
        rows = self._used[slots]
        for index in range(self._gpus):
            mine = rows % self._gpus == index
            count = int(mine.sum())
            flow = Flow(count, count)
            if self._where is not None:
                row, slot = self._where
                flow = Flow(count, count, rows[mine] + row, slots[mine] + slot)
            self._shards[index][TRAINED] = flow
        return self._shards


def _of_part(rows: Int64s, part: TablePart) -> Int64s:
    """Which of `rows` a part by rows has, numbered as it does; a whole table has all."""
    return part.of(rows)[1] if part.cut == "row" else rows


def _below(ids: Int64s, split: SplitBatch, start: int, keeps: bool) -> dict[str, Flow]:
    """Flows of a part of the rows of no upper tier."""
    lookups, rows = len(ids) - split.lookup_hits, split.unique_misses
    if not keeps:
        flow = each = Flow(lookups, rows)
    else:
        flow = Flow(lookups, rows, split.cold_rows + start)
        each = Flow(lookups, rows, ids[~split.hot] + start)
    return {LOOKUP: each, UNIQUE: flow, MISS: flow, MISS_LOOKUP: each}


def _own_bags(edges: Int64s, part: TablePart, samples: int) -> Int64s:
    """Of the edges of bags of all `samples`, those of the samples that `part` serves."""
    first, last = part.samples(samples)
    each = (len(edges) - 1) // samples
    own: Int64s = edges[first * each : last * each + 1]
    return own


def _crossing(served: Int64s, edges: Int64s) -> int:
    """Bags (between `edges`) that rows of the tier alone do not fill; `served`: its lookups before
    each."""
    lengths, hot = np.diff(edges), np.diff(served[edges])
    return len(lengths) - int(((hot == lengths) & (lengths > 0)).sum())


def _by_name(shards: Sequence[dict[str, Flow]]) -> dict[str, tuple[Flow, ...]]:
    """Flows by name, a shard each; what a shard does not tell is nothing."""
    names = dict.fromkeys(name for shard in shards for name in shard)
    nothing = Flow(0, 0, _NOTHING, _NOTHING) if shards[0][LOOKUP].ids is not None else Flow()
    return {name: tuple(shard.get(name, nothing) for shard in shards) for name in names}
