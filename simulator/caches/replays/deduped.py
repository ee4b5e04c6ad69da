"""What replays of distinct ids share: mini-batches deduped once for all of them."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from itertools import chain
from typing import cast

from simulator._threads import cores
from simulator.caches.plan.distinct import (
    DistinctBatch,
    PoolShape,
    distinct_batches,
    pool_shapes,
    with_next_uses,
)
from simulator.caches.replays.base import Replay
from simulator.traces.base import MiniBatch, Trace

__all__ = ["DedupedReplay", "deduped"]


class DedupedReplay(Replay):
    """A replay of distinct ids; those of one scope share deduped mini-batches and the index of
    next uses, whatever their kind."""

    scope: str = "table"
    """`table`: ids are distinct within a table, `global`: over all tables."""

    @property
    def wants_next_uses(self) -> bool:
        """Whether it wants the next use of every id with the mini-batches."""
        return False

    @property
    def dedupes_itself(self) -> bool:
        """Whether distinct ids save it less than making them takes."""
        return False

    @property
    def feed(self) -> Hashable:
        return self.scope

    def shared(
        self, trace: Trace, group: Sequence[Replay], batches: Iterator[MiniBatch], threads: int
    ) -> Iterator[MiniBatch]:
        """`batches` deduped once for all of `group`, with next uses where one asks for them; as
        they are where all dedupe them by the way."""
        if all(isinstance(replay, DedupedReplay) and replay.dedupes_itself for replay in group):
            yield from batches
            return
        shapes = pool_shapes(trace.rows, self.scope)
        distinct: Iterable[DistinctBatch] = deduped(batches, shapes, threads)
        if any(isinstance(replay, DedupedReplay) and replay.wants_next_uses for replay in group):
            distinct = with_next_uses(list(distinct), shapes)
        yield from distinct


def deduped(
    batches: Iterator[MiniBatch], shapes: Sequence[PoolShape], threads: int
) -> Iterator[DistinctBatch]:
    """`batches` deduped pool by pool, but for those that are already; `threads` 0: the cores."""
    first = next(batches, None)
    if first is None:
        return
    is_done = isinstance(first, DistinctBatch)
    every = chain([first], batches)
    del first  # mini-batches are dropped as soon as they are used
    if is_done:
        yield from cast(Iterator[DistinctBatch], every)
    else:
        yield from distinct_batches(every, shapes, threads or cores())
