"""What Bagpipe's oracle reads of one table, and what of it is known when: tables are read on
threads, several mini-batches of one before the next.

Of a mini-batch that waits for the end of its look-ahead its rows, who looks them up and which of
them are fetched are held; lookups are counted once the next one was read, and of one that is
settled rows remain that come in and leave, where anybody asks for slots.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from simulator.caches.plan.oracle import OracleCacher, Read
from simulator.caches.replays.owned import Looked, settle, tally
from simulator.caches.replays.samples import SampleParts, Shared
from simulator.traces.base import MiniBatch

__all__ = ["LISTS", "Reading", "TableReader", "TableUse"]

Int64s = npt.NDArray[np.int64]

LISTS = 6
"""Lists of rows that are counted: all, hits, misses, those of now and of later, and the entries of
what trainers are told."""
_NOTHING = np.empty(0, np.int64)
_NONE = np.empty(0, np.bool_)


@dataclass(frozen=True, slots=True)
class Reading:
    """What of a mini-batch is to be told: whether every lookup, whether every list of rows, and
    whether slots are asked for."""

    lookups: bool
    lists: bool
    slots: bool


@dataclass(slots=True, eq=False)
class TableUse:
    """What a mini-batch looks up in a table, and what the oracle says of it."""

    shared: Shared
    read: Read
    asked: Reading
    lists: Int64s = field(default_factory=lambda: np.zeros((LISTS, 2), np.int64))
    """Lookups and rows of each."""
    counts: Int64s = field(default_factory=lambda: _NOTHING)
    """By who has them: rows that one has alone, that are fetched, and that are not kept
    (`owned.settle`)."""
    fetched: Int64s = field(default_factory=lambda: _NOTHING)
    left: Int64s = field(default_factory=lambda: _NOTHING)
    """The latter two, packed, where slots are asked for."""

    def tally(self) -> None:
        """The next mini-batch was read."""
        tally(self._looked, self.read.again, self.lists)
        if not self.asked.lists:
            self.read.again = _NONE
            self.shared = self.shared._replace(times=self.shared.times[:0].copy())

    def settle(self, trainers: int) -> None:
        """The look-ahead was read."""
        self.counts = np.zeros((3, trainers + 1), np.int64)
        came, went = np.empty((2, self.shared.distinct if self.asked.slots else 0), np.int64)
        settle(self._looked, self.read.kept, self.lists, self.counts, came, went)
        ends = self.counts.sum(axis=1)
        if self.asked.slots:
            self.fetched, self.left = came[: ends[1]].copy(), went[: ends[2]].copy()
        if not self.asked.lists:
            self.read = replace(self.read, fetched=_NONE, kept=_NONE)
        if not self.asked.lookups:
            self.shared, self.read = self.shared.bare(), replace(self.read, rows=_NOTHING)

    @property
    def _looked(self) -> Looked:
        shared = self.shared
        return Looked(shared.rows, shared.times, shared.who, self.read.fetched)


class TableReader:
    """Reads the mini-batches of table `number` of `rows` rows for trainers of `samples` each."""

    def __init__(self, number: int, rows: int, look_ahead: int, samples: Sequence[int]) -> None:
        self.number, self.rows = number, rows
        self.cacher = OracleCacher(rows, look_ahead)
        self.uses: deque[TableUse] = deque()
        """Of mini-batches that were read and not taken from here."""
        self.recent = _NOTHING
        """Rows of mini-batches right before the first one."""
        self._held: list[Int64s] = []
        self._parts = SampleParts(rows, samples)
        self._trainers = len(samples)
        self._settles = max(1, look_ahead - 1)
        """Mini-batches after one that have to be read for it."""
        self._uncounted: deque[TableUse] = deque()
        self._unsettled: deque[TableUse] = deque()

    def read(self, batch: MiniBatch, asked: Reading) -> None:
        """The next mini-batch."""
        ids, offsets = batch.ids[self.number], batch.offsets[self.number]
        shared = self._parts.divided(ids, offsets, keeps=asked.lookups)
        read = self.cacher.read(shared.rows)
        if len(read.held):
            self._held.append(read.held)
        self._know(read.number)
        use = TableUse(shared, read, asked)
        for queue in (self.uses, self._uncounted, self._unsettled):
            queue.append(use)

    def end(self) -> None:
        """No mini-batch follows."""
        self.cacher.end()
        self._know(2**62)

    def _know(self, number: int) -> None:
        """Mini-batch `number` was read."""
        while self._uncounted and self._uncounted[0].read.number < number:
            self._uncounted.popleft().tally()
        while self._unsettled and self._unsettled[0].read.number + self._settles <= number:
            self._unsettled.popleft().settle(self._trainers)

    def residents(self) -> tuple[Int64s, Int64s]:
        """Rows in the cache before the first mini-batch, ascending: those that are kept, and those
        that wait for clean-up 0; once, after what is ahead of mini-batch 0 was read."""
        kept = np.sort(np.concatenate([_NOTHING, *self._held]))
        waiting = np.setdiff1d(self.recent, kept, assume_unique=True)
        self._held, self.recent = [], _NOTHING
        return kept, waiting
