"""Ids that are no row numbers become some: folded into a table as training jobs fold them.

`modulo`: id mod rows. `hash`: the SplitMix64 finaliser of the id, mod rows. `renumber`: by first
appearance in the file (of several columns that feed a table in one after the other), which needs a
row for every distinct id. Negative ids are errors before any
of them. What comes out depends on the values of the ids alone: not on their integer type, nor on
the pieces that they are read in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np

from simulator._mix import mix64
from simulator.config.trace import IdRule
from simulator.errors import TraceError
from simulator.traces.base import Ids
from simulator.traces.features import Feeds
from simulator.traces.pieces import CHUNK, Column, Piece, Source, check_ids, checked, integers

__all__ = ["RULES", "FirstAppearance", "IdMap", "folded", "id_map", "id_maps"]

RULES: tuple[IdRule, ...] = get_args(IdRule)

IdMap = Callable[[Ids], Ids]
"""From ids (int64 or uint64, not negative) to row numbers, int64 of the same shape."""


def id_map(rule: IdRule, rows: int) -> IdMap | None:
    """How `modulo` and `hash` fold ids into a table of `rows` rows; None for the other rules, which
    take ids as they are or one after the other (`FirstAppearance`)."""
    if rule == "modulo":
        return lambda ids: (ids % rows).astype(np.int64, copy=False)
    return (lambda ids: _hashed(ids, rows)) if rule == "hash" else None


def _hashed(ids: Ids, rows: int) -> Ids:
    words = np.asarray(mix64(ids.astype(np.uint64)), np.uint64)
    return (words % np.uint64(rows)).astype(np.int64)


def id_maps(
    rule: IdRule, rows: Sequence[int], feeds: Feeds, columns: Sequence[Column], path: Path
) -> list[IdMap | None]:
    """How the ids of each table become rows, all `columns` of the file being at hand.

    `rows`: of each table. Raises `TraceError` where they do not suffice for `renumber`.
    """
    if rule != "renumber":
        return [id_map(rule, count) for count in rows]
    numbered = [FirstAppearance() for _ in rows]
    for numbers, own, name in zip(numbered, feeds.columns, feeds.names, strict=True):
        where = f"{path}: table {name!r}"
        for column in own:
            ids = columns[column].ids
            for start in range(0, len(ids), CHUNK):
                some = ids[start : start + CHUNK]
                check_ids(some, None, where, start, unsigned=True)
                numbers(integers(some, where))
    _require_room(numbered, rows, feeds, path)
    return [numbers.of for numbers in numbered]


def folded(
    source: Source, rule: IdRule, rows: Sequence[int | None], feeds: Feeds
) -> Iterator[Piece]:
    """The pieces of `source`, checked, with row numbers in place of their ids.

    `rows`: of each table; None, which only `renumber` takes: as many as there are distinct ids.
    Tables that several columns feed are read once a column to be renumbered. Raises `TraceError` at
    the end where rows do not suffice.
    """
    table_of = feeds.table_of
    if rule != "renumber":
        maps = [None if count is None else id_map(rule, count) for count in rows]
        for piece in checked(source, unsigned=True):
            change = maps[table_of[piece.table]]
            yield piece if change is None else replace(piece, ids=change(piece.ids))
        return
    numbered = [FirstAppearance() for _ in rows]
    for turn in range(max(map(len, feeds.columns))):
        now = {own[turn] for own in feeds.columns if turn < len(own)}
        for piece in checked(source, unsigned=True):
            if piece.table in now:
                yield replace(piece, ids=numbered[table_of[piece.table]](piece.ids))
    _require_room(numbered, rows, feeds, source.path)


def _require_room(
    numbered: Sequence[FirstAppearance], rows: Sequence[int | None], feeds: Feeds, path: Path
) -> None:
    for numbers, count, name in zip(numbered, rows, feeds.names, strict=True):
        numbers.require_room(count, f"{path}: table {name!r}")


class FirstAppearance:
    """Numbers ids from 0 in the order in which they first come. State: 16 bytes a distinct id."""

    def __init__(self) -> None:
        self._known = np.empty(0, np.uint64)
        self._numbers = np.empty(0, np.int64)

    @property
    def distinct(self) -> int:
        """Distinct ids so far."""
        return len(self._known)

    def __call__(self, ids: Ids) -> Ids:
        """Numbers of `ids`, those that are new after all before them."""
        values, first = np.unique(ids.astype(np.uint64, copy=False), return_index=True)
        at = np.searchsorted(self._known, values)
        inside = at < self.distinct
        known = np.zeros(len(values), bool)
        known[inside] = self._known[at[inside]] == values[inside]
        values, first, at = values[~known], first[~known], at[~known]
        numbers = np.empty(len(values), np.int64)
        numbers[np.argsort(first)] = self.distinct + np.arange(len(values))
        self._known = np.insert(self._known, at, values)
        self._numbers = np.insert(self._numbers, at, numbers)
        return self.of(ids)

    def of(self, ids: Ids) -> Ids:
        """Numbers of `ids` that have all come before."""
        return self._numbers[np.searchsorted(self._known, ids.astype(np.uint64, copy=False))]

    def require_room(self, rows: int | None, where: str) -> None:
        """Raise `TraceError` where `rows` (None: any number) are fewer than the distinct ids."""
        if rows is not None and self.distinct > rows:
            raise TraceError(
                f"{where}: {self.distinct:,} distinct ids for a table of {rows:,} rows: renumber "
                f"needs a row for each (at least {self.distinct:,}), modulo and hash fold them"
            )
