"""Which rows of a mini-batch lie in the buffers of the ones just before it.

Each mini-batch puts its distinct rows into the next of a ring of buffers, one after the other. A
row that earlier mini-batches of the ring brought too is in the newest of their buffers as they
trained it.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from simulator._compiled import compiled
from simulator.caches.plan.distinct import enter, place_of

__all__ = ["InBuffer", "RecentRows"]

Int64s = npt.NDArray[np.int64]


@compiled
def find(
    ids: Int64s, earlier: Int64s, first: int, table: npt.NDArray[np.int32], found: Int64s
) -> None:
    """Write `first` + the position in `earlier` of each of `ids` to `found`, where it is -1.

    `table`: a power of two of at least twice `earlier`, zero before and after.
    """
    enter(earlier, table)
    for k in range(len(ids)):
        if found[k] >= 0:
            continue
        place = place_of(ids[k], earlier, table)
        if place >= 0:
            found[k] = first + place
    table[:] = 0


class InBuffer(NamedTuple):
    """Where the rows of a mini-batch go, and the newest earlier copy of each (-1: none); int64,
    shape (rows,)."""

    slots: Int64s
    newest: Int64s


class RecentRows:
    """A ring of `buffers` buffers of `size` slots each, for the rows of one table."""

    def __init__(self, buffers: int, size: int) -> None:
        self._buffers, self._size = buffers, size
        self._earlier: deque[tuple[int, Int64s]] = deque(maxlen=buffers - 1)
        self._batches = 0

    @property
    def rows(self) -> int:
        """Rows of the mini-batches whose buffers the next one may take rows from."""
        return sum(len(ids) for _, ids in self._earlier)

    def load(self, ids: Int64s) -> InBuffer:
        """The next mini-batch with its distinct `ids`, at most `size`."""
        first = self._batches % self._buffers * self._size
        newest = np.full(len(ids), -1, np.int64)
        for start, earlier in reversed(self._earlier):
            table = np.zeros(1 << max(1, (2 * len(earlier)).bit_length()), np.int32)
            find(ids, earlier, start, table, newest)
        self._earlier.append((first, ids))
        self._batches += 1
        return InBuffer(np.arange(first, first + len(ids)), newest)
