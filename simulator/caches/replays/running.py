"""How replays of one trace run side by side.

What moves is separate from how long it takes: points that share trace, policy, capacity and window
share one replay, on however many machines they are timed. Equal replays run once, and so do equal
parts of tables; replays that want the same preparation of the mini-batches share that.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import count

from simulator._plugins import explained, place_of
from simulator.caches.facts import BatchFacts
from simulator.caches.ranges import Ranges, by_range
from simulator.caches.replays.base import Replay, copies
from simulator.caches.replays.drawing import drawn
from simulator.caches.replays.numbering import by_popularity, in_rows_of
from simulator.caches.replays.sampled import forget_samples
from simulator.caches.replays.twins import Single
from simulator.caches.run_facts import RunFacts
from simulator.caches.tiers import Counter
from simulator.errors import PluginError
from simulator.traces.base import MiniBatch, Trace
from simulator.traces.cuts import parted, split

__all__ = ["Replayed", "Stream", "run_replays"]


@dataclass(slots=True)
class Replayed:
    """The facts of every mini-batch, and the wall-clock seconds that they took."""

    facts: RunFacts = field(default_factory=RunFacts)
    wall_s: float = 0.0


@dataclass(slots=True)
class Stream:
    """The first `batches` mini-batches of a trace, drawn one after the other, or `ahead` (`drawn`).

    `source`: the trace that they are drawn from in place of `trace`, which it is but for how rows
    are numbered. `wall_s`: seconds that were waited for them.
    `longest`: of each mini-batch that was drawn and is not forgotten, by its number from 1 on, the
    longest bag of every table; `hottest`: where `counts_repeats`, the lookups of the row of every
    table that is looked up most; `ranges`: how the lookups of every table fall on the ranges that
    `range_bits` bits tell apart, 0: of none.
    """

    trace: Trace
    batches: int
    counts_repeats: bool = False
    range_bits: int = 0
    ahead: bool = False
    source: Trace | None = None
    wall_s: float = 0.0
    longest: dict[int, tuple[int, ...]] = field(default_factory=dict)
    hottest: dict[int, tuple[int, ...]] = field(default_factory=dict)
    ranges: dict[int, tuple[Ranges, ...]] = field(default_factory=dict)

    def __iter__(self) -> Iterator[MiniBatch]:
        for told in (self.longest, self.hottest, self.ranges):
            told.clear()
        batches = drawn(self.source or self.trace, self.batches, ahead=self.ahead)
        for number in count(1):
            begin = time.perf_counter()
            batch = next(batches, None)
            if batch is None:
                return
            self.longest[number] = batch.longest
            if self.counts_repeats:
                self.hottest[number] = batch.hottest
            if self.range_bits:
                self.ranges[number] = by_range(batch.ids, self.trace.rows, self.range_bits)
            self.wall_s += time.perf_counter() - begin
            yield batch
            del batch

    def forget(self, number: int) -> None:
        """What was told of a mini-batch is not asked for any more."""
        for told in (self.longest, self.hottest, self.ranges):
            told.pop(number, None)


def run_replays(
    stream: Stream,
    replays: Sequence[Replay],
    *,
    threads: int,
    progress: Callable[[int], None] | None = None,
) -> dict[Replay, Replayed]:
    """Run every distinct replay over the stream; `progress(mini-batches done)` after each one.

    The longest bags and the hottest rows, which chains of dependent work follow, and the ranges
    that threads take are those of the mini-batches themselves, whatever the replay tells; of a part
    of a table at most those of the table.
    """
    outcomes = {replay: Replayed() for replay in replays}
    singles = {replay: Single.of(replay, stream.trace) for replay in outcomes}
    own = list(dict.fromkeys(single.replay for single in singles.values()))
    trace = stream.trace
    if not stream.range_bits:  # ranges are of rows
        trace = stream.source = by_popularity(trace, own)
    prepared = [_Prepared(stream, group, threads) for group in _alike(own)]
    feeds = _feeds(stream, prepared)
    traces = {r: parted(trace, r.parts) for r in own}
    runs = {r: r.run(traces[r], feeds[r], threads) for r in own}
    counters = _counters(own, stream.trace)
    for done in range(1, stream.batches + 1):
        facts: dict[Replay, BatchFacts] = {}
        for replay, outcome in outcomes.items():
            begin, shared_s = time.perf_counter(), _shared_s(stream, prepared)
            single = singles[replay]
            if single.replay not in facts:
                told = _next(runs[single.replay], single.replay, done, stream.batches)
                if single.replay in counters:
                    told = counters[single.replay].counted(told)
                if trace is not stream.trace:
                    told = in_rows_of(stream.trace, told)
                facts[single.replay] = _with_most(told, single.replay, stream, done).packed()
            outcome.facts.append(single.spread(facts[single.replay]))
            shared_s = _shared_s(stream, prepared) - shared_s
            outcome.wall_s += time.perf_counter() - begin - shared_s
        stream.forget(done)
        if done == 1:  # all have begun
            for each in traces.values():
                forget_samples(each)
        if progress is not None:
            progress(done)
    for group in prepared:
        asking = [each for each in outcomes if singles[each].replay in group.replays]
        for replay in asking:
            outcomes[replay].wall_s += group.wall_s / len(asking)
    return outcomes


def _counters(replays: Sequence[Replay], trace: Trace) -> dict[Replay, Counter]:
    """What counts the rows of each replay by tier, where its tables lie in some."""
    made: dict[object, Counter] = {}
    counters = {}
    for replay in replays:
        tiers = replay.tiers
        if tiers is not None:
            key: object = replay if tiers.by_replay else tiers
            if key not in made:
                made[key] = tiers.counter(trace, replay.slots, partial(replay.resident, trace))
            counters[replay] = made[key]
    return counters


def _with_most(facts: BatchFacts, replay: Replay, stream: Stream, number: int) -> BatchFacts:
    """`facts` of the mini-batch of that number with its longest bags and its hottest rows, where it
    was drawn."""
    longest, hottest = stream.longest.get(number), stream.hottest.get(number)
    ranges = stream.ranges.get(number)
    if longest is not None:  # a replay need not draw
        facts = facts.with_bags([longest[part.table] for part in replay.parts] or longest)
    if hottest is not None:
        facts = facts.with_hottest([hottest[part.table] for part in replay.parts] or hottest)
    if ranges is not None and not replay.parts:
        facts = facts.with_ranges(ranges)
    return facts


def _next(run: Iterator[BatchFacts], replay: Replay, number: int, batches: int) -> BatchFacts:
    """The facts of the next mini-batch.

    Raises `PluginError` where the replay has none, or code from outside fails.
    """
    name = type(replay).__name__
    with explained(name, f"fails at mini-batch {number} of {batches}", type(replay)):
        facts = next(run, None)
    if isinstance(facts, BatchFacts):
        return facts
    where = place_of(type(replay).run)
    if facts is None:
        raise PluginError(f"{name} ended after {number - 1} of {batches} mini-batches ({where})")
    raise PluginError(f"{name} gave {facts!r:.80} in place of BatchFacts ({where})")


def _alike(replays: Sequence[Replay]) -> list[list[Replay]]:
    """`replays`, those together that share the preparation of mini-batches."""
    groups: dict[Hashable, list[Replay]] = {}
    for replay in replays:
        key: Hashable = replay
        if replay.feed is not None:
            key = (type(replay).shared, replay.feed, replay.parts)
        groups.setdefault(key, []).append(replay)
    return list(groups.values())


@dataclass(slots=True)
class _Prepared:
    """The mini-batches of a stream as `replays` want them; `wall_s`: seconds that were waited for
    that, not for those of the stream."""

    stream: Stream
    replays: Sequence[Replay]
    threads: int
    wall_s: float = 0.0

    def of(self, batches: Iterator[MiniBatch]) -> Iterator[MiniBatch]:
        parts, count = self.replays[0].parts, len(self.replays)
        if parts:
            batches = map(partial(split, parts=parts), batches)
        if count == 1:
            return batches
        trace = parted(self.stream.trace, parts)
        return self._timed(self.replays[0].shared(trace, self.replays, batches, self.threads))

    def _timed(self, batches: Iterator[MiniBatch]) -> Iterator[MiniBatch]:
        while True:
            begin, drawn_s = time.perf_counter(), self.stream.wall_s
            batch = next(batches, None)
            self.wall_s += time.perf_counter() - begin - (self.stream.wall_s - drawn_s)
            if batch is None:
                return
            yield batch
            del batch  # nobody may need it any more


def _shared_s(stream: Stream, prepared: Sequence[_Prepared]) -> float:
    """Seconds that were waited for what several replays share."""
    return stream.wall_s + sum(each.wall_s for each in prepared)


def _feeds(stream: Stream, prepared: Sequence[_Prepared]) -> dict[Replay, Iterator[MiniBatch]]:
    """The mini-batches of each replay: drawn once, prepared once for those that share that."""
    feeds: dict[Replay, Iterator[MiniBatch]] = {}
    for copy, each in zip(copies(stream, len(prepared)), prepared, strict=True):
        shared = copies(each.of(copy), len(each.replays))
        feeds |= zip(each.replays, shared, strict=True)
    return feeds
