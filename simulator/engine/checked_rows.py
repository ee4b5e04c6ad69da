"""The rows that a check executes a program on: their values by store and buffer, and what is known
of who reads and trains them.

A row's value is a 64-bit chain over the mini-batches that trained it, v <- v * A + (batch + 1) mod
2**64, so that a lost, doubled or reordered update changes it for good; A is split in two, v * A1 +
p * A2, where v is what the row holds when it is updated and p what was pooled of it, so that a
gradient of an old value counts too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from simulator.engine.copies import Copies, Shares, Trained
from simulator.engine.early_values import EarlyReads
from simulator.engine.hazard_report import StaleRead
from simulator.engine.noise_values import NoiseKind
from simulator.errors import InvariantError
from simulator.hardware.program import Flow, Store

__all__ = ["CheckedRows", "Values", "rows_of", "updated"]

_MULTIPLIER = np.uint64(6364136223846793005)
"""Of Knuth's linear congruential generator (MMIX): odd, so that the chain loses nothing."""
_POOLED = np.uint64(0x9E3779B97F4A7C16)
"""The part of it that multiplies what was pooled: even, so that the rest is odd."""
_HELD = np.uint64((int(_MULTIPLIER) - int(_POOLED)) % 2**64)

Values = npt.NDArray[np.uint64]
Int64s = npt.NDArray[np.int64]


@dataclass
class CheckedRows:
    """Stores, and the buffers of mini-batches in flight."""

    rows: int
    slots: int
    resident: Int64s
    """Rows that a slotted store holds before the first mini-batch, slot by slot."""
    trained: Trained
    shares: Sequence[Shares]
    """Of each mini-batch, where copies of rows are trained in parts."""
    noise: NoiseKind = "none"
    stores: dict[tuple[bool, str, str], Copies] = field(default_factory=dict)
    buffers: dict[tuple[int, str, str], Copies] = field(default_factory=dict)
    """(mini-batch, buffer, memory) -> the rows in it."""
    pooled: dict[tuple[int, str], dict[int, np.uint64]] = field(default_factory=dict)
    """Mini-batch and, where copies are trained in parts, store -> rows that were read for
    training, and their values."""
    early: EarlyReads = field(default_factory=EarlyReads)
    stale: list[StaleRead] = field(default_factory=list)
    lost: int = 0
    trained_rows: int = 0

    @property
    def in_parts(self) -> bool:
        """Whether copies of rows are trained in parts."""
        return any(self.shares)

    def store(self, store: Store) -> Copies:
        """The rows of a store; tables start untrained, slots with what is resident."""
        key = (store.slotted, store.name, store.memory)
        if key not in self.stores:
            self.stores[key] = self._cache() if store.slotted else Copies.of_tables(self.rows)
        return self.stores[key]

    def _cache(self) -> Copies:
        cache = Copies.empty(self.slots)
        held = np.flatnonzero(self.resident >= 0)
        ids = self.resident[held]
        cache.put(held, ids, Copies.of_tables(self.rows).take(ids))
        return cache


def updated(values: Values, batch: int, pooled: Values | None = None) -> Values:
    """`values` trained by `batch`, with the gradient of what was `pooled`, by default the same."""
    if pooled is None:
        return values * _MULTIPLIER + np.uint64(batch + 1)
    return values * _HELD + pooled * _POOLED + np.uint64(batch + 1)


def rows_of(store: Store, rows: Flow) -> tuple[Int64s, Int64s]:
    """Where `rows` lie in `store`, and their numbers."""
    where = store.pieces(rows)
    if where is None or rows.ids is None:
        raise InvariantError(f"the replay kept no rows for {store.name} in {store.memory}")
    return where, rows.ids
