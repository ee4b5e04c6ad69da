"""Rows of three mini-batches in a ring of buffers: those that a mini-batch looks up are taken over
from the buffers of the two before it where they are there, else fetched. Exact from the trace.

A buffer has a slot for each lookup that a mini-batch may have in a table; a mini-batch fills the
first ones of its buffer, in the order of its distinct rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from simulator.caches.facts import LOOKUP, UNIQUE, BatchFacts, Flow
from simulator.caches.replays.base import Kept, Replay, bases, copies
from simulator.caches.replays.overlap import AGAIN_LOOKUP
from simulator.caches.replays.unique import UniqueReplay
from simulator.traces.base import MiniBatch, Trace

__all__ = [
    "BUFFERS",
    "FETCHED_ROWS",
    "IN_OLD",
    "IN_PREVIOUS",
    "OF_OLD",
    "OF_PREVIOUS",
    "RingReplay",
]

Int64s = npt.NDArray[np.int64]

BUFFERS = 3
FETCHED_ROWS = "fetched_rows"
"""Distinct rows that neither of the two mini-batches before looks up."""
IN_PREVIOUS, OF_PREVIOUS = "in_previous", "of_previous"
"""Rows that the mini-batch before looks up too: in its buffer, and in one's own."""
IN_OLD, OF_OLD = "in_old", "of_old"
"""Other rows that the one before that looks up: in its buffer, and in one's own."""
_ALL = range(2**62)


@dataclass(frozen=True)
class RingReplay(Replay):
    """Rows of three mini-batches in a ring of buffers, a shard a table.

    `buffer`: slots of one buffer, of each table.
    """

    keep: Kept
    buffer: tuple[int, ...]

    @property
    def slots(self) -> tuple[int, ...]:
        return tuple(BUFFERS * count for count in self.buffer)

    def run(self, trace: Trace, batches: Iterator[MiniBatch], threads: int) -> Iterator[BatchFacts]:
        own, others = copies(batches, 2)
        tables = [
            _Ring(start, count) for start, count in zip(self._starts, self.buffer, strict=True)
        ]
        ids_from, place = bases(trace.rows), np.zeros(sum(trace.rows), np.int64)
        unique = UniqueReplay(keep=_ALL).run(trace, others, threads)
        for batch, facts in zip(own, unique, strict=True):
            shards = [
                ring.filled(facts.index, ids + start, flow, place)
                for ring, ids, start, flow in zip(
                    tables, batch.ids, ids_from, facts.flows[UNIQUE], strict=True
                )
            ]
            flows = {name: tuple(shard[name] for shard in shards) for name in shards[0]}
            told = replace(facts, flows=flows)
            yield told if facts.index in self.keep else told.without_rows()

    @property
    def _starts(self) -> Sequence[int]:
        """The first slot of each table."""
        return [int(start) for start in bases(self.slots)]


@dataclass
class _Ring:
    """The buffers of one table."""

    start: int
    size: int
    before: list[Int64s] = field(default_factory=lambda: [np.empty(0, np.int64)] * 2)
    """Distinct rows of the mini-batch before, and of the one before that."""

    def filled(self, batch: int, ids: Int64s, unique: Flow, place: Int64s) -> dict[str, Flow]:
        """What a mini-batch with the lookups `ids` does; `place`: int64 (rows,), zeros, lent."""
        assert unique.ids is not None, "rows of all mini-batches are kept"
        rows = unique.ids
        previous, old = (_places(rows, other, place) for other in self.before)
        again = _places(ids, self.before[0], place) >= 0
        looked_up = self._slots(batch, _places(ids, rows, place))
        own = self._slots(batch, np.arange(len(rows)))
        in_old = (old >= 0) & (previous < 0)
        fetched = (old < 0) & (previous < 0)
        flows = {
            LOOKUP: Flow(len(ids), len(rows), ids, looked_up),
            UNIQUE: Flow(len(ids), len(rows), rows, own),
            AGAIN_LOOKUP: Flow(int(again.sum()), int((previous >= 0).sum()), ids[again]),
            FETCHED_ROWS: _rows(rows, own, fetched),
            IN_PREVIOUS: _rows(rows, self._slots(batch - 1, previous), previous >= 0),
            OF_PREVIOUS: _rows(rows, own, previous >= 0),
            IN_OLD: _rows(rows, self._slots(batch - 2, old), in_old),
            OF_OLD: _rows(rows, own, in_old),
        }
        self.before = [rows, self.before[0]]
        return flows

    def _slots(self, batch: int, places: Int64s) -> Int64s:
        """Slots at some places of the buffer of a mini-batch."""
        return self.start + batch % BUFFERS * self.size + places


def _rows(rows: Int64s, slots: Int64s, chosen: npt.NDArray[np.bool_]) -> Flow:
    return Flow(0, int(chosen.sum()), rows[chosen], slots[chosen])


def _places(ids: Int64s, rows: Int64s, place: Int64s) -> Int64s:
    """Where each of `ids` is among the distinct `rows`; -1: nowhere."""
    place[rows] = np.arange(1, len(rows) + 1)
    found = place[ids] - 1
    place[rows] = 0
    return found
