"""Parquet: an integer column a table; a list column holds bags (jagged pooling)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from simulator.errors import TraceError
from simulator.traces.pieces import Column, Piece, integers

__all__ = ["ParquetSource", "write_parquet"]

_ROWS = 1 << 17


class ParquetSource:
    """A Parquet file, read in batches of rows."""

    notes: tuple[str, ...] = ()

    def __init__(self, path: Path, columns: tuple[str, ...] = ()) -> None:
        self.path = path
        try:
            with pq.ParquetFile(path) as file:
                names = tuple(file.schema_arrow.names)
        except pa.ArrowException as error:
            raise TraceError(f"{path}: not a whole Parquet file ({error})") from None
        missing = [name for name in columns if name not in names]
        if missing:
            raise TraceError(f"{path}: no column {', '.join(missing)}; it has {', '.join(names)}")
        if len(set(names)) != len(names) or not names:
            raise TraceError(f"{path}: needs columns of different names")
        self.tables = columns or names

    def pieces(self) -> Iterator[Piece]:
        """The tables take turns."""
        start = 0
        try:
            with pq.ParquetFile(self.path) as file:
                for batch in file.iter_batches(_ROWS, columns=list(self.tables)):
                    for table, name in enumerate(self.tables):
                        yield self._piece(table, batch.column(name), start)
                    start += batch.num_rows
        except (pa.ArrowException, OSError) as error:
            raise TraceError(f"{self.path}: damaged after row {start} ({error})") from None

    def columns(self) -> None:
        """Encoded columns cannot be mapped."""

    def _piece(self, table: int, array: Any, start: int) -> Piece:
        where = f"{self.path}: column {self.tables[table]!r}"
        lengths = None
        self._no_nulls(array, where, start)
        if pa.types.is_list(array.type) or pa.types.is_large_list(array.type):
            lengths = array.value_lengths().to_numpy(zero_copy_only=False).astype(np.int64)
            array = array.flatten()
            self._no_nulls(array, where, start)
        if not pa.types.is_integer(array.type):
            raise TraceError(f"{where}: {array.type} values, ids must be integers")
        return Piece(table, integers(array.to_numpy(zero_copy_only=False), where), lengths)

    @staticmethod
    def _no_nulls(array: Any, where: str, start: int) -> None:
        if array.null_count:
            first = int(np.argmax(array.is_null().to_numpy(zero_copy_only=False)))
            raise TraceError(f"{where}: no value at record {start + first}")


def write_parquet(path: Path, columns: list[Column]) -> None:
    """Write tables of equally many bags (or ids), jagged ones as lists, in row groups."""
    fields = [
        pa.field(c.name, pa.int64() if c.offsets is None else pa.list_(pa.int64()), nullable=False)
        for c in columns
    ]
    schema = pa.schema(fields)
    rows = {len(c.ids) if c.offsets is None else len(c.offsets) - 1 for c in columns}
    if len(rows) != 1:
        raise TraceError(f"{path}: Parquet needs tables of equally many lookups or bags")
    with pq.ParquetWriter(path, schema) as writer:
        for start in range(0, rows.pop(), _ROWS):
            arrays = [_array(c, start, start + _ROWS) for c in columns]
            writer.write_batch(pa.record_batch(arrays, schema=schema))


def _array(column: Column, start: int, stop: int) -> Any:
    if column.offsets is None:
        return pa.array(np.asarray(column.ids[start:stop], np.int64))
    offsets = np.asarray(column.offsets[start : stop + 1], np.int64)
    values = np.asarray(column.ids[offsets[0] : offsets[-1]], np.int64)
    return pa.ListArray.from_arrays(pa.array((offsets - offsets[0]).astype(np.int32)), values)
