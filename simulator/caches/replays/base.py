"""What a replay is, and how replays of one trace run side by side.

What moves is separate from how long it takes: points that share trace, policy, capacity and window
share one replay, on however many machines they are timed. Equal replays run once; replays that
want the same preparation of the mini-batches share that.
"""

from __future__ import annotations

import itertools
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import numpy.typing as npt

from simulator._plugins import explained
from simulator.caches.facts import BatchFacts
from simulator.caches.plan.renumber import Numbering
from simulator.errors import InvariantError
from simulator.traces.base import MiniBatch, Trace
from simulator.traces.cuts import Parts, parted, split, whole_rows

__all__ = ["Kept", "Replay", "Replayed", "Stream", "bases", "joined", "run_replays"]
__all__ += ["slots_of_lookups"]

Int64s = npt.NDArray[np.int64]
Kept = tuple[int, ...] | range
"""Numbers of mini-batches."""


class Replay(ABC):
    """What must be replayed for a system: a frozen, hashable value without a trace.

    Equal replays of one trace give equal facts and run once. `keep`: mini-batches whose row
    numbers the facts hold, for hits of the processors' caches, for replay of memory addresses and
    for the checker.
    """

    keep: Kept
    parts: Parts = ()
    """Parts of tables that it replays as tables of their own; none: tables as they are."""

    @property
    def cycle(self) -> int:
        """Mini-batches after which what it does repeats: trends are those of whole cycles."""
        return 1

    def counted(self, facts: BatchFacts) -> BatchFacts:
        """`facts` where rows are meant and not their pieces: parts by columns count once."""
        shards = whole_rows(self.parts, facts.shards)
        return facts if len(shards) == facts.shards else facts.of_shards(shards)

    @property
    def whole_slots(self) -> int:
        """Slots for whole rows: those of parts by columns count once."""
        slots = self.slots
        return sum(slots[k] for k in whole_rows(self.parts if slots else (), len(slots)))

    @property
    def slots(self) -> tuple[int, ...]:
        """Slots of the upper tier, a pool each; empty where there is no cache."""
        return ()

    @property
    def grown(self) -> bool | None:
        """Whether the cache had to be enlarged to hold its window; None where it has no window."""
        return None

    @property
    def policy(self) -> str | None:
        """Replacement policy; None where nothing is replaced."""
        return None

    @property
    def feed(self) -> Hashable | None:
        """Replays with equal feeds can share `shared` mini-batches; None: raw ones."""
        return None

    def shared(
        self, trace: Trace, group: Sequence[Replay], batches: Iterator[MiniBatch], threads: int
    ) -> Iterator[MiniBatch]:
        """`batches` prepared once for all of `group`, which have this replay's feed."""
        del trace, group, threads
        return batches

    def resident(self, trace: Trace) -> Int64s:
        """Rows (over all tables) in the first slots before the first mini-batch; -1: empty."""
        del trace
        return np.empty(0, np.int64)

    @abstractmethod
    def run(self, trace: Trace, batches: Iterator[MiniBatch], threads: int) -> Iterator[BatchFacts]:
        """The facts of every mini-batch, in order. `threads` may be used; facts do not depend on
        how many."""


@dataclass(slots=True)
class Replayed:
    """The facts of every mini-batch, and the wall-clock seconds that they took."""

    facts: list[BatchFacts] = field(default_factory=list)
    wall_s: float = 0.0


@dataclass(slots=True)
class Stream:
    """The first `batches` mini-batches of a trace, drawn one after the other.

    `longest`: of each mini-batch that was drawn, the longest bag of every table.
    """

    trace: Trace
    batches: int
    wall_s: float = 0.0
    longest: list[tuple[int, ...]] = field(default_factory=list)

    def __iter__(self) -> Iterator[MiniBatch]:
        self.longest.clear()
        for index in range(self.batches):
            begin = time.perf_counter()
            batch = self.trace.minibatch(index)
            self.longest.append(batch.longest)
            self.wall_s += time.perf_counter() - begin
            yield batch


