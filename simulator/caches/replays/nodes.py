"""Distinct rows of every mini-batch, and the nodes of a near-memory pool that they are in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from simulator._compiled import compiled
from simulator.caches.facts import LOOKUP, UNIQUE, BatchFacts, Flow
from simulator.caches.nodes import CopiedSums, Counts, Homes, NodeCache, Spread
from simulator.caches.per_lookup.base import HITS
from simulator.caches.per_lookup.lru import LookupLRU
from simulator.caches.policies.base import PolicySetup
from simulator.caches.replays.base import bases, copies
from simulator.caches.replays.copied import CopiedRows
from simulator.caches.replays.placed import PlacedRows
from simulator.caches.replays.unique import UniqueReplay
from simulator.config.trace import HALF
from simulator.traces.base import MiniBatch, Trace

__all__ = ["NodeCounter", "NodesReplay"]

Int64s = npt.NDArray[np.int64]
Int32s = npt.NDArray[np.int32]
_LAST = np.iinfo(np.int32).max


@dataclass(frozen=True)
class NodesReplay(UniqueReplay):
    """Lookups and unique rows, a shard a table, with what is done where (`Flow.nodes`).

    `homes`: of each table. `cache`: of every node. `samples`: nodes are asked for a row once in so
    many samples of a mini-batch; 0: once a lookup. `copied`: rows of each table, its hottest by
    `profile` of a file, that every home has a copy of; none: no table has such rows. `placed`:
    rows of each table in each region of homes, the hottest in the last; none: there is one region.
    """

    homes: tuple[Homes, ...] = ()
    cache: NodeCache | None = None
    samples: int = 0
    copied: tuple[int, ...] = ()
    placed: tuple[tuple[int, ...], ...] = ()
    profile: float = HALF

    def run(self, trace: Trace, batches: Iterator[MiniBatch], threads: int) -> Iterator[BatchFacts]:
        counter = NodeCounter(self, trace)
        own, others = copies(batches, 2)
        unique = UniqueReplay(keep=range(2**62))
        for batch, facts in zip(own, unique.run(trace, others, threads), strict=True):
            counter.begin(batch.samples)
            spreads = []
            for table, rows in enumerate(facts.flows[UNIQUE]):
                assert rows.ids is not None, "rows of all mini-batches are kept"
                ids = batch.ids[table] + counter.starts[table]
                spreads.append(counter.spread(table, ids, batch.pooled[table], rows.ids))
            counter.end()
            yield self._told(facts, spreads)

    def _told(self, facts: BatchFacts, spreads: list[Spread]) -> BatchFacts:
        kept = facts.index in self.keep
        flows = {
            name: tuple(
                replace(flow if kept else Flow(flow.lookups, flow.rows), nodes=spread)
                for flow, spread in zip(facts.flows[name], spreads, strict=True)
            )
            for name in (LOOKUP, UNIQUE)
        }
        return replace(facts, flows=flows)


@dataclass
class NodeCounter:
    """What mini-batches do at nodes, one after the other; keeps what their caches hold."""

    replay: NodesReplay
    trace: Trace
    starts: Int64s = field(init=False, repr=False)
    """Where each table begins."""
    stamps: Int32s = field(init=False, repr=False)
    """Of every row, the last part of a mini-batch that asked for it."""
    caches: dict[int, LookupLRU] = field(default_factory=dict, repr=False)
    """Of each home."""
    copied: CopiedRows | None = field(init=False, default=None, repr=False)
    """None: there are none."""
    placed: PlacedRows | None = field(init=False, default=None, repr=False)
    """None: all homes are one region."""
    parts: int = 0
    """Parts of mini-batches so far."""
    samples: int = 0
    """Of this mini-batch."""

    def __post_init__(self) -> None:
        self.starts = bases(self.trace.rows)
        self.stamps = np.zeros(sum(self.trace.rows) if self.replay.samples else 0, np.int32)
        if any(self.replay.copied):
            own = self.replay
            self.copied = CopiedRows.of(self.trace, self.starts, own.copied, own.profile)
        if self.replay.placed:
            own = self.replay
            widths = own.homes[0].widths
            self.placed = PlacedRows.of(self.trace, self.starts, own.placed, widths, own.profile)

    def begin(self, samples: int) -> None:
        """A mini-batch of so many samples."""
        self.samples, cache = samples, self.replay.cache
        if self.copied is not None:
            self.copied.begin()
        if cache is not None and not cache.stays:
            for held in self.caches.values():
                held.clear()
        if self.parts + samples >= _LAST:
            self.stamps[:] = 0
            self.parts = 0

    def end(self) -> None:
        """The mini-batch is done."""
        if self.replay.samples:
            self.parts += -(-self.samples // self.replay.samples)

    def spread(
        self, table: int, ids: Int64s, edges: Int64s, unique: Int64s, *, read: bool = True
    ) -> Spread:
        """Of lookups `ids` in a table, whose bags have these `edges`, and of their distinct rows;
        rows are numbered over all tables. `read`: whether caches are asked for them."""
        homes, samples = self.replay.homes[table], self.replay.samples
        where, kept, sums = self._places(homes, ids, unique)
        counts = np.zeros((2, homes.count), np.int64)
        places = np.zeros(4, np.int64)
        bags = samples * max(1, (len(edges) - 1) // max(1, self.samples))
        count_nodes(
            ids, where, edges, homes.modules, homes.channels, homes.outer, bags, self.stamps,
            self.parts, counts, places,
        )  # fmt: skip
        lookups, asked = (tuple(each.tolist()) for each in counts)
        asked = asked if samples else lookups
        cached = read and self.replay.cache is not None
        missed = self._read(homes, ids, lookups) if cached else asked
        vectors, rows = len(edges) - 1, tuple(kept.tolist())
        at, modules, channels, inner = places.tolist()
        return Spread(lookups, rows, asked, missed, vectors, at, modules, channels, inner, sums)

    def _places(
        self, homes: Homes, ids: Int64s, unique: Int64s
    ) -> tuple[Int64s, Int64s, CopiedSums]:
        """The home of each lookup, distinct rows of each home, and what of them is copied."""
        count = homes.count
        if homes.table is not None:
            rows = np.zeros(count, np.int64)
            rows[homes.table] = len(unique)
            return np.full(len(ids), homes.table), rows, CopiedSums()
        if self.placed is not None:
            where, rows = self.placed.homes(ids, homes), self.placed.homes(unique, homes)
            return where, np.bincount(rows, minlength=count), CopiedSums()
        where = homes.of(ids)
        if self.copied is None:
            return where, np.bincount(homes.of(unique), minlength=count), CopiedSums()
        self.copied.dealt(ids, where, count)
        sums = self.copied.sums(ids, where, count, homes.modules)
        return where, self.copied.rows(unique, count), sums

    def _read(self, homes: Homes, ids: Int64s, lookups: Counts) -> Counts:
        """Lookups of each home that its cache does not hold."""
        cache = self.replay.cache
        assert cache is not None, "there are caches"
        if cache.hot > 1:
            _, place, times = np.unique(ids, return_inverse=True, return_counts=True)
            ids = ids[times[place] >= cache.hot]
        if homes.table is not None:
            held = self._hits(homes.table, ids, sum(self.trace.rows))
            return tuple(n - held * (home == homes.table) for home, n in enumerate(lookups))
        rows = -(-sum(self.trace.rows) // homes.round)
        where = homes.of(ids)
        order = np.argsort(where, kind="stable")
        ends = np.cumsum(np.bincount(where, minlength=homes.count))
        cut = np.split(ids[order] // homes.round, ends[:-1])
        return tuple(
            count - self._hits(home, own, rows)
            for home, (count, own) in enumerate(zip(lookups, cut, strict=True))
        )

    def _hits(self, home: int, ids: Int64s, rows: int) -> int:
        """Lookups that the cache of a home holds; `ids`: numbered within it, below `rows`."""
        assert self.replay.cache is not None, "there are caches"
        if home not in self.caches:
            setup = PolicySetup(self.replay.cache.rows, 0, None)
            self.caches[home] = LookupLRU(setup, rows)
        held = self.caches[home]
        before = int(held.counts[HITS])
        held.feed(ids)
        return int(held.counts[HITS]) - before


@compiled
def count_nodes(
    ids: Int64s,
    where: Int64s,
    edges: Int64s,
    modules: int,
    channels: int,
    outer: int,
    bags: int,
    stamps: Int32s,
    first: int,
    counts: Int64s,
    places: Int64s,
) -> None:
    """Lookups of one table, and rows asked for once in every `bags` bags (0: not counted), into
    `counts` int64 (2, homes); pairs of bags with the homes, modules and channels that they have
    rows in, and with homes from `outer` on, into `places` int64 (4,).

    `ids`: row numbers over all tables; `where`: the home of each; `edges`: of the bags; `stamps`:
    of every row, where `first` is the last that others gave.
    """
    homes = counts.shape[1]
    seen = np.zeros((3, max(homes, modules, channels)), np.int64)
    for bag in range(len(edges) - 1):
        for k in range(edges[bag], edges[bag + 1]):
            row, home = ids[k], where[k]
            counts[0, home] += 1
            for level, place in ((0, home), (1, home % modules), (2, home % channels)):
                if seen[level, place] <= bag:
                    seen[level, place] = bag + 1
                    places[level] += 1
                    if level == 0 and home >= outer:
                        places[3] += 1
            if bags > 0:
                part = first + bag // bags + 1
                if stamps[row] != part:
                    stamps[row] = part
                    counts[1, home] += 1
