"""Host memory for the tables, kept from point to point: faulting it in takes long."""

from __future__ import annotations

import gc
from dataclasses import dataclass

from simulator.observe.items import entry_width
from simulator.observe.rows import Floats, aligned
from simulator.observe.shares import Share
from simulator.observe.workspace import fill_table

__all__ = ["Arena"]

REFILL_BYTES = 1 << 30
"""Larger tables are filled once and trained on from point to point: values change no time."""


@dataclass
class Arena:
    """The memory, and what it was last filled for."""

    table: Floats | None = None
    filled: Share | None = None

    def take(self, share: Share, threads: int, *, filled: bool = True) -> Floats:
        """Entries of all tables of `share`, fp32, shape (rows, dim and state); `filled`: with
        values."""
        model = share.model
        rows, width = model.rows, entry_width(model)
        if self.table is None or self.table.size < rows * width:
            self.table = None
            gc.collect()
            self.table = aligned(rows, width)
            self.filled = None
        view = self.table.reshape(-1)[: rows * width].reshape(rows, width)
        if filled and (view.nbytes <= REFILL_BYTES or not self._holds(share)):
            fill_table(view, share, threads)
            self.filled = share
        return view

    def _holds(self, share: Share) -> bool:
        """Whether it was filled for the same rows of the same size."""
        if self.filled is None:
            return False
        old, new = self.filled, share
        sizes = [(s.model.rows_per_table, s.model.width, entry_width(s.model)) for s in (old, new)]
        return sizes[0] == sizes[1] and old.first_rows == new.first_rows