def run_replays(
    stream: Stream,
    replays: Sequence[Replay],
    *,
    threads: int,
    progress: Callable[[int], None] | None = None,
) -> dict[Replay, Replayed]:
    """Run every distinct replay over the stream; `progress(mini-batches done)` after each one.

    The longest bags, which chains of dependent lookups follow, are those of the mini-batches
    themselves, whatever the replay tells; of a part of a table at most those of the table.
    """
    outcomes = {replay: Replayed() for replay in replays}
    feeds = _feeds(stream, list(outcomes), threads)
    runs = [r.run(parted(stream.trace, r.parts), feeds[r], threads) for r in outcomes]
    for done in range(1, stream.batches + 1):
        for run, (replay, outcome) in zip(runs, outcomes.items(), strict=True):
            begin, drawn = time.perf_counter(), stream.wall_s
            facts = _next(run, replay, done, stream.batches)
            for longest in stream.longest[done - 1 : done]:  # a replay need not draw
                own = [longest[part.table] for part in replay.parts]
                facts = facts.with_bags(own or longest)
            outcome.facts.append(facts)
            outcome.wall_s += time.perf_counter() - begin - (stream.wall_s - drawn)
        if progress is not None:
            progress(done)
    return outcomes


def _next(run: Iterator[BatchFacts], replay: Replay, number: int, batches: int) -> BatchFacts:
    """The facts of the next mini-batch.

    Raises `InvariantError` where the replay has none, `PluginError` where code of another package
    fails.
    """
    with explained(type(replay).__name__, f"fails at mini-batch {number} of {batches}"):
        facts = next(run, None)
    if facts is None:
        raise InvariantError(
            f"{type(replay).__name__} ended after {number - 1} of {batches} mini-batches"
        )
    if not isinstance(facts, BatchFacts):
        raise InvariantError(f"{type(replay).__name__} gave {facts!r} in place of BatchFacts")
    return facts


def _feeds(
    stream: Stream, replays: Sequence[Replay], threads: int
) -> dict[Replay, Iterator[MiniBatch]]:
    """The mini-batches of each replay: drawn once, prepared once for those that share that."""
    groups: dict[Hashable, list[Replay]] = {}
    for replay in replays:
        key = replay if replay.feed is None else (type(replay), replay.feed, replay.parts)
        groups.setdefault(key, []).append(replay)
    feeds: dict[Replay, Iterator[MiniBatch]] = {}
    for copy, group in zip(itertools.tee(stream, len(groups)), groups.values(), strict=True):
        parts = group[0].parts
        feed: Iterator[MiniBatch] = map(partial(split, parts=parts), copy) if parts else copy
        if len(group) > 1:
            feed = group[0].shared(parted(stream.trace, parts), group, feed, threads)
        feeds |= zip(group, itertools.tee(feed, len(group)), strict=True)
    return feeds


def edges_of(batch: MiniBatch, parts: Parts) -> Sequence[Int64s | None]:
    """Edges of the samples of each table, for facts that keep them; of parts none: there may be
    thousands, with an edge for every sample each."""
    return (None,) * len(batch.ids) if parts else batch.offsets


def bases(sizes: Sequence[int]) -> Int64s:
    """Where each table (or pool) starts in one numbering of all of them."""
    return np.cumsum([0, *sizes[:-1]], dtype=np.int64)


def joined(starts: Int64s, arrays: Sequence[Int64s]) -> Int64s:
    """Rows (slots) of all tables (pools) in one numbering."""
    return np.concatenate([array + start for array, start in zip(arrays, starts, strict=True)])


def slots_of_lookups(rows: Int64s, slots: Int64s, ids: Int64s) -> Int64s:
    """The slot of each of `ids`, where `slots[k]` is the slot of `rows[k]`: the distinct `ids` in
    order of first occurrence."""
    return slots[Numbering(len(rows)).of(ids)]
