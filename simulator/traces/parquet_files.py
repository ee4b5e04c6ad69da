"""Parquet: an integer column a table; a list column holds bags (jagged pooling).

What the file marks as the index of a data frame, what accompanies another column and what cannot be
ids is left out (`companions`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from simulator.errors import TraceError
from simulator.streams import arrow_file
from simulator.text import few
from simulator.traces.boundary import reading
from simulator.traces.companions import assign
from simulator.traces.pieces import Column, Piece, integers

__all__ = ["ParquetSource", "write_parquet"]

_ROWS = 1 << 17
_KIND = "Parquet file"


class ParquetSource:
    """A Parquet file, read in batches of rows."""

    notes: tuple[str, ...] = ()

    def __init__(self, path: Path, columns: tuple[str, ...] = ()) -> None:
        self.path = path
        with reading(path, _KIND), arrow_file(path) as source, pq.ParquetFile(source) as file:
            schema = file.schema_arrow
            names, types, metadata = schema.names, schema.types, schema.metadata
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise TraceError(f"{path}: several columns are named {few(twice)}: rename them")
        nested = [n for n, t in zip(names, types, strict=True) if _is_nested(t)]
        if nested and not columns:
            raise TraceError(
                f"{path}: lists of lists are no bags of ids: {few(nested)}; flatten them, or "
                "choose other columns by name"
            )
        unfit = {name: _unfit(kind) for name, kind in zip(names, types, strict=True)}
        tables, self.notes = assign(path, unfit, columns, _index_columns(metadata), rows=True)
        self.tables = tuple(table.name for table in tables)
        self._values = [table.values for table in tables]

    def pieces(self) -> Iterator[Piece]:
        """The tables take turns."""
        row, done = 0, [0] * len(self.tables)
        for batch in self._batches():
            for table, name in enumerate(self._values):
                piece = self._piece(table, batch.column(name), row, done[table])
                done[table] += len(piece.ids)
                yield piece
            row += batch.num_rows

    def columns(self) -> None:
        """Encoded columns cannot be mapped."""

    def _batches(self) -> Iterator[pa.RecordBatch]:
        with (
            reading(self.path, _KIND),
            arrow_file(self.path) as source,
            pq.ParquetFile(source) as file,
        ):
            yield from file.iter_batches(_ROWS, columns=list(self._values))

    def _piece(self, table: int, array: Any, row: int, done: int) -> Piece:
        """`row`: number of the first row; `done`: lookups of the table before it."""
        where = f"{self.path}: column {self._values[table]!r}"
        lengths = None
        if array.null_count:
            raise TraceError(f"{where}: no value at record {row + _first_null(array)}")
        if _is_list(array.type):
            lengths = array.value_lengths().to_numpy(zero_copy_only=False).astype(np.int64)
            array = array.flatten()
            if array.null_count:
                bag = int(np.searchsorted(np.cumsum(lengths), _first_null(array), side="right"))
                raise TraceError(f"{where}: no value in the list at record {row + bag}")
        if pa.types.is_dictionary(array.type):
            array = array.dictionary_decode()
        return Piece(table, integers(array.to_numpy(zero_copy_only=False), where), lengths)


def _is_list(kind: Any) -> bool:
    types = pa.types
    return bool(
        types.is_list(kind)
        or types.is_large_list(kind)
        or types.is_fixed_size_list(kind)
        or types.is_list_view(kind)
        or types.is_large_list_view(kind)
    )


def _is_nested(kind: Any) -> bool:
    depth = 0
    while _is_list(kind):
        kind, depth = kind.value_type, depth + 1
    return depth > 1 and not _unfit(kind)


def _unfit(kind: Any) -> str:
    inner = kind.value_type if _is_list(kind) else kind
    if pa.types.is_dictionary(inner):
        inner = inner.value_type
    return "" if pa.types.is_integer(inner) else f"{kind} values"


def _first_null(array: Any) -> int:
    return int(np.argmax(array.is_null().to_numpy(zero_copy_only=False)))


def _index_columns(metadata: dict[bytes, bytes] | None) -> tuple[str, ...]:
    """The columns that pandas wrote as the index of a frame, by its own metadata."""
    try:
        index = json.loads((metadata or {}).get(b"pandas", b"{}"))["index_columns"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return ()  # not written by pandas
    return tuple(name for name in index if isinstance(name, str)) if type(index) is list else ()


def write_parquet(path: Path, columns: list[Column]) -> None:
    """Write tables of equally many bags (or ids), jagged ones as lists, in row groups."""
    fields = [
        pa.field(c.name, pa.int64() if c.offsets is None else pa.list_(pa.int64()), nullable=False)
        for c in columns
    ]
    schema = pa.schema(fields)
    rows = {len(c.ids) if c.offsets is None else len(c.offsets) - 1 for c in columns}
    with path.open("wb") as file, pq.ParquetWriter(file, schema) as writer:
        for start in range(0, rows.pop(), _ROWS):
            arrays = [_array(c, start, start + _ROWS) for c in columns]
            writer.write_batch(pa.record_batch(arrays, schema=schema))


def _array(column: Column, start: int, stop: int) -> Any:
    if column.offsets is None:
        return pa.array(np.asarray(column.ids[start:stop], np.int64))
    offsets = np.asarray(column.offsets[start : stop + 1], np.int64)
    values = np.asarray(column.ids[offsets[0] : offsets[-1]], np.int64)
    return pa.ListArray.from_arrays(pa.array((offsets - offsets[0]).astype(np.int32)), values)
