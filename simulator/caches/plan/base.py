"""What a cache replay says of a mini-batch: exact, and without any notion of time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["BatchPlan", "PoolPlan", "Slotted", "Window"]

Int64s = npt.NDArray[np.int64]
Numbers = npt.NDArray[Any]
"""Whole numbers, as narrow as they were made."""


@dataclass(frozen=True, slots=True)
class Window:
    """How many mini-batches before and after the planned one may not lose their rows."""

    past: int
    future: int

    @property
    def batches(self) -> int:
        return self.past + 1 + self.future


class Slotted(NamedTuple):
    """Rows and the slot of each; both of one shape, (rows,)."""

    rows: Numbers
    slots: Numbers


@dataclass(frozen=True, slots=True)
class PoolPlan:
    """The outcome of planning one mini-batch in one pool of slots.

    Rows are numbered within the pool (in a `global` pool: table offset + row). Most plans are asked
    how many rows there are and no more, so that those are kept as they were made; `rows`, `slots`
    and their like are new arrays, int64.
    """

    lookups: int
    lookup_hits: int
    """Lookups whose row was resident when the batch was planned."""
    unique: Slotted
    """The unique ids of the batch, each in the slot where it trains."""
    missed: Slotted
    victims: Slotted
    victim_dirty: npt.NDArray[np.bool_]
    """A victim that was trained since it was fetched must be written back."""
    dirty_victims: int
    """How many of them."""
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
    def rows(self) -> Int64s:
        """The unique ids of the batch."""
        return self.unique.rows.astype(np.int64)

    @property
    def slots(self) -> Int64s:
        """Where they train."""
        return self.unique.slots.astype(np.int64)

    @property
    def missed_rows(self) -> Int64s:
        """Those of them that are fetched."""
        return self.missed.rows.astype(np.int64)

    @property
    def missed_slots(self) -> Int64s:
        """Where they go."""
        return self.missed.slots.astype(np.int64)

    @property
    def victim_rows(self) -> Int64s:
        """The rows that are evicted."""
        return self.victims.rows.astype(np.int64)

    @property
    def victim_slots(self) -> Int64s:
        """Where they were."""
        return self.victims.slots.astype(np.int64)

    @property
    def unique_hits(self) -> int:
        return len(self.unique.rows) - len(self.missed.rows)

    @property
    def capacity_misses(self) -> int | None:
        """Missed rows that were neither cold nor held; None where held misses are unknown."""
        if self.held_misses is None:
            return None
        return len(self.missed.rows) - self.cold_misses - self.held_misses


@dataclass(frozen=True, slots=True)
class BatchPlan:
    """The plan of one mini-batch: one `PoolPlan` a pool (a table, or all tables together)."""

    index: int
    pools: tuple[PoolPlan, ...]
