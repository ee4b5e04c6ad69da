"""Bagpipe's Oracle Cacher: what to fetch and how long to keep it, from reading `look_ahead`
mini-batches ahead (`oraclecacher.py`).

Its rule by time to live is one of gaps (mini-batches between two uses of a row): a row is fetched
where its last use is `look_ahead` mini-batches back or more, and kept where its next one is nearer
than that. So of each row the newest mini-batch that was read is all that has to be known: before it
is read a mini-batch learns its gaps, and once `look_ahead` were read from it on, who is kept.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from simulator._compiled import compiled, prefetch
from simulator.caches.plan.arrays import zeros
from simulator.caches.plan.words import AHEAD

__all__ = ["OracleCacher", "Read"]

Int64s = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Numbers = npt.NDArray[Any]
"""Whole numbers of any size."""
Stamps = npt.NDArray[Any]
"""Of each row the mini-batch that used it last, from 1 on; 0: none within the look-ahead."""

_NARROWEST, _NARROW = 31, 1 << 12
"""Look-aheads up to these have stamps of 8 and 16 bits, which are renumbered seldom: every 90
mini-batches or more."""


@dataclass(slots=True, eq=False)
class Read:
    """What is known of a mini-batch that was read; arrays over its distinct rows."""

    number: int
    rows: Numbers
    fetched: Bools
    """Used `look_ahead` mini-batches ago or earlier, or never."""
    held: Int64s
    """Rows of it that are in the cache since before mini-batch 0."""
    again: Bools = field(default_factory=lambda: np.empty(0, np.bool_))
    """Used by the next mini-batch too."""
    kept: Bools = field(default_factory=lambda: np.empty(0, np.bool_))
    """Used again within the look-ahead."""


@compiled
def used(
    latest: Stamps, rows: Numbers, stamp: int, oldest: int, first: int, fetched: Bools, held: Int64s
) -> int:
    """The mini-batch of `stamp` uses `rows`; writes which of them were used before `oldest`, and,
    of the others, those that were last used before `first` to `held`: returns how many."""
    count = 0
    for k in range(len(rows)):
        if k + AHEAD < len(rows):
            prefetch(latest, rows[k + AHEAD])
        before = latest[rows[k]]
        latest[rows[k]] = stamp
        fetched[k] = before < oldest
        if oldest <= before < first:
            held[count] = rows[k]
            count += 1
    return count


@compiled
def used_since(latest: Stamps, rows: Numbers, stamp: int, since: Bools) -> None:
    """Write which of `rows` the mini-batch of `stamp` or one after it used."""
    for k in range(len(rows)):
        if k + AHEAD < len(rows):
            prefetch(latest, rows[k + AHEAD])
        since[k] = latest[rows[k]] >= stamp


@compiled
def renumber(latest: Stamps, by: int) -> None:
    """Lower all stamps `by` as much; those that have none left are 0."""
    for row in range(len(latest)):
        latest[row] = max(latest[row] - by, 0)


def _kind_of(look_ahead: int) -> type[np.signedinteger[Any]]:
    """Of stamps."""
    if look_ahead <= _NARROWEST:
        return np.int8
    return np.int16 if look_ahead <= _NARROW else np.int32


class OracleCacher:
    """Reads mini-batches, numbered from 0 on, of distinct rows below `rows`.

    `kind`: of the stamps, at least three look-aheads; the narrowest that is seldom renumbered.
    """

    def __init__(
        self, rows: int, look_ahead: int, kind: type[np.signedinteger[Any]] | None = None
    ) -> None:
        self._latest: Stamps = zeros(rows, kind or _kind_of(look_ahead))
        self._look_ahead = look_ahead
        self._base = -look_ahead - 2
        """The mini-batch whose stamp would be 0."""
        self._queue: dict[int, Read] = {}
        self._count = 0

    def use_before(self, rows: Int64s, numbers: int | Int64s) -> None:
        """Mini-batches before mini-batch 0 use `rows`; `numbers`: theirs, from -1 - look_ahead on,
        each one higher than those of its row before."""
        self._latest[rows] = numbers - self._base

    def used_from(self, number: int) -> Int64s:
        """Rows that mini-batch `number` or one after it used, in order, before any was read."""
        return np.flatnonzero(self._latest >= max(1, number - self._base))

    def read(self, rows: Numbers) -> Read:
        """The next mini-batch enters the queue; the one `look_ahead` - 1 before it learns who is
        kept, the one before it who is used again at once."""
        number = self._count
        self._make_room(number)
        stamp, first = number - self._base, max(0, -self._base)
        oldest = stamp - self._look_ahead + 1
        fetched = np.empty(len(rows), np.bool_)
        held = np.empty(len(rows) if oldest < first else 0, np.int64)
        count = used(self._latest, rows, stamp, oldest, first, fetched, held)
        batch = Read(number, rows, fetched, held[:count].copy())
        self._queue[number] = batch
        self._count += 1
        previous = self._queue.get(number - 1)
        if previous is not None:
            previous.again = self._used_since(previous.rows, number)
        self._settle(number - self._look_ahead + 1)
        return batch

    def end(self) -> None:
        """No mini-batch follows."""
        for number in sorted(self._queue):
            if number == self._count - 1:
                self._queue[number].again = np.zeros(len(self._queue[number].rows), np.bool_)
            self._settle(number)

    def _make_room(self, number: int) -> None:
        """Stamps of mini-batches that the look-ahead has left end where there is none for the next
        one."""
        if number - self._base > np.iinfo(self._latest.dtype).max:
            base = number - self._look_ahead - 2
            renumber(self._latest, base - self._base)
            self._base = base

    def _used_since(self, rows: Numbers, number: int) -> Bools:
        since = np.empty(len(rows), np.bool_)
        used_since(self._latest, rows, number - self._base, since)
        return since

    def _settle(self, number: int) -> None:
        batch = self._queue.get(number)
        if batch is not None:
            batch.kept = self._used_since(batch.rows, number + 1)
        self._queue.pop(number - 1, None)
