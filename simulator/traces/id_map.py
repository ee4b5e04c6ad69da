"""Ids that are no row numbers become some: folded into a table as training jobs fold them.

`modulo`: id mod rows. `hash`: the SplitMix64 finaliser of the id, mod rows. `renumber`: by first
appearance in the file, which needs a row for every distinct id. Negative ids are errors before any
of them. What comes out depends on the values of the ids alone: not on their integer type, nor on
the pieces that they are read in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import get_args

import numpy as np

from simulator._mix import mix64
from simulator.config.trace import IdRule
from simulator.errors import TraceError
from simulator.traces.base import Ids
from simulator.traces.pieces import Piece

__all__ = ["RULES", "FirstAppearance", "IdMap", "folded", "id_map"]

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


def folded(
    pieces: Iterable[Piece], rule: IdRule, rows: Sequence[int | None], names: Sequence[str]
) -> Iterator[Piece]:
    """`pieces` with row numbers in place of their ids.

    `rows`: of each table; None, which only `renumber` takes: as many as there are distinct ids.
    `names`: of each table, for errors. Raises `TraceError` at the end where rows do not suffice.
    """
    maps: list[IdMap | FirstAppearance | None]
    if rule == "renumber":
        numbered = [FirstAppearance() for _ in rows]
        maps = [*numbered]
    else:
        numbered = []
        maps = [None if count is None else id_map(rule, count) for count in rows]
    for piece in pieces:
        change = maps[piece.table]
        yield piece if change is None else replace(piece, ids=change(piece.ids))
    for table, numbers in enumerate(numbered):
        numbers.require_room(rows[table], names[table])


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
