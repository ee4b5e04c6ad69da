"""Replays of systems that tell samples whose rows are all hot from the others: FAE, which packs
either kind into mini-batches of its own, and Hotline, which divides every mini-batch.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from simulator.caches.facts import HIT, LOOKUP, MISS, UNIQUE, BatchFacts, Flow
from simulator.caches.plan.samples import Bools, Samples, all_hot
from simulator.caches.plan.static_split import (
    SparseStaticSplit,
    SplitBatch,
    StaticSplit,
    static_splits,
)
from simulator.caches.replays.base import Kept, Replay, bases, joined, slots_of_lookups
from simulator.caches.replays.hot_rows import HotRows
from simulator.caches.replays.static import HIT_LOOKUP, MISS_LOOKUP
from simulator.errors import ConfigError
from simulator.traces.base import MiniBatch, Trace

__all__ = ["POPULAR", "TO_COLD", "TO_HOT", "DividedReplay", "PackedReplay", "PopularReplay"]

Int64s = npt.NDArray[np.int64]

TO_HOT = "to_hot"
"""Hot rows, all of them, with a hot mini-batch after a cold one: their copies in HBM are renewed.
"""
TO_COLD = "to_cold"
"""The same with a cold mini-batch after a hot one: those in the tables are."""
POPULAR = "popular_lookup"
"""Lookups of samples whose rows are all hot; those of hot rows by other samples are `hit_lookup`.
"""


@dataclass(frozen=True)
class PopularReplay(Replay):
    """Base: hot rows that stay the same, a shard a table; slots are numbered over all tables."""

    hot: HotRows
    keep: Kept = ()

    @property
    def slots(self) -> tuple[int, ...]:
        return (self.hot.most,)

    @property
    def policy(self) -> str:
        return "static_hot"

    def resident(self, trace: Trace) -> Int64s:
        return joined(bases(trace.rows), self.hot.of(trace))


@dataclass(frozen=True)
class PackedReplay(PopularReplay):
    """Mini-batches packed anew: in each round first the cold ones, then those with hot rows alone.

    `length`: mini-batches of a round. Samples stay in their order within a kind; what fills no
    mini-batch goes on to the next round, for which the first round reads one mini-batch more. After
    the last round hot samples that fill none are packed with cold ones.
    """

    length: int = 1

    @property
    def cycle(self) -> int:
        return self.length

    def require_batches(self, count: int) -> None:
        if count < self.length:
            raise ConfigError(
                f"round_batches of fae packs {self.length:,} mini-batches together, but the run "
                f"has {count:,}, those after the timed ones included: lower it, or raise "
                "run.batches"
            )

    def run(self, trace: Trace, batches: Iterator[MiniBatch], threads: int) -> Iterator[BatchFacts]:
        del threads
        hot = self.hot.of(trace)
        splits = static_splits(hot, trace.rows)
        told = _Told(trace.rows, hot)
        kinds = _KindsToKeep(self.keep)
        before: bool | None = None
        for index, (is_hot, samples) in enumerate(_packed(splits, batches, self)):
            parts = [s.split(ids) for s, ids in zip(splits, samples.ids, strict=True)]
            keeps = kinds.keeps(index, is_hot)
            flows = told.flows(samples, parts, is_hot, keeps)
            switches = is_hot != before if before is not None else False
            flows[TO_HOT] = told.all_rows(switches and is_hot, keeps)
            flows[TO_COLD] = told.all_rows(switches and not is_hot, keeps)
            popular = all_hot([part.hot for part in parts], samples.offsets)
            yield BatchFacts(index, len(samples), flows, popular=int(popular.sum()))
            before = is_hot


Splits = Sequence[StaticSplit | SparseStaticSplit]
_OF_A_KIND = 2
"""Mini-batches of either kind whose rows are kept where any are: one that warms the processors'
caches, and one that is counted."""


@dataclass
class _KindsToKeep:
    """Which mini-batches keep rows: those that are asked for, and some of each kind after the first
    of those, for mini-batches that are asked for may be of one kind."""

    keep: Kept
    hot: int = 0
    cold: int = 0

    def keeps(self, index: int, is_hot: bool) -> bool:
        """Whether mini-batch `index`, of that kind, does; asked once for each, in order."""
        if not len(self.keep) or index < self.keep[0]:
            return False
        self.hot, self.cold = self.hot + is_hot, self.cold + (not is_hot)
        return index in self.keep or (self.hot if is_hot else self.cold) <= _OF_A_KIND


def _packed(
    splits: Splits, batches: Iterator[MiniBatch], replay: PackedReplay
) -> Iterator[tuple[bool, Samples]]:
    """Mini-batches of a kind (hot or not), as many as there are of mixed ones.

    Raises `ConfigError` where there are fewer than a round has.
    """
    waiting: dict[bool, list[Samples]] = {True: [], False: []}
    length = replay.length
    for number in itertools.count():
        wanted = length + (number == 0)
        came = list(itertools.islice(batches, wanted))
        if number == 0:
            replay.require_batches(len(came))
        for batch in came:
            samples, hot = Samples.of(batch), _hot_samples(splits, batch)
            waiting[True].append(samples.where(hot))
            waiting[False].append(samples.where(~hot))
        hot_ones, cold_ones = (Samples.joined(waiting[kind]) for kind in (True, False))
        size = batch.samples
        if len(came) < wanted:
            yield from _last(hot_ones, cold_ones, size)
            return
        cold = min(length, len(cold_ones) // size)
        waiting = {
            True: [*hot_ones.cut((length - cold) * size, len(hot_ones))],
            False: [*cold_ones.cut(cold * size, len(cold_ones))],
        }
        yield from _batches(cold_ones, cold, size, False)
        yield from _batches(hot_ones, length - cold, size, True)


def _last(hot: Samples, cold: Samples, size: int) -> Iterator[tuple[bool, Samples]]:
    """All that is left, in whole mini-batches."""
    whole = len(hot) // size
    packed, rest = hot.cut(0, whole * size, len(hot))
    others = Samples.joined([cold, rest])
    yield from _batches(others, len(others) // size, size, False)
    yield from _batches(packed, whole, size, True)


def _batches(samples: Samples, count: int, size: int, hot: bool) -> Iterator[tuple[bool, Samples]]:
    """The first `count` mini-batches out of `samples` of one kind."""
    for each in samples.cut(*range(0, (count + 1) * size, size)):
        yield hot, each


def _hot_samples(splits: Splits, batch: MiniBatch) -> Bools:
    """Which samples of a mini-batch have nothing but hot rows."""
    hot = [split.split(ids).hot for split, ids in zip(splits, batch.ids, strict=True)]
    return all_hot(hot, batch.offsets)


@dataclass(frozen=True)
class DividedReplay(PopularReplay):
    """Every mini-batch in two: the samples whose rows are all hot, and the others.

    `hit` and `miss`: hot and cold rows of both together. `popular_lookup`: lookups of the former;
    `hit_lookup`, `miss_lookup`: hot and cold ones of the others.
    """

    def run(self, trace: Trace, batches: Iterator[MiniBatch], threads: int) -> Iterator[BatchFacts]:
        del threads
        hot = self.hot.of(trace)
        splits = static_splits(hot, trace.rows)
        told = _Told(trace.rows, hot)
        for batch in batches:
            parts = [split.split(ids) for split, ids in zip(splits, batch.ids, strict=True)]
            popular = all_hot([part.hot for part in parts], batch.offsets)
            keeps = batch.index in self.keep
            samples = Samples.of(batch)
            flows = told.flows(samples, parts, None, keeps)
            flows |= told.divided(samples, parts, popular, keeps)
            yield BatchFacts(batch.index, batch.samples, flows, popular=int(popular.sum()))


class _Told:
    """Turns what is split into flows; `hot`: the hot rows of each table."""

    def __init__(self, rows: Sequence[int], hot: Sequence[Int64s]) -> None:
        self._hot = hot
        self._rows, self._slots = bases(rows), bases([len(each) for each in hot])

    def flows(
        self, samples: Samples, parts: Sequence[SplitBatch], served: bool | None, keeps: bool
    ) -> dict[str, tuple[Flow, ...]]:
        """Lookups, unique rows, hits and misses; `served`: whether all are hits or all are misses,
        None: hot ones are hits."""
        offsets = samples.offsets if keeps else ()
        tables = []
        for table, part in enumerate(parts):
            hit = self._flow(table, part.lookup_hits, part.hot_rows, part.hot_slots, keeps)
            cold = part.lookups - part.lookup_hits
            miss = self._flow(table, cold, part.cold_rows, None, keeps)
            unique = Flow(part.lookups, hit.rows + miss.rows)
            lookup = unique
            if keeps:
                unique = self._unique(table, part)
                lookup = self._lookup(table, part, samples.ids[table], offsets[table])
            if served is not None:
                hit, miss = (unique, Flow()) if served else (Flow(), unique)
            tables.append((lookup, unique, hit, miss))
        return dict(zip((LOOKUP, UNIQUE, HIT, MISS), zip(*tables, strict=True), strict=True))

    def divided(
        self, samples: Samples, parts: Sequence[SplitBatch], popular: Bools, keeps: bool
    ) -> dict[str, tuple[Flow, ...]]:
        """Lookups of popular samples, and hot and cold ones of the others."""
        flows: dict[str, list[Flow]] = {POPULAR: [], HIT_LOOKUP: [], MISS_LOOKUP: []}
        for table, (part, ids) in enumerate(zip(parts, samples.ids, strict=True)):
            theirs = np.repeat(popular, samples.lengths[table])
            chosen = {POPULAR: theirs, HIT_LOOKUP: part.hot & ~theirs, MISS_LOOKUP: ~part.hot}
            for name, which in chosen.items():
                flows[name].append(self._lookups(table, part, ids, which, keeps))
        return {name: tuple(each) for name, each in flows.items()}

    def all_rows(self, all_of_them: bool, keeps: bool) -> tuple[Flow, ...]:
        """All hot rows of each table, or none."""
        if not all_of_them:
            return (Flow(),) * len(self._hot)
        return tuple(
            self._flow(table, 0, rows, np.arange(len(rows)), keeps)
            for table, rows in enumerate(self._hot)
        )

    def _flow(
        self, table: int, lookups: int, rows: Int64s, slots: Int64s | None, keeps: bool
    ) -> Flow:
        if not keeps:
            return Flow(lookups, len(rows))
        where = None if slots is None else slots + self._slots[table]
        return Flow(lookups, len(rows), rows + self._rows[table], where)

    def _unique(self, table: int, part: SplitBatch) -> Flow:
        """Distinct rows, hot ones first; with slots where all are hot."""
        rows = np.concatenate([part.hot_rows, part.cold_rows])
        slots = part.hot_slots if not part.unique_misses else None
        return self._flow(table, part.lookups, rows, slots, True)

    def _lookup(self, table: int, part: SplitBatch, ids: Int64s, offsets: Int64s) -> Flow:
        """Every lookup; with slots where all are hot."""
        slots = None
        if not part.unique_misses:
            slots = slots_of_lookups(part.hot_rows, part.hot_slots, ids) + self._slots[table]
        count = part.unique_hits + part.unique_misses
        return Flow(part.lookups, count, ids + self._rows[table], slots, offsets)

    def _lookups(
        self, table: int, part: SplitBatch, ids: Int64s, which: Bools, keeps: bool
    ) -> Flow:
        """Some lookups: of hot rows, or of cold ones."""
        count = int(which.sum())
        if not keeps:
            return Flow(count, count)
        chosen, slots = ids[which], None
        if count and part.hot[which].all():
            ranks = slots_of_lookups(part.hot_rows, part.hot_slots, ids[part.hot])
            slots = ranks[which[part.hot]] + self._slots[table]
        elif not count:
            slots = np.empty(0, np.int64)
        return Flow(count, count, chosen + self._rows[table], slots)
