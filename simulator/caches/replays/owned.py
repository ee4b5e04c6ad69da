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
from simulator.caches.plan.ordered import DIGIT, order_by_digit

__all__ = ["Looked", "Owned", "by_row", "of_all", "rows_of", "settle", "tally"]

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
    def of_tables(cls, packed: Sequence[Int64s], starts: Sequence[int], counts: Int64s) -> Owned:
        """The rows of all tables, each `packed` in order in its own numbers; `starts`: the first
        row of each in one numbering."""
        pairs = zip(packed, starts, strict=True)
        return cls(np.concatenate([rows + (start << _BITS) for rows, start in pairs]), counts)

    @classmethod
    def counted(cls, counts: Int64s) -> Owned:
        """How many there are, no more."""
        return cls(np.empty(0, np.int64), counts)

    @property
    def rows(self) -> Int64s:
        return rows_of(self.packed)

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


def rows_of(packed: Int64s) -> Int64s:
    """Their numbers, int64."""
    return packed >> _BITS


def of_all(rows: Int64s) -> Int64s:
    """`rows` packed, which all have."""
    return rows << _BITS


def by_row(packed: Int64s, rows: int) -> Int64s:
    """`packed`, which is written over, in the order of rows, of which there are as many."""
    other = np.empty(len(packed), np.int64)
    for shift in range(_BITS, _BITS + (rows - 1).bit_length(), DIGIT):
        order_by_digit(packed, shift, other)
        packed, other = other, packed
    return packed


class Looked(NamedTuple):
    """Of each distinct row of a table in a mini-batch: what `Read` says of it, and who looks it
    up; see `samples.Shared`."""

    rows: Rows
    times: Rows
    who: Int16s
    fetched: Bools


@compiled
def tally(looked: Looked, again: Bools, lists: Int64s) -> None:
    """Count rows by what is known once the next mini-batch was read: to `lists`, shape (6, 2), the
    lookups and rows of all, of hits, misses, those of now and others, and the entries of what
    trainers are told. Nobody has one alone that is used `again`."""
    times, who, fetched = looked.times, looked.who, looked.fetched
    for k in range(len(times)):
        lists[0, 0] += times[k]
        lists[1 + int(fetched[k]), 0] += times[k]
        lists[1 + int(fetched[k]), 1] += 1
        lists[4 - int(again[k]), 0] += times[k]
        lists[4 - int(again[k]), 1] += 1
        lists[5, 1] += 1 + int(fetched[k])
        if again[k]:
            who[k] = -1
    lists[0, 1] += len(times)


@compiled
def settle(
    looked: Looked, kept: Bools, lists: Int64s, counts: Int64s, fetched: Int64s, left: Int64s
) -> None:
    """Count rows by what is known once the look-ahead was read, after `tally`: those that somebody
    has alone, looked up once, are none of the others. Nobody has one alone that is `kept`.

    To `counts`, shape (3, trainers + 1), by who has them (all come first): rows that one has alone,
    that are fetched, and that are not kept; the latter two, packed, to `fetched` and `left` where
    those have room.
    """
    rows, who = looked.rows, looked.who
    came = went = 0
    for k in range(len(who)):
        if kept[k]:
            who[k] = -1
            lists[5, 1] += 1
        owner = np.int64(who[k]) + 1
        if owner > 0:
            lists[4, 0] -= 1
            lists[4, 1] -= 1
            counts[0, owner] += 1
        if looked.fetched[k]:
            if came < len(fetched):
                fetched[came] = (np.int64(rows[k]) << _BITS) | owner
            came += 1
            counts[1, owner] += 1
        if not kept[k]:
            if went < len(left):
                left[went] = (np.int64(rows[k]) << _BITS) | owner
            went += 1
            counts[2, owner] += 1
