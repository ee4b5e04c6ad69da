"""Tables that are cut: each part is looked up as a table of its own.

A part by rows has the rows that are `index` modulo `parts`, numbered anew (row // parts), as
HugeCTR's embedding collection spreads them (TorchRec cuts ranges of rows instead: data sets number
frequent rows first, so that its first range gets most lookups). A part by columns has all rows and
all lookups; a copy (`replica`) all rows and the lookups of its share of the samples.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, overload

import numpy as np
import numpy.typing as npt

from simulator.config.trace import HALF
from simulator.traces.base import Bags, Ids, MiniBatch, Trace, bags_of

__all__ = [
    "Cut",
    "PartedTrace",
    "Parts",
    "TablePart",
    "parted",
    "parted_bags",
    "split",
    "whole_rows",
]

Cut = Literal["table", "row", "column", "replica"]
"""A whole table, some of its rows, some of its columns, a copy."""


@dataclass(frozen=True, slots=True)
class TablePart:
    """Part `index` of the `parts` parts (or copies) of a table."""

    table: int
    cut: Cut = "table"
    index: int = 0
    parts: int = 1

    def rows(self, whole: int) -> int:
        """Rows of a part of a table of `whole` rows."""
        return (whole - self.index + self.parts - 1) // self.parts if self.cut == "row" else whole

    def of(self, rows: Ids) -> tuple[npt.NDArray[np.bool_], Ids]:
        """Which `rows` of the table a cut by rows gives this part, every `parts`-th, and their
        numbers in it."""
        own = rows % self.parts == self.index
        return own, rows[own] // self.parts

    def samples(self, whole: int) -> tuple[int, int]:
        """First sample that it serves, and the one after the last, of `whole`: the first copies
        have one more where the samples do not divide."""
        if self.cut != "replica":
            return 0, whole
        share, more = divmod(whole, self.parts)
        return tuple(k * share + min(k, more) for k in (self.index, self.index + 1))  # type: ignore[return-value]


Parts = tuple[TablePart, ...]
"""Parts of tables, each a table of its own; empty: tables as they are."""


def split(batch: MiniBatch, parts: Parts) -> MiniBatch:
    """The lookups of each part.

    Edges of bags are made when they are asked for: each part has one for every sample.
    """
    if not parts:
        return batch
    owned = _Owned(batch)
    ids = tuple(owned.ids(part) for part in parts)
    bags = None if batch.bags is None else _Edges(owned, parts, batch.bags)
    return MiniBatch(batch.index, ids, _Edges(owned, parts, batch.offsets), bags=bags)


class _Owned:
    """Which lookups of a mini-batch are those of each part."""

    def __init__(self, batch: MiniBatch) -> None:
        self._batch = batch
        self._cut: dict[tuple[int, int], list[Ids]] = {}

    def places(self, table: int, parts: int) -> list[Ids]:
        """Lookups of each of `parts` parts by rows, in their order; sorted once for all of them."""
        if (table, parts) not in self._cut:
            owner = (self._batch.ids[table] % parts).astype(np.uint16 if parts < 1 << 16 else int)
            counts = np.bincount(owner, minlength=parts)
            order = np.argsort(owner, kind="stable")
            self._cut[table, parts] = np.split(order, np.cumsum(counts)[:-1])
        return self._cut[table, parts]

    def served(self, part: TablePart) -> tuple[int, int]:
        """First lookup of a copy, and the one after its last."""
        offsets = self._batch.offsets[part.table]
        first, last = part.samples(len(offsets) - 1)
        return int(offsets[first]), int(offsets[last])

    def ids(self, part: TablePart) -> Ids:
        ids = self._batch.ids[part.table]
        if part.cut == "row":
            rows: Ids = ids[self.places(part.table, part.parts)[part.index]] // part.parts
            return rows
        return ids[slice(*self.served(part))] if part.cut == "replica" else ids

    def edges(self, part: TablePart, whole: Ids) -> Ids:
        """`whole`: edges among the lookups of its table; those among its own."""
        if part.cut == "row":
            return np.searchsorted(self.places(part.table, part.parts)[part.index], whole)
        if part.cut == "replica":
            begin, end = self.served(part)
            return np.clip(whole, begin, end) - begin
        return whole


class _Edges(Sequence[Ids]):
    """Edges of the bags of each part."""

    def __init__(self, owned: _Owned, parts: Parts, whole: Sequence[Ids]) -> None:
        self._owned, self._parts, self._whole = owned, parts, whole

    def __len__(self) -> int:
        return len(self._parts)

    @overload
    def __getitem__(self, part: int) -> Ids: ...
    @overload
    def __getitem__(self, part: slice) -> Sequence[Ids]: ...
    def __getitem__(self, part: int | slice) -> Ids | Sequence[Ids]:
        if isinstance(part, slice):
            return tuple(self[k] for k in range(*part.indices(len(self))))
        own = self._parts[part]
        return self._owned.edges(own, self._whole[own.table])


def parted(trace: Trace, parts: Parts) -> Trace:
    """`trace` with `parts` as its tables; itself where there are none."""
    return PartedTrace(trace, parts) if parts else trace


def parted_bags(bags: Bags | None, parts: Parts) -> Bags | None:
    """The bags of each part: of rows its share of the lookups in the mean, all of them at most."""
    if bags is None or not parts:
        return bags
    shares = [part.parts if part.cut in ("row", "replica") else 1 for part in parts]
    return Bags(
        tuple(bags.mean[p.table] / n for p, n in zip(parts, shares, strict=True)),
        tuple(bags.most[p.table] for p in parts),
    )


@dataclass(frozen=True)
class PartedTrace:
    """A trace whose tables are parts of those of another."""

    whole: Trace
    parts: Parts

    @property
    def rows(self) -> tuple[int, ...]:
        return tuple(part.rows(self.whole.rows[part.table]) for part in self.parts)

    @property
    def batches(self) -> int | None:
        return self.whole.batches

    @property
    def past(self) -> int | None:
        return self.whole.past

    @property
    def has_time_order(self) -> bool:
        return self.whole.has_time_order

    @property
    def bags(self) -> Bags | None:
        """As `Trace` sources that bring their own."""
        return parted_bags(bags_of(self.whole), self.parts)

    def minibatch(self, index: int) -> MiniBatch:
        return split(self.whole.minibatch(index), self.parts)

    def hottest(self, table: int, count: int, share: float = HALF) -> Ids:
        part = self.parts[table]
        if part.cut != "row":
            return self.whole.hottest(part.table, count, share)
        rows = self.whole.rows[part.table]
        asked = min(rows, (count + 1) * part.parts)
        while True:
            ranked = self.whole.hottest(part.table, asked, share)
            _, own = part.of(ranked)
            if len(own) >= count or asked == rows:
                return own[:count]
            asked = min(rows, 2 * asked)

    def fingerprint(self) -> str:
        return hashlib.sha256(f"{self.whole.fingerprint()} {self.parts}".encode()).hexdigest()


def whole_rows(parts: Sequence[TablePart], tables: int) -> tuple[int, ...]:
    """Tables to count where rows are meant and not their pieces: parts by columns once."""
    if not parts:
        return tuple(range(tables))
    return tuple(k for k, p in enumerate(parts) if p.cut != "column" or p.index == 0)
