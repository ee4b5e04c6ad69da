"""Access counts per row: one column a table, one line a row (the layout that LazyDP uses).

Read from `.csv`/`.tsv` (with or without a header line), `.npy` (one column), `.npz` or Parquet.
Columns of a CSV may end early (empty fields at the end), for tables of different sizes. A column
without a name (the row numbers of a data frame) is refused unless others are chosen by name.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from simulator.errors import TraceError
from simulator.streams import inner_name
from simulator.traces.base import Ids
from simulator.traces.files import open_source
from simulator.traces.pieces import checked
from simulator.traces.text_files import number_of
from simulator.traces.text_layout import Header, Layout, counts_columns, layout_of

__all__ = ["notes_on_counts", "read_counts"]

_MAX_TOTAL = 2**62


def read_counts(
    path: str | Path, columns: Sequence[str] = (), header: Header = "auto"
) -> list[tuple[str, Ids]]:
    """(name, counts by row) of the chosen columns, or of all; int64.

    `header`: whether the first line of text names the columns. Raises `TraceError` for a count
    that is negative or no integer, and where all are zero.
    """
    path = Path(path)
    layout = _layout(path, header)
    if layout is not None:
        chosen = _read_text(layout, tuple(columns), header)
    else:
        source = open_source(path, columns=tuple(columns), header=header)
        parts: list[list[Ids]] = [[] for _ in source.tables]
        for piece in checked(source):
            parts[piece.table].append(piece.ids)
        chosen = [
            (name, np.concatenate(part or [np.empty(0, np.int64)]))
            for name, part in zip(source.tables, parts, strict=True)
        ]
    for name, counts in chosen:
        total = float(counts.sum(dtype=np.float64))
        if not 0 < total < _MAX_TOTAL:
            raise TraceError(f"{path}: column {name!r}: the counts add to {total:.0f}")
    return chosen


def notes_on_counts(
    path: str | Path, columns: Sequence[str] = (), header: Header = "auto"
) -> tuple[str, ...]:
    """What `read_counts` guesses about the file, from its beginning. Raises `TraceError`."""
    layout = _layout(Path(path), header)
    if layout is None:
        return tuple(open_source(path, columns=tuple(columns), header=header).notes)
    return layout.notes


def _layout(path: Path, header: Header) -> Layout | None:
    """The layout of a text of counts; None for other files."""
    name = inner_name(path)
    if not name.endswith((".csv", ".tsv")):
        return None
    return layout_of(path, "\t" if name.endswith(".tsv") else ",", header, "counts")


def _read_text(layout: Layout, columns: tuple[str, ...], header: Header) -> list[tuple[str, Ids]]:
    if "" in layout.names and not columns:
        raise TraceError(
            f"{layout.path}: column {layout.names.index('') + 1} has no name (the row numbers of a "
            "data frame?): choose columns of counts by their names"
        )
    if header == "auto" and not layout.header and counts_columns(layout.sample[0]):
        raise TraceError(
            f"{layout.path}: line 1 counts the columns ({', '.join(layout.sample[0])}): say with "
            "header: yes or no whether these are their names"
        )
    numbers = layout.chosen(columns) if columns else list(range(len(layout.names)))
    values: list[list[int]] = [[] for _ in numbers]
    for line, fields in layout.lines():
        row = max(map(len, values))
        for number, column in zip(numbers, values, strict=True):
            if fields[number] == "":
                continue
            where, name = f"{layout.path}: line {line}", f"(column {layout.names[number]!r})"
            if len(column) != row:
                raise TraceError(f"{where}: a count after the end of its column {name}")
            if fields[number].startswith("-"):
                raise TraceError(f"{where}: {fields[number]!r} is not a count from 0 {name}")
            column.append(number_of(fields[number], where, "count", name))
    return [(layout.names[n], np.array(v, np.int64)) for n, v in zip(numbers, values, strict=True)]
