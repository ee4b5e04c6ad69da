"""The Parquet files of a run: the columns of the data dictionary with their units and meanings.

Nothing here hands pyarrow a value of Python's: it would load pandas to look at it, which takes
longer than all there is to write.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import numpy.typing as npt

from simulator.results.dictionary import TIMELINE, Column
from simulator.results.spans import SpanColumns

if TYPE_CHECKING:
    import pyarrow as pa

    from simulator.results.record import PointResult

__all__ = ["ROW_GROUP", "parquet_bytes", "schema_of", "write_timeline"]

ROW_GROUP = 1 << 18
"""Rows of `timeline.parquet` that are written at a time: about 100 MB with copies and encoders."""
_LEAST_BLOCK = 1 << 20


def schema_of(columns: Sequence[Column]) -> pa.Schema:
    """Names and types of the columns of a Parquet file, with their units and meanings."""
    import pyarrow as pa

    return pa.schema([_field(column) for column in columns])


def _field(column: Column) -> pa.Field:
    import pyarrow as pa

    types = {"text": pa.string(), "int": pa.int64(), "float": pa.float64(), "bool": pa.bool_()}
    about = {"unit": column.unit, "meaning": column.meaning}
    return pa.field(column.name, types[column.dtype], metadata=about)


def parquet_bytes(columns: Sequence[Column], rows: Sequence[Mapping[str, Any]]) -> bytes:
    """A Parquet file of `rows`."""
    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    pq.write_table(_table(schema_of(columns), rows), buffer)
    return buffer.getvalue()


def _table(schema: pa.Schema, rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """`rows` by way of JSON."""
    import pyarrow as pa
    from pyarrow.json import ParseOptions, ReadOptions, read_json

    if not rows:
        return schema.empty_table()
    names = schema.names
    lines = [json.dumps({name: row[name] for name in names}, allow_nan=False) for row in rows]
    text = "\n".join([*lines, ""]).encode()
    read = read_json(
        io.BytesIO(text),
        ReadOptions(use_threads=False, block_size=max(_LEAST_BLOCK, len(text))),
        ParseOptions(explicit_schema=schema),
    )
    return pa.Table.from_arrays([read.column(name) for name in names], schema=schema)


def write_timeline(stream: BinaryIO, points: Iterable[PointResult]) -> None:
    """Write the spans of `points` to `stream`; `ROW_GROUP` rows stand in memory at a time."""
    from pyarrow.parquet import ParquetWriter

    schema = schema_of(TIMELINE)
    with ParquetWriter(stream, schema) as writer:
        for table in _row_groups(schema, points):
            writer.write_table(table, ROW_GROUP)


def _row_groups(schema: pa.Schema, points: Iterable[PointResult]) -> Iterator[pa.Table]:
    """Tables of `ROW_GROUP` rows, then one of those that are left."""
    import pyarrow as pa

    waiting: list[pa.Table] = []
    rows = 0
    for point in points:
        for spans in point.timeline.columns():
            waiting.append(_spans_table(schema, point, spans))
            rows += len(spans)
            while rows >= ROW_GROUP:
                joined = pa.concat_tables(waiting)
                yield joined.slice(0, ROW_GROUP).combine_chunks()
                waiting = [joined.slice(ROW_GROUP)]
                rows -= ROW_GROUP
    if rows:
        yield pa.concat_tables(waiting).combine_chunks()


def _spans_table(schema: pa.Schema, point: PointResult, spans: SpanColumns) -> pa.Table:
    import pyarrow as pa

    columns = {name: _numbers(getattr(spans, name)) for name in ("batch", "start_ps", "end_ps")}
    columns["stage"] = _texts(spans.stages).take(_numbers(spans.stage))
    same = _numbers(np.zeros(len(spans), np.int64))
    columns |= {name: _texts([point.metrics[name]]).take(same) for name in ("point", "label")}
    return pa.Table.from_arrays([columns[name] for name in schema.names], schema=schema)


def _numbers(values: npt.NDArray[np.int64]) -> pa.Array:
    import pyarrow as pa

    return pa.Array.from_buffers(pa.int64(), len(values), [None, pa.py_buffer(values)])


def _texts(values: Sequence[str]) -> pa.Array:
    import pyarrow as pa

    encoded = [value.encode() for value in values]
    edges = np.cumsum([0, *map(len, encoded)], dtype=np.int32)
    buffers = [None, pa.py_buffer(edges), pa.py_buffer(b"".join(encoded))]
    return pa.Array.from_buffers(pa.string(), len(encoded), buffers)
