"""Copies of rows with values, as the checker keeps them, and what is known of who trains a row.

A copy knows how many updates are in it. What a copy has got since it came is its *changes*: they
can be taken out, and added to another copy. Where several copies of a row are trained with parts of
one mini-batch, each gets its share of the whole change, and all shares together are the whole: once
all changes are added up, the row is as if it had been trained once.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from simulator.hardware.program import Flow, Pool, Stage, Store, Update

__all__ = ["Copies", "Shares", "Trained", "shares_of", "stores_of", "trained_rows"]

Values = npt.NDArray[np.uint64]
Int64s = npt.NDArray[np.int64]
StoreKey = tuple[str, str]
Shares = Mapping[StoreKey, Values]
"""Name and memory of a store -> the share of each row that one mini-batch trains a part of there.
"""

_PART = np.uint64(0xD1342543DE82EF95)
"""Odd, so that no share is nothing."""


@dataclass
class Copies:
    """Copies of rows: which row, its value, the mini-batch that trained it last (-1: none), updates
    in it, value and updates as it came, and the ones of noise in it (`noise_values`)."""

    row: Int64s
    value: Values
    trainer: Int64s
    updates: Int64s
    value_came: Values
    updates_came: Int64s
    ones: Int64s

    @classmethod
    def of_tables(cls, rows: int) -> Copies:
        """Every row at its own number, untrained."""
        return cls._untrained(np.arange(rows), np.arange(rows, dtype=np.uint64))

    @classmethod
    def empty(cls, slots: int) -> Copies:
        """`slots` without a row."""
        return cls._untrained(np.full(slots, -1, np.int64), np.zeros(slots, np.uint64))

    @classmethod
    def _untrained(cls, rows: Int64s, values: Values) -> Copies:
        none = np.zeros(len(rows), np.int64)
        never = np.full(len(rows), -1, np.int64)
        return cls(rows, values, never, none, values.copy(), none.copy(), none.copy())

    def take(self, where: Int64s) -> Copies:
        """Those at some places."""
        value, updates = self.value[where], self.updates[where]
        row, trainer, ones = self.row[where], self.trainer[where], self.ones[where]
        return Copies(row, value, trainer, updates, value, updates, ones)

    def put(self, where: Int64s, ids: Int64s, rows: Copies) -> None:
        """`rows` come to these places as the rows `ids`."""
        self.row[where], self.trainer[where], self.ones[where] = ids, rows.trainer, rows.ones
        self.value[where] = self.value_came[where] = rows.value
        self.updates[where] = self.updates_came[where] = rows.updates

    def changes(self, where: Int64s) -> Copies:
        """Takes the changes of some places out: their values and updates are those added since."""
        rows = self.take(where)
        rows.value = self.value[where] - self.value_came[where]
        rows.updates = self.updates[where] - self.updates_came[where]
        self.value_came[where], self.updates_came[where] = self.value[where], self.updates[where]
        return rows

    def add(self, where: Int64s, changes: Copies) -> None:
        """Adds changes to the rows at these places."""
        self.value[where] += changes.value
        self.updates[where] += changes.updates
        self.trainer[where] = np.maximum(self.trainer[where], changes.trainer)

    def add_noise(self, where: Int64s, ones: Int64s) -> None:
        """So many ones more in each row."""
        self.value[where] += ones.astype(np.uint64)
        self.ones[where] += ones

    def renew(self, where: Int64s, ids: Int64s, rows: Copies) -> None:
        """As `put`, the changes of the copies there on top."""
        own = self.changes(where)
        self.put(where, ids, rows)
        self.add(where, own)

    def changed(self) -> tuple[Int64s, Values]:
        """Rows with changes that were not taken out, and those changes."""
        held = np.flatnonzero((self.row >= 0) & (self.updates != self.updates_came))
        return self.row[held], self.value[held] - self.value_came[held]


@dataclass(frozen=True)
class Trained:
    """Which mini-batches train which row, one after the other; where several copies of it are
    trained in parts, a mini-batch as often."""

    by_row: Mapping[int, Sequence[int]]

    @classmethod
    def of(cls, programs: Sequence[Sequence[Stage]]) -> Trained:
        """From what the program of each mini-batch updates."""
        by_row: dict[int, list[int]] = {}
        for batch, stages in enumerate(programs):
            whole, parts = _updated_rows(stages)
            for ids in (np.unique(np.concatenate([np.empty(0, np.int64), *whole])), *parts):
                for row in ids.tolist():
                    by_row.setdefault(row, []).append(batch)
        return cls(by_row)

    def before(self, batch: int, rows: Int64s) -> tuple[Int64s, Int64s]:
        """The mini-batch that trained each of `rows` last before `batch`, or -1, and how many
        updates of it there were."""
        counts = [bisect_left(self.by_row.get(row, ()), batch) for row in rows.tolist()]
        last = [
            self.by_row[row][count - 1] if count else -1
            for row, count in zip(rows.tolist(), counts, strict=True)
        ]
        return np.array(last, np.int64), np.array(counts, np.int64)

    def behind(self, batch: int, row: int, trainer: int) -> int:
        """Mini-batches from the first update of `row` after that of `trainer` to `batch`."""
        batches = self.by_row[row]
        return batch - batches[bisect_right(batches, trainer)]


def stores_of(word: Pool | Update, store: Store) -> list[tuple[Store, Flow]]:
    """The stores whose rows `word` touches in one pass."""
    more = word.elsewhere
    own = [(store, word.rows)]
    return own if more is None else [*own, (more.store, more.rows)]


def _updated_rows(stages: Sequence[Stage]) -> tuple[list[Int64s], list[Int64s]]:
    """Rows of each `Update`: those of whole mini-batches, and those of parts."""
    whole: list[Int64s] = []
    parts: list[Int64s] = []
    for stage in stages:
        for word in stage.operations:
            if isinstance(word, Update):
                flows = (flow.ids for _, flow in stores_of(word, word.writes))
                (parts if word.part else whole).extend(ids for ids in flows if ids is not None)
    return whole, parts


def trained_rows(stages: Sequence[Stage]) -> Int64s:
    """The distinct rows that a mini-batch trains."""
    whole, parts = _updated_rows(stages)
    return np.unique(np.concatenate([np.empty(0, np.int64), *whole, *parts]))


def shares_of(stages: Sequence[Stage]) -> Shares:
    """The share that each `Update` of a part has in the change of its rows: those of a row add up
    to 1 (modulo 2**64)."""
    words = [w for stage in stages for w in stage.operations if isinstance(w, Update) and w.part]
    _, parts = _updated_rows(stages)
    rows, counts = np.unique(np.concatenate([np.empty(0, np.int64), *parts]), return_counts=True)
    seen = np.zeros(len(rows), np.uint64)
    times = counts.astype(np.uint64)
    others = _PART * (times * (times - np.uint64(1)) // np.uint64(2))
    shares: dict[StoreKey, Values] = {}
    for word, ids in zip(words, parts, strict=True):
        where = np.searchsorted(rows, ids)
        rank = seen[where]
        first = np.uint64(1) - others[where]
        shares[word.writes.name, word.writes.memory] = np.where(rank == 0, first, _PART * rank)
        seen[where] += np.uint64(1)
    return shares
