"""The Parquet files of a run: the columns of the data dictionary with their units and meanings."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO

from simulator.results.dictionary import TIMELINE, Column
from simulator.results.spans import SpanColumns

if TYPE_CHECKING:
    import pyarrow as pa

    from simulator.results.record import PointResult

__all__ = ["ROW_GROUP", "parquet_bytes", "schema_of", "write_timeline"]

ROW_GROUP = 1 << 20
"""Rows of `timeline.parquet` in memory at a time: about 60 MB."""
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
    """By way of JSON: pyarrow makes arrays of Python's values only with pandas loaded, and that
    takes longer than all there is to write."""
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

    waiting = schema.empty_table()
    for point in points:
        for spans in point.timeline.columns():
            waiting = pa.concat_tables([waiting, _spans_table(schema, point, spans)])
            while waiting.num_rows >= ROW_GROUP:
                yield waiting.slice(0, ROW_GROUP).combine_chunks()
                waiting = waiting.slice(ROW_GROUP)
    if waiting.num_rows:
        yield waiting.combine_chunks()


def _spans_table(schema: pa.Schema, point: PointResult, spans: SpanColumns) -> pa.Table:
    import pyarrow as pa

    count = len(spans)

    def numbers(name: str) -> pa.Array:
        return pa.Array.from_buffers(
            pa.int64(), count, [None, pa.py_buffer(getattr(spans, name))], null_count=0
        )

    names = pa.concat_arrays([pa.repeat(pa.scalar(stage), 1) for stage in spans.stages])
    columns = {name: pa.repeat(pa.scalar(point.metrics[name]), count) for name in _OF_THE_POINT}
    columns |= {name: numbers(name) for name in ("batch", "start_ps", "end_ps")}
    columns["stage"] = names.take(numbers("stage"))
    return pa.Table.from_arrays([columns[name] for name in schema.names], schema=schema)


_OF_THE_POINT = ("point", "label")
