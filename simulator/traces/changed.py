"""Rows that change from one snapshot to the next: those that any of its mini-batches looks up."""

from __future__ import annotations

import numpy as np

from simulator.errors import InvariantError
from simulator.traces.base import Trace

__all__ = ["ChangedRows"]


class ChangedRows:
    """Distinct rows of each table in every period of `every` mini-batches, exact from the trace;
    counted when first asked for, period after period."""

    def __init__(self, trace: Trace, every: int) -> None:
        self._trace, self._every = trace, every
        self._periods: list[tuple[int, ...]] = []

    def in_period(self, number: int) -> tuple[int, ...]:
        """Rows of each table that change in mini-batches `number` * `every` and on; none before the
        first of all. Raises `InvariantError` where the trace ends before the period does."""
        if number < 0:
            return (0,) * len(self._trace.rows)
        while len(self._periods) <= number:
            self._periods.append(self._counted(len(self._periods)))
        return self._periods[number]

    def _counted(self, number: int) -> tuple[int, ...]:
        first, last = number * self._every, (number + 1) * self._every
        if self._trace.batches is not None and last > self._trace.batches:
            raise InvariantError(f"the trace has no mini-batches {first} to {last - 1}")
        changed = [np.zeros(rows, np.bool_) for rows in self._trace.rows]
        for index in range(first, last):
            for table, ids in zip(changed, self._trace.minibatch(index).ids, strict=True):
                table[ids] = True
        return tuple(int(np.count_nonzero(table)) for table in changed)
