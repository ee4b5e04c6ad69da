"""What a cache replay says of a mini-batch: exact, and without any notion of time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["BatchPlan", "PoolPlan", "Window"]

Rows = npt.NDArray[np.int64]
Slots = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Window:
    """How many mini-batches before and after the planned one may not lose their rows."""

    past: int
    future: int

    @property
    def batches(self) -> int:
        return self.past + 1 + self.future


@dataclass(frozen=True, slots=True)
class PoolPlan:
    """The outcome of planning one mini-batch in one pool of slots.

    All row arrays are int64; rows are numbered within the pool (in a `global` pool: table offset
    + row). `rows[k]` is a unique id of the batch and `slots[k]` the slot where it trains.
    """

    lookups: int
    lookup_hits: int
    """Lookups whose row was resident when the batch was planned."""
    rows: Rows
    slots: Slots
    missed_rows: Rows
    missed_slots: Slots
    victim_rows: Rows
    victim_slots: Slots
    victim_dirty: npt.NDArray[np.bool_]
    """A victim that was trained since it was fetched must be written back."""
    cold_misses: int
    """Missed rows that were never resident before."""
    resident_rows: int
    """Rows in the pool after the plan."""
    held_misses: int | None = None
    """Missed rows that the same cache would have kept, had its window been (0, 0).

    Found by planning such a cache beside this one; None where that was not asked for.
    """
    as_filled: int | None = None
    """Resident rows that were put there before the first batch and that no batch has looked up
    since (loaded ones included); None where nothing was put there."""

    @property
    def unique_hits(self) -> int:
        return len(self.rows) - len(self.missed_rows)

    @property
    def capacity_misses(self) -> int | None:
        """Missed rows that were neither cold nor held; None where held misses are unknown."""
        if self.held_misses is None:
            return None
        return len(self.missed_rows) - self.cold_misses - self.held_misses


@dataclass(frozen=True, slots=True)
class BatchPlan:
    """The plan of one mini-batch: one `PoolPlan` a pool (a table, or all tables together)."""

    index: int
    pools: tuple[PoolPlan, ...]
