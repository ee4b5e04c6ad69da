"""What every file format speaks: tables as streams of pieces, checked on the way.

A reader yields `Piece`s: some consecutive ids of one table, with the bag lengths where pooling is
jagged. Nothing larger than a piece needs to be in memory. `load` puts the pieces together where
random access is wanted; `.npy` and oracleGeneral files are memory-mapped instead.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from simulator._progress import tell
from simulator.errors import TraceError
from simulator.streams import read_share
from simulator.traces.base import Ids

__all__ = [
    "CHUNK",
    "MAX_ID",
    "Column",
    "Piece",
    "Source",
    "bags",
    "check_ids",
    "checked",
    "integers",
    "joined",
    "load",
    "numbered",
]

CHUNK = 1 << 20
"""Ids in a piece, about: 8 MiB."""

MAX_ID = 2**63 - 1


def numbered(count: int) -> tuple[str, ...]:
    """The names of `count` columns that have none: `C1`, `C2`, ..."""
    return tuple(f"C{number}" for number in range(1, count + 1))


@dataclass(frozen=True, slots=True)
class Piece:
    """Consecutive ids of table number `table` (int64; uint64 where some are above `MAX_ID`); if
    jagged, further bag lengths (int64).

    Lengths need not belong to the ids of the same piece: over the table they add to all ids.
    """

    table: int
    ids: Ids
    lengths: Ids | None = None


@dataclass(frozen=True, slots=True)
class Column:
    """A whole table: `ids` of any integer type (maybe memory-mapped), in order.

    `offsets`: int64, shape (samples + 1,), or None where every sample has as many. `bags`: int64,
    shape (samples * features + 1,), where several features look the table up with bags of their
    own; None where one does, or where offsets are None.
    """

    name: str
    ids: npt.NDArray[Any]
    offsets: Ids | None = None
    bags: Ids | None = None


class Source(Protocol):
    """A file of one format, opened."""

    path: Path
    tables: tuple[str, ...]
    notes: tuple[str, ...]
    """What was guessed about the file or left out of it: sentences without the file's name."""

    def pieces(self) -> Iterator[Piece]:
        """All tables' ids in order (tables may take turns); `TraceError` where unreadable."""
        ...

    def columns(self) -> list[Column] | None:
        """Memory-mapped tables where the format allows it, else None."""
        ...


_REMEDY = (
    "modulo, hash or renumber make row numbers of such ids (trace.ids in an experiment, --ids of "
    "`scratchpipe trace convert`)"
)


def integers(values: npt.NDArray[Any], where: str) -> Ids:
    """`values` as int64, or as uint64 where some are above `MAX_ID`; `TraceError` unless 1-D
    integers."""
    if values.ndim != 1:
        raise TraceError(f"{where}: shape {values.shape}, ids must be one-dimensional")
    if values.dtype.kind not in "iu":
        raise TraceError(f"{where}: {values.dtype} values, ids must be integers")
    if values.dtype.kind == "u" and values.size and int(values.max()) > MAX_ID:
        return values.astype(np.uint64, copy=False)
    return values.astype(np.int64, copy=False)


def bags(values: npt.NDArray[Any], where: str) -> Ids:
    """Offsets or lengths of bags, as int64; `TraceError` unless they are 1-D integers that fit."""
    counts = integers(values, where)
    if counts.dtype != np.int64:
        raise TraceError(f"{where}: {counts.max()} is above 2**63 - 1, bags have fewer ids")
    return counts


def joined(parts: Sequence[Ids]) -> Ids:
    """Ids that are not negative, one after the other: int64, or uint64 where a part is."""
    if any(part.dtype == np.uint64 for part in parts):
        parts = [part.astype(np.uint64, copy=False) for part in parts]
    return np.concatenate(parts or [np.empty(0, np.int64)])


def check_ids(
    ids: npt.NDArray[Any],
    rows: int | None,
    where: str,
    start: int = 0,
    *,
    unsigned: bool = False,
) -> None:
    """`TraceError` that names the first id below 0 or (with `rows`) not below `rows`, or, unless
    `unsigned`, above `MAX_ID`."""
    if not len(ids):
        return
    low, high = int(ids.min()), int(ids.max())
    most = rows - 1 if rows is not None else 2**64 if unsigned else MAX_ID
    if low >= 0 and high <= most:
        return
    bad = ids < 0 if high <= most else (ids < 0) | (ids > most)
    first = int(np.argmax(bad))
    value = int(ids[first])
    large = "is above 2**63 - 1" if rows is None else f"is outside of a table of {rows} rows"
    reason = "is negative" if value < 0 else large
    remedy = "" if value < 0 else f": {_REMEDY}"
    raise TraceError(
        f"{where}: id {value} at record {start + first} {reason} (records count from 0){remedy}"
    )


def checked(
    source: Source, rows: Sequence[int] | None = None, *, unsigned: bool = False
) -> Iterator[Piece]:
    """The pieces of `source`, each checked; a file without any id or bag is an error at the end.

    A table whose bags are all empty is one without lookups. `unsigned`: ids above `MAX_ID` are
    taken, as uint64, for who folds them (`id_map`).
    """
    bagged = False
    counts = [0] * len(source.tables)
    totals: list[int | None] = [None] * len(source.tables)
    whole = sum(len(column.ids) for column in source.columns() or ())
    for piece in source.pieces():
        table = piece.table
        where = f"{source.path}: table {source.tables[table]!r}"
        most = rows[table] if rows else None
        check_ids(piece.ids, most, where, counts[table], unsigned=unsigned)
        if piece.lengths is not None:
            check_ids(piece.lengths, None, f"{where}: bag lengths")
            bagged = bagged or len(piece.lengths) > 0
            totals[table] = (totals[table] or 0) + int(piece.lengths.sum())
        counts[table] += len(piece.ids)
        read = sum(counts)
        tell(f"{read:,} lookups read", read / whole if whole else read_share())
        yield piece
    if not bagged and not any(counts):
        raise TraceError(f"{source.path}: holds no ids")
    for name, count, total in zip(source.tables, counts, totals, strict=True):
        if total is not None and total != count:
            raise TraceError(
                f"{source.path}: table {name!r}: bag lengths add to {total}, but there are "
                f"{count} ids"
            )


def load(source: Source, *, unsigned: bool = False) -> list[Column]:
    """All tables of `source`, memory-mapped where possible, else in memory (8 bytes an id).

    `unsigned`: as of `checked`.
    """
    mapped = source.columns()
    if mapped is not None:
        return mapped
    ids: list[list[Ids]] = [[] for _ in source.tables]
    lengths: list[list[Ids]] = [[] for _ in source.tables]
    for piece in checked(source, unsigned=unsigned):
        ids[piece.table].append(piece.ids)
        if piece.lengths is not None:
            lengths[piece.table].append(piece.lengths)
    return [
        Column(name, joined(parts), _offsets(bags_of_table))
        for name, parts, bags_of_table in zip(source.tables, ids, lengths, strict=True)
    ]


def _offsets(lengths: Iterable[Ids]) -> Ids | None:
    parts = list(lengths)
    if not parts:
        return None
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(np.concatenate(parts))])
