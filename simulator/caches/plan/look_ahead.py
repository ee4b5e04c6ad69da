"""The look-ahead of a pool: mini-batches that are loaded before they can be planned."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from simulator.caches.plan.base import Window
from simulator.caches.plan.hitmap import HitMap
from simulator.caches.plan.words import FIRST_STAMP, WIDEST_WINDOW, BatchArrays, load
from simulator.errors import TraceError, UsageError

__all__ = ["LoadedBatch", "WindowTracker"]

Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class LoadedBatch:
    """A batch in the look-ahead: its unique keys and what was known of them when it was loaded.

    `missed`, `pending`: positions in `keys`, see `words.BatchArrays`; `cold`: keys never resident
    before; `first_uses`: keys resident since before the first batch, looked up for the first time;
    `next_use`: as for `BatchUse`.
    """

    lookups: int
    keys: Int32s
    slots: Int32s
    missed: Int32s
    pending: Int32s
    missing_lookups: int
    cold: int
    first_uses: int
    next_use: Int64s | None


class WindowTracker:
    """Loads batches into a Hit-Map and counts the distinct rows of the window, exactly."""

    def __init__(self, rows: int, window: Window, hit_map: HitMap) -> None:
        _check_window(window)
        self.window = window
        self.rows = rows
        self.hit_map = hit_map
        self.loaded = 0
        self.first_stamp = FIRST_STAMP
        """Rows with older stamps are not in the window, whenever they were looked up."""
        self._alive = np.zeros(window.batches + 1, dtype=np.int64)
        self._room = BatchArrays.for_lookups(0)

    def restart(self, window: Window) -> None:
        """Batches so far are the past: the next is the first that a window reaches back to."""
        _check_window(window)
        self.window = window
        self.first_stamp = FIRST_STAMP + self.loaded
        self._alive = np.zeros(window.batches + 1, dtype=np.int64)

    @property
    def number(self) -> int:
        """Number of the next batch, those of the past not counted."""
        return self.loaded - (self.first_stamp - FIRST_STAMP)

    @property
    def distinct(self) -> int:
        """Distinct rows in the last `window.batches` loaded batches."""
        return int(self._alive[1:].sum())

    def load(
        self, ids: Int64s, next_use: Int64s | None = None, times: Int64s | None = None
    ) -> LoadedBatch:
        """Load the next batch; see `PoolPlanner.load`. `TraceError` for an id outside."""
        ids = np.ascontiguousarray(ids, dtype=np.int64)
        keys = self.hit_map.keys(ids)
        batch = self._room_for(len(keys))
        self._alive[:-1] = self._alive[1:]
        stamp = FIRST_STAMP + self.loaded
        first_pending = max(self.first_stamp, stamp - self.window.future)
        self.hit_map.reach(stamp)
        counts = load(
            self.hit_map.words,
            self.hit_map.shift,
            keys,
            stamp,
            first_pending,
            batch,
            self._alive,
            self.first_stamp,
        )
        if counts.unique < 0:
            bad = -1 - counts.unique
            raise TraceError(
                f"batch {self.number}, lookup {bad}: id {ids[bad]} outside of 0..{self.rows - 1}"
            )
        self.loaded += 1
        missed = batch.missed[: counts.missed].copy()
        lookups, missing_lookups = len(ids), counts.missing_lookups
        if times is not None:
            lookups, missing_lookups = int(times.sum()), int(times[missed].sum())
        return LoadedBatch(
            lookups,
            batch.keys[: counts.unique].copy(),
            batch.slots[: counts.unique].copy(),
            missed,
            batch.pending[: counts.pending].copy(),
            missing_lookups,
            counts.never_seen,
            counts.first_uses,
            next_use,
        )

    def _room_for(self, lookups: int) -> BatchArrays:
        """Arrays that every batch is loaded into: they stay in the processor's caches, and what a
        batch keeps is as long as it has distinct rows."""
        if len(self._room.keys) <= lookups:
            self._room = BatchArrays.for_lookups(lookups)
        return self._room


def _check_window(window: Window) -> None:
    if min(window.past, window.future) < 0:
        raise UsageError(f"a window of ({window.past}, {window.future}) batches: not negative")
    if window.batches > WIDEST_WINDOW:
        raise UsageError(f"a window of {window.batches:,} batches: at most {WIDEST_WINDOW:,}")
