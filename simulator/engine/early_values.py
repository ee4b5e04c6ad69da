"""Rows that were read before the mini-batch before had updated them, with values, as the checker
keeps them: they are compared when they are used, once what that update changed was added."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from simulator.engine.copies import Copies

__all__ = ["EarlyReads"]

Values = npt.NDArray[np.uint64]
Int64s = npt.NDArray[np.int64]


@dataclass
class EarlyReads:
    """Early reads by mini-batch, and what the last update of every store changed.

    `wanted`: whether any program adds changes to early reads; else none are kept.
    """

    wanted: bool = False
    reads: dict[int, list[tuple[Int64s, Copies]]] = field(default_factory=dict)
    changes: dict[str, tuple[int, Int64s, Values]] = field(default_factory=dict)
    """By store: the mini-batch of its last update, the rows, and the differences of their values.
    """

    def read(self, batch: int, ids: Int64s, rows: Copies) -> None:
        """`batch` has read the distinct rows `ids`."""
        self.reads.setdefault(batch, []).append((ids, rows))

    def changed(self, store: str, batch: int, ids: Int64s, differences: Values) -> None:
        """`batch` has changed rows of a store by so much."""
        if not self.wanted:
            return
        before, known, others = self.changes.get(store, (-1, ids, differences))
        if before == batch:
            ids, differences = np.append(known, ids), np.append(others, differences)
        self.changes[store] = (batch, ids, differences)

    def amend(self, batch: int, ids: Int64s) -> None:
        """Adds what the mini-batch before changed to early reads of the rows `ids`."""
        for read, rows in self.reads.get(batch, ()):
            where = np.flatnonzero(np.isin(read, ids))
            self.add(batch, read[where], rows, where)

    def add(self, batch: int, ids: Int64s, rows: Copies, where: Int64s) -> None:
        """Adds what the mini-batch before changed the rows `ids` by to their copies in `rows`, at
        `where`; what was not changed, or not by that mini-batch, stays."""
        for before, changed, differences in self.changes.values():
            if before != batch - 1 or not len(changed):
                continue
            order = np.argsort(changed)
            place = np.searchsorted(changed, ids, sorter=order)
            place = np.minimum(place, len(changed) - 1)
            known = changed[order[place]] == ids
            at = where[known]
            rows.value[at] += differences[order[place[known]]]
            rows.updates[at] += 1
            rows.trainer[at] = before

    def used(self, batch: int) -> Iterator[tuple[Int64s, Copies]]:
        """The early reads of `batch`, which are no longer kept."""
        yield from self.reads.pop(batch, ())
