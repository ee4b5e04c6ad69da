"""Access counts per row: one column a table, one line a row (the layout that LazyDP uses).

Read from `.csv`/`.tsv` (with or without a header line), `.npy` (one column), `.npz` or Parquet.
Columns of a CSV may end early (empty fields at the end), for tables of different sizes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from simulator.errors import TraceError
from simulator.traces.base import Ids
from simulator.traces.files import detect_format, open_source
from simulator.traces.pieces import checked
from simulator.traces.text_files import delimited_lines

__all__ = ["read_counts"]

_MAX_TOTAL = 2**62


def read_counts(path: str | Path, columns: Sequence[str] = ()) -> list[tuple[str, Ids]]:
    """(name, counts by row) of the chosen columns, or of all; int64.

    Raises `TraceError` for a count that is negative or no integer, and where all are zero.
    """
    path = Path(path)
    if detect_format(path) in ("csv", "tsv"):
        by_column = _read_text(path, "\t" if detect_format(path) == "tsv" else ",")
    else:
        source = open_source(path, columns=tuple(columns))
        parts: list[list[Ids]] = [[] for _ in source.tables]
        for piece in checked(source):
            parts[piece.table].append(piece.ids)
        by_column = {
            name: np.concatenate(part or [np.empty(0, np.int64)])
            for name, part in zip(source.tables, parts, strict=True)
        }
    missing = [name for name in columns if name not in by_column]
    if missing:
        raise TraceError(f"{path}: no column {', '.join(missing)}; it has {', '.join(by_column)}")
    chosen = [(name, by_column[name]) for name in (columns or by_column)]
    for name, counts in chosen:
        total = float(counts.sum(dtype=np.float64))
        if not 0 < total < _MAX_TOTAL:
            raise TraceError(f"{path}: column {name!r}: the counts add to {total:.0f}")
    return chosen


def _read_text(path: Path, delimiter: str) -> dict[str, Ids]:
    lines = delimited_lines(path, delimiter)
    number, first = next(lines, (0, []))
    if not first:
        raise TraceError(f"{path}: holds no counts")
    header = not all(_is_count(field) for field in first if field)
    names = first if header else [f"C{i + 1}" for i in range(len(first))]
    if len(set(names)) != len(names):
        raise TraceError(f"{path}: line {number}: two columns have one name")
    values: list[list[int]] = [[] for _ in names]
    if not header:
        _append(path, number, first, values)
    for number, fields in lines:
        _append(path, number, fields, values)
    return {n: np.array(v, np.int64) for n, v in zip(names, values, strict=True)}


def _append(path: Path, line: int, fields: list[str], values: list[list[int]]) -> None:
    if len(fields) != len(values):
        raise TraceError(f"{path}: line {line}: {len(fields)} fields, expected {len(values)}")
    row = max(map(len, values), default=0)
    for field, column in zip(fields, values, strict=True):
        if field == "":
            continue
        if not _is_count(field) or len(field) > 18:
            raise TraceError(f"{path}: line {line}: {field!r} is not a count from 0")
        if len(column) != row:
            raise TraceError(f"{path}: line {line}: a count after the end of its column")
        column.append(int(field))


def _is_count(field: str) -> bool:
    return field.isascii() and field.isdigit()
