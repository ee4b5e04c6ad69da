"""Rows of mini-batches with whom of several trainers they belong to: one alone, or all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from simulator._compiled import compiled
from simulator.caches.flows import Flow

__all__ = ["Owned", "Uses", "owned", "tally"]

Int64s = npt.NDArray[np.int64]
Int16s = npt.NDArray[np.int16]
Bools = npt.NDArray[np.bool_]
Rows = npt.NDArray[Any]
"""Numbers of rows, or of their lookups, of any size."""

_BITS = 16
"""Of a number, the trainer (plus 1) that has the row in the bits above alone; 0: all have it."""
_MASK = (1 << _BITS) - 1


@dataclass(frozen=True, slots=True)
class Owned:
    """Distinct rows, and how many of each table all have (`counts[table, 0]`), or one trainer alone
    (`counts[table, trainer + 1]`)."""

    packed: Int64s
    counts: Int64s

    @classmethod
    def joined(cls, parts: Sequence[Owned], tables: int, trainers: int) -> Owned:
        """All of `parts`, one after the other."""
        packed = [np.empty(0, np.int64), *(part.packed for part in parts)]
        counts = [np.zeros((tables, trainers + 1), np.int64), *(part.counts for part in parts)]
        return cls(np.concatenate(packed), np.sum(counts, axis=0))

    @classmethod
    def of_all(cls, rows: Int64s, edges: Sequence[int], trainers: int) -> Owned:
        """Ascending `rows` that all have; `edges`: the first row of each table, and the end."""
        counts = np.zeros((len(edges) - 1, trainers + 1), np.int64)
        counts[:, 0] = np.diff(np.searchsorted(rows, edges))
        return cls(rows << _BITS, counts)

    def __len__(self) -> int:
        return len(self.packed)

    @property
    def rows(self) -> Int64s:
        return self.packed >> _BITS

    def by_row(self) -> Owned:
        """The same in the order of rows."""
        return Owned(np.sort(self.packed), self.counts)

    def of(self, trainer: int, slots: Int64s | None) -> tuple[Flow, ...]:
        """Those that all have and those of a trainer, a flow a table; `slots`: of all, in order of
        rows, where those are told."""
        counts = self.counts[:, 0] + self.counts[:, trainer + 1]
        if slots is None:
            return _flows(counts)
        who = self.packed & _MASK
        chosen = (who == 0) | (who == trainer + 1)
        return _flows(counts, self.rows[chosen], slots[chosen])

    def dealt(self, trainer: int, slots: Int64s | None) -> tuple[Flow, ...]:
        """Those of a trainer, and its share of those that all have: they are dealt in order of
        rows, the first of them to the second trainer."""
        trainers = self.counts.shape[1] - 1
        ends = np.concatenate([[0], np.cumsum(self.counts[:, 0])])
        turns = np.diff((ends - (trainer or trainers)) // trainers)
        counts = turns + self.counts[:, trainer + 1]
        if slots is None:
            return _flows(counts)
        who = self.packed & _MASK
        shared = who == 0
        dealt = shared & (np.cumsum(shared) % trainers == trainer)
        chosen = dealt | (who == trainer + 1)
        return _flows(counts, self.rows[chosen], slots[chosen])


def _flows(
    counts: Int64s, rows: Int64s | None = None, slots: Int64s | None = None
) -> tuple[Flow, ...]:
    """A flow a table of as many rows each; `rows`, `slots`: of all, where those are told."""
    edges = pairwise(np.cumsum([0, *counts]).tolist())
    if rows is None or slots is None:
        return tuple(Flow(0, b - a) for a, b in edges)
    return tuple(Flow(0, b - a, rows[a:b], slots[a:b]) for a, b in edges)


@compiled
def pack(
    rows: Rows, owners: Int16s, chosen: Bools, edges: Int64s, packed: Int64s, counts: Int64s
) -> int:
    """Write the `chosen` rows with their owners (-1: all), and how many of each table every owner
    has: shape (tables, trainers + 1); returns how many."""
    count = 0
    for table in range(len(edges) - 1):
        for k in range(edges[table], edges[table + 1]):
            if chosen[k]:
                owner = np.int64(owners[k]) + 1
                packed[count] = (rows[k] << _BITS) | owner
                counts[table, owner] += 1
                count += 1
    return count


def owned(rows: Rows, owners: Int16s, chosen: Bools, edges: Sequence[int], trainers: int) -> Owned:
    """The `chosen` of `rows`; `owners`: the trainer that has each alone, -1: all have it."""
    packed = np.empty(len(rows), np.int64)
    counts = np.zeros((len(edges) - 1, trainers + 1), np.int64)
    count = pack(rows, owners, chosen, np.array(edges), packed, counts)
    return Owned(packed[:count].copy(), counts)


class Uses(NamedTuple):
    """Of each distinct row of a mini-batch, what `Read` says, and who has it alone (-1: nobody)."""

    fetched: Bools
    again: Bools
    kept: Bools
    owners: Int16s


@compiled
def tally(times: Rows, uses: Uses, edges: Int64s, lists: Int64s, alone: Int64s) -> None:
    """Count rows by table, those of one between two `edges`: to `lists`, shape (6, tables, 2), the
    lookups and rows of all, of hits, misses, those of now and of later, and the entries of what
    trainers are told; to `alone`, shape (trainers, tables), the rows that a trainer has alone.
    """
    fetched, again, kept, owners = uses
    for table in range(len(edges) - 1):
        for k in range(edges[table], edges[table + 1]):
            lists[0, table, 0] += times[k]
            lists[1 + int(fetched[k]), table, 0] += times[k]
            lists[1 + int(fetched[k]), table, 1] += 1
            if again[k]:
                lists[3, table, 0] += times[k]
                lists[3, table, 1] += 1
            elif owners[k] < 0:
                lists[4, table, 0] += times[k]
                lists[4, table, 1] += 1
            else:
                alone[owners[k], table] += 1
            lists[5, table, 1] += 1 + int(fetched[k]) + int(kept[k])
        lists[0, table, 1] = edges[table + 1] - edges[table]
