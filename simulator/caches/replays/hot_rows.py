"""The rows that a sample of the training data finds hot, of all tables together.

FAE's profiler (`dlrm_input_profiler.py` at 396409a): count rows in a sample of the inputs that is
drawn at random, sort the rows of all tables together by count, take the first that fit the budget.

Of a file the inputs are all its mini-batches, those that are timed among them (the works do so);
a generated trace has no end, so that as many of its past are counted as if a data set had
`GENERATED` mini-batches.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from simulator.traces.base import Trace

__all__ = ["GENERATED", "HotRows"]

Int64s = npt.NDArray[np.int64]

GENERATED = 400
"""Mini-batches that the data set of a generated trace counts as."""


@dataclass(frozen=True)
class HotRows:
    """The rows that are used most in a sample of the mini-batches, as many as fit.

    `budget`: bytes; `entries`: of a row of each table, optimizer state included; `share`: of the
    mini-batches that are counted.
    """

    budget: int
    entries: tuple[int, ...]
    share: float
    seed: int = 0

    @property
    def most(self) -> int:
        """Rows that fit at most."""
        return self.budget // min(self.entries)

    def counted(self, trace: Trace) -> range | Int64s:
        """Numbers of the mini-batches that are counted, ascending."""
        if trace.batches is None or trace.past is None:
            return range(-max(1, round(self.share * GENERATED)), 0)
        inputs = trace.past + trace.batches
        chosen = max(1, round(self.share * inputs))
        random = np.random.Generator(np.random.PCG64(self.seed))
        return np.sort(random.choice(inputs, chosen, replace=False)) - trace.past

    def of(self, trace: Trace) -> list[Int64s]:
        """The hot rows of each table, the most used first; ties by table and row."""
        batches = [trace.minibatch(int(number)).ids for number in self.counted(trace)]
        used = [
            np.unique(np.concatenate(ids), return_counts=True) for ids in zip(*batches, strict=True)
        ]
        tables = np.repeat(np.arange(len(used)), [len(rows) for rows, _ in used])
        rows, times = (np.concatenate(each) for each in zip(*used, strict=True))
        order = np.argsort(-times, kind="stable")
        sizes = np.cumsum(np.array(self.entries, np.int64)[tables[order]])
        fitting = int(np.searchsorted(sizes, self.budget, "right"))
        order = order[:fitting]
        hot = [rows[order][tables[order] == table] for table in range(len(used))]
        if fitting == len(rows):
            left = self.budget - (int(sizes[-1]) if fitting else 0)
            return self._filled(hot, trace.rows, left)
        return hot

    def _filled(self, hot: list[Int64s], sizes: tuple[int, ...], left: int) -> list[Int64s]:
        """`hot`, and rows that were not counted, table by table, as far as what is `left` goes."""
        filled = []
        for table, rows in enumerate(hot):
            room = left // self.entries[table]
            others = np.empty(0, np.int64)
            if room and len(rows) < sizes[table]:
                unused = np.ones(sizes[table], np.bool_)
                unused[rows] = False
                others = np.flatnonzero(unused)[:room]
            left -= len(others) * self.entries[table]
            filled.append(np.concatenate([rows, others]))
        return filled
