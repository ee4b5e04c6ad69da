"""Caches of several workers over the same rows, with versions: what HET and Herald keep.

Each worker has a cache of its own, LRU or LFU (fewest mini-batches since the row came in, then the
oldest). A server counts the updates of each row that reached it (its *version*); a copy has the
version that it came with and the updates that its worker made since. All rows of a mini-batch are
looked for before the first victim is chosen, so that none of them is one.

Rows are numbered anew as they are first looked up: memory grows with the rows that were seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from simulator.caches.plan import worker_kernels as kernels
from simulator.caches.plan.worker_kernels import (
    HIT_COPY,
    MISSING,
    OUTDATED,
    Copies,
    Moved,
    Seen,
    Touched,
)
from simulator.errors import CapacityError

__all__ = ["HIT_COPY", "MISSING", "OUTDATED", "Moved", "Touched", "WorkerCaches"]

Int64s = npt.NDArray[np.int64]
Int32s = npt.NDArray[np.int32]
Int16s = npt.NDArray[np.int16]
Bools = npt.NDArray[np.bool_]
Array = npt.NDArray[Any]

_FIRST = 1024
"""Rows that there is room for at first."""
_GROWTH = 8
"""Times the room that there was: what is not written yet takes no memory, and is copied seldom."""


@dataclass
class Lookups:
    """Lookups of a mini-batch: rows over all tables, table by table, and the sample of each."""

    rows: Int64s
    samples: Int32s


class WorkerCaches:
    """Caches of `slots` rows for each of `workers`, empty at first. `counts`: LFU, not LRU."""

    def __init__(self, rows: int, workers: int, slots: int, *, counts: bool = False) -> None:
        self.workers, self.slots, self._counts = workers, slots, counts
        self._rows = rows
        self._seen = Seen(
            np.zeros(rows, np.int32),
            np.zeros(_FIRST, np.int64),
            np.zeros(_FIRST, np.int32),
            np.zeros(_FIRST, np.int32),
            np.zeros(_FIRST, np.int32),
            np.zeros((_FIRST, workers), np.int32),
        )
        row, version, updates, stamp, event = np.zeros((5, workers, slots), np.int32)
        links = np.zeros((workers, slots, 4), np.int32)  # written as slots are taken
        ends = np.full((workers, _FIRST if counts else 1, 2), -1, np.int32)
        taken = np.zeros(workers, np.int32)
        self._copies = Copies(row, version, updates, stamp, event, links, ends, taken)
        self._known = self._now = 0

    def touch(self, lookups: Lookups, owners: Int16s, bound: int) -> Touched:
        """All workers look their rows up, get those that are missing or more than `bound` updates
        old, and train them. `owners`: of each sample.

        Raises `CapacityError` where a worker has less slots than rows.
        """
        rows, each = lookups.rows, owners[lookups.samples]
        self._make_room(len(rows))
        self._now += 1
        out = _untouched(len(rows))
        when = np.array([self._now, bound, self._known, int(self._counts)])
        n, self._known = kernels.look_up(rows, each, when, self._seen, self._copies, out)
        full = kernels.bring(n, when, self._seen, self._copies, out)
        if full >= 0:
            need = int((out.worker[:n] == full).sum())
            most = min(int(np.bincount(each).max()), self._rows)
            raise CapacityError(
                f"worker {full} looks up {need:,} rows in a mini-batch, but its cache has "
                f"{self.slots:,} slots: set cache.rows to at least {most} (as many as a worker "
                "has lookups), or lower model.batch_size"
            )
        kernels.train(n, self._seen, self._copies, out)
        return _first(out, n)

    def rows_of(self, numbers: Int32s) -> Int64s:
        """Rows over all tables."""
        return self._seen.row[numbers]

    def push_old(self, touched: Touched, bound: int) -> Moved:
        """Rows that a mini-batch trained go to the server where they have more than `bound` updates
        that are not there."""
        pushed = np.empty(len(touched.worker), np.bool_)
        kernels.push_old(len(pushed), bound, self._seen, self._copies, touched, pushed)
        return self._moved(touched, pushed)

    def push_shared(self, touched: Touched) -> Moved:
        """Rows that several workers trained in a mini-batch go to the server."""
        pushed = np.empty(len(touched.worker), np.bool_)
        kernels.push_shared(len(pushed), self._seen, self._copies, touched, pushed)
        return self._moved(touched, pushed)

    def push_planned(self, lookups: Lookups, owners: Int16s) -> Moved:
        """Rows that are fresh at one worker, and that another looks up in the coming mini-batch."""
        most = len(lookups.rows)
        out = Moved(np.empty(most, np.int16), np.empty(most, np.int64), np.empty(most, np.int64))
        n = kernels.push_planned(
            lookups.rows, owners[lookups.samples], self._seen, self._copies, out
        )
        return out.part(slice(n))

    def assigned(self, lookups: Lookups, room: Sequence[int], batch: int) -> Int16s:
        """The worker of each sample: of those that have room the one with most of its rows."""
        samples = sum(room)
        scores = np.zeros((samples, self.workers), np.int32)
        kernels.score(lookups.rows, lookups.samples, self._seen, scores)
        owners = np.empty(samples, np.int16)
        kernels.assign(scores, np.array(room, np.int64), batch % self.workers, owners)
        return owners

    def _moved(self, touched: Touched, chosen: Bools) -> Moved:
        rows = self.rows_of(touched.number[chosen])
        return Moved(touched.worker[chosen], rows, touched.slot[chosen].astype(np.int64))

    def _make_room(self, more: int) -> None:
        """Room for rows that were never seen, and for a use more of those that were."""
        lists = self._copies.ends.shape[1]
        if self._counts and self._now + 2 >= lists:
            added = np.full((self.workers, lists, 2), -1, np.int32)
            ends = np.concatenate([self._copies.ends, added], axis=1)
            self._copies = self._copies._replace(ends=ends)
        have, need = len(self._seen.row), self._known + more
        if need > have:
            size = max(need, min(_GROWTH * have, self._rows))
            number, *fields = self._seen
            grown: list[Any] = [_grown(field, size) for field in fields]
            self._seen = Seen(number, *grown)


def _untouched(size: int) -> Touched:
    """Room for as many places."""
    worker, kind = np.empty(size, np.int16), np.empty(size, np.int8)
    number, slot, times, victim, updates, which = np.empty((6, size), np.int32)
    return Touched(worker, number, slot, kind, times, victim, updates, which)


def _first(touched: Touched, n: int) -> Touched:
    """The first `n` places, all lookups."""
    worker, number, slot, kind, times, victim, updates, which = touched
    return Touched(
        worker[:n], number[:n], slot[:n], kind[:n], times[:n], victim[:n], updates[:n], which
    )


def _grown(field: Any, size: int) -> Array:
    grown = np.empty((size, *field.shape[1:]), field.dtype)
    grown[: len(field)] = field
    return grown
