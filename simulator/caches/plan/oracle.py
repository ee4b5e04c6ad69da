"""Bagpipe's Oracle Cacher: what to fetch and how long to keep it, from reading `look_ahead`
mini-batches ahead (`oraclecacher.py`).

Its rule by time to live is one of gaps (mini-batches between two uses of a row): a row is fetched
where its last use is `look_ahead` mini-batches back or more, and kept where its next one is nearer
than that. So of each row the newest mini-batch that was read is all that has to be known: before it
is read a mini-batch learns its gaps, and once `look_ahead` were read from it on, who is kept.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from simulator._compiled import compiled, prefetch
from simulator.caches.plan.words import AHEAD
from simulator.errors import CapacityError

__all__ = ["LONG_AGO", "OracleCacher", "Read", "SlotStack"]

Int64s = npt.NDArray[np.int64]
Int32s = npt.NDArray[np.int32]
Bools = npt.NDArray[np.bool_]

LONG_AGO = -(2**30)
"""The last use of a row that was never used."""


@dataclass(slots=True, eq=False)
class Read:
    """What is known of a mini-batch that was read; arrays over its distinct rows."""

    number: int
    rows: Int64s
    fetched: Bools
    """Used `look_ahead` mini-batches ago or earlier, or never."""
    new: Bools
    """Never used before."""
    again: Bools
    """Used by the next mini-batch too."""
    kept: Bools
    """Used again within the look-ahead."""


@compiled
def used(latest: Int32s, rows: Int64s, number: int, before: Int32s) -> None:
    """Mini-batch `number` uses `rows`; writes who used each last to `before`."""
    for k in range(len(rows)):
        if k + AHEAD < len(rows):
            prefetch(latest, rows[k + AHEAD])
        before[k] = latest[rows[k]]
        latest[rows[k]] = number


@compiled
def used_since(latest: Int32s, rows: Int64s, number: int, since: Bools) -> None:
    """Write which of `rows` mini-batch `number` or one after it used."""
    for k in range(len(rows)):
        if k + AHEAD < len(rows):
            prefetch(latest, rows[k + AHEAD])
        since[k] = latest[rows[k]] >= number


class OracleCacher:
    """Reads mini-batches, numbered from 0 on, of distinct rows below `rows`.

    `last`: int32, shape (rows,): the number (below 0) of the mini-batch that used each row last
    before, `LONG_AGO` where none did; it is taken over.
    """

    def __init__(self, rows: int, look_ahead: int, last: Int32s | None = None) -> None:
        self._latest = np.full(rows, LONG_AGO, np.int32) if last is None else last
        self._look_ahead = look_ahead
        self._queue: dict[int, Read] = {}
        self._count = 0

    def read(self, rows: Int64s) -> Read:
        """The next mini-batch enters the queue; the one `look_ahead` - 1 before it learns who is
        kept, the one before it who is used again at once."""
        number = self._count
        before = np.empty(len(rows), np.int32)
        used(self._latest, rows, number, before)
        nobody = np.zeros(len(rows), np.bool_)
        fetched = number - before >= self._look_ahead
        batch = Read(number, rows, fetched, before == LONG_AGO, nobody, nobody)
        self._queue[number] = batch
        self._count += 1
        previous = self._queue.get(number - 1)
        if previous is not None:
            previous.again = np.empty(len(previous.rows), np.bool_)
            used_since(self._latest, previous.rows, number, previous.again)
        self._settle(number - self._look_ahead + 1)
        return batch

    def end(self) -> None:
        """No mini-batch follows."""
        for number in sorted(self._queue):
            self._settle(number)

    def _settle(self, number: int) -> None:
        batch = self._queue.get(number)
        if batch is not None:
            batch.kept = np.empty(len(batch.rows), np.bool_)
            used_since(self._latest, batch.rows, number + 1, batch.kept)
        self._queue.pop(number - 1, None)


class SlotStack:
    """Which slot each row has; slots that were freed last are taken first.

    `resident`: rows in the first slots.
    """

    def __init__(self, rows: int, capacity: int, resident: Int64s) -> None:
        self._slot = np.full(rows, -1, np.int32)
        self._slot[resident] = np.arange(len(resident))
        self._free = np.arange(capacity - 1, -1, -1, dtype=np.int32)
        self._left = capacity - len(resident)

    def take(self, rows: Int64s, why: str) -> None:
        """A slot for each of `rows`.

        Raises `CapacityError` where there are not as many; `why`: who takes them, and what helps.
        """
        if len(rows) > self._left:
            capacity = len(self._free)
            need = capacity - self._left + len(rows)
            raise CapacityError(f"{need:,} rows need a slot, but there are {capacity:,}: {why}")
        self._slot[rows] = self._free[self._left - len(rows) : self._left]
        self._left -= len(rows)

    def give(self, rows: Int64s) -> Int64s:
        """The slots that `rows` leave, int64."""
        slots = self._slot[rows]
        self._free[self._left : self._left + len(rows)] = slots
        self._left += len(rows)
        self._slot[rows] = -1
        return slots.astype(np.int64)

    def of(self, rows: Int64s) -> Int64s:
        """The slot of each of `rows`, int64; -1: none."""
        return self._slot[rows].astype(np.int64)
