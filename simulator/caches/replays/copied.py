"""Rows that every node of a near-memory pool has a copy of, and which copy each lookup reads."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from simulator._compiled import compiled
from simulator.caches.nodes import CopiedSums
from simulator.traces.base import Trace

__all__ = ["CopiedRows"]

Int64s = npt.NDArray[np.int64]
Marks = npt.NDArray[np.bool_]


@dataclass
class CopiedRows:
    """The hottest rows of each table, in every home; numbers of rows are over all tables.

    A lookup of one goes to the home that the mini-batch has asked least so far, tables one after
    the other: first all that have no choice, then these in order, ties by who was behind first.
    """

    hot: Marks
    """Of every row."""
    loads: Int64s = field(default_factory=lambda: np.zeros(0, np.int64), repr=False)
    """Lookups of each home so far."""

    @classmethod
    def of(cls, trace: Trace, starts: Int64s, counts: tuple[int, ...], share: float) -> CopiedRows:
        """The `counts` hottest rows of the tables that begin at `starts`, by the profile of the
        first `share` of a file."""
        hot = np.zeros(sum(trace.rows), np.bool_)
        for table, count in enumerate(counts):
            hot[starts[table] + trace.hottest(table, count, share)] = True
        return cls(hot)

    def begin(self) -> None:
        """A mini-batch begins."""
        self.loads[:] = 0

    def dealt(self, ids: Int64s, where: Int64s, homes: int) -> None:
        """Put the homes of copied rows among `ids` into `where`, which has those of all others."""
        if len(self.loads) != homes:
            self.loads = np.zeros(homes, np.int64)
        copied = self.hot[ids]
        self.loads += np.bincount(where[~copied], minlength=homes)
        where[copied] = level(self.loads, int(np.count_nonzero(copied)))

    def rows(self, unique: Int64s, homes: int) -> Int64s:
        """Distinct rows that each home holds, int64 (homes,): copied ones are in all."""
        copied = self.hot[unique]
        return np.bincount(unique[~copied] % homes, minlength=homes) + np.count_nonzero(copied)

    def sums(self, ids: Int64s, where: Int64s, homes: int, modules: int) -> CopiedSums:
        """Sums of gradients of copied rows, a home and a module that lookups of a row went to."""
        copied = self.hot[ids]
        rows, at = ids[copied], where[copied]
        return CopiedSums(
            len(np.unique(rows)),
            len(np.unique(rows * homes + at)),
            len(np.unique(rows * modules + at % modules)),
        )


@compiled
def level(loads: Int64s, count: int) -> Int64s:
    """Homes of `count` lookups, each to the home with the least load, which grows by it: int64
    (count,); `loads`: int64 (homes,), changed in place. Ties go by load at first, then by number.
    """
    order = np.argsort(loads, kind="mergesort")
    dealt = np.empty(count, np.int64)
    width, place = 0, 0
    for k in range(count):
        if place == width:  # all of them are level: those that are as high now join
            place = 0
            height = loads[order[0]]
            while width < len(order) and loads[order[width]] == height:
                width += 1
        home = order[place]
        dealt[k] = home
        loads[home] += 1
        place += 1
    return dealt
