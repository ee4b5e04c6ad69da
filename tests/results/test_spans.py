"""Spans are packed and unpacked a group at a time, and written a row group at a time."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.results import parquet, spans
from simulator.results.dictionary import DEVICES, TIMELINE
from simulator.results.parquet import parquet_bytes, schema_of, write_timeline
from simulator.results.record import PointResult
from simulator.results.spans import Spans, StageSpan

numbers = st.integers(0, 2**63 - 1)
lists = st.lists(
    st.builds(StageSpan, st.sampled_from(["plan", "train", "übung"]), numbers, numbers, numbers),
    max_size=40,
)


def made(count: int) -> Iterator[StageSpan]:
    """Spans of a pipeline of two stages."""
    for number in range(count):
        batch, stage = divmod(number, 2)
        start = 7_000_003 * number
        yield StageSpan(("plan", "train")[stage], batch, start, start + 5_000_000 + 13 * batch)


def points(*timelines: Spans) -> list[PointResult]:
    """As many of a result as its timeline takes."""
    named = [
        SimpleNamespace(metrics={"point": f"p{k}", "label": "scratchpipe"}, timeline=timeline)
        for k, timeline in enumerate(timelines)
    ]
    return cast(list[PointResult], named)


def written(of: list[PointResult]) -> bytes:
    stream = io.BytesIO()
    write_timeline(stream, of)
    return stream.getvalue()


@given(lists)
def test_spans_come_back_as_they_were(listed: list[StageSpan]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spans, "GROUP", 7)
        packed = Spans(listed)
        groups = [len(columns) for columns in packed.columns()]
    assert groups[:-1] == [7] * (len(groups) - 1)
    again = Spans.unpacked(json.loads(json.dumps(packed.packed())))
    for each in (packed, again):
        assert list(each) == listed
        assert each == listed
        assert len(each) == len(listed)
        assert each[2:30:3] == tuple(listed[2:30:3])
        assert each[::-1] == tuple(listed[::-1])
        assert [each[k] for k in range(-len(listed), len(listed))] == listed * 2
    assert packed != [*listed, StageSpan("plan", 0, 0, 0)]


def test_an_index_behind_the_last_span_is_refused() -> None:
    with pytest.raises(IndexError):
        Spans(made(3))[3]


@pytest.mark.parametrize(
    "change",
    [{"spans": 4}, {"groups": ["eA=="]}, {"groups": ["?"]}, {"groups": [3]}],
)
def test_what_was_not_packed_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError)):
        Spans.unpacked(Spans(made(3)).packed() | change)


def test_memory_holds_one_group_of_spans_beside_the_packed_ones() -> None:
    Spans(made(10))  # what numpy and zlib load once
    count = 20 * spans.GROUP
    tracemalloc.start()
    try:
        packed = Spans(made(count))
        kept, peak = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        assert sum(1 for _ in packed) == count
        reading = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    objects = 600 * spans.GROUP  # a span as an object, as a tuple, and its numbers
    assert kept < 16 * count
    assert peak - kept < objects
    assert reading - kept < objects


def test_a_timeline_is_written_a_row_group_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spans, "GROUP", 30)
    monkeypatch.setattr(parquet, "ROW_GROUP", 64)
    held: list[int] = []
    write = pq.ParquetWriter.write_table

    def watched(self: pq.ParquetWriter, table: pa.Table, *rest: Any) -> None:
        held.append(table.num_rows)
        write(self, table, *rest)

    monkeypatch.setattr(pq.ParquetWriter, "write_table", watched)
    of = points(Spans(made(100)), Spans(), Spans(made(70)))
    data = written(of)
    assert held == [64, 64, 42]
    file = pq.ParquetFile(io.BytesIO(data))
    assert [file.metadata.row_group(k).num_rows for k in range(3)] == held
    rows = file.read().to_pylist()
    assert [row["point"] for row in rows] == ["p0"] * 100 + ["p2"] * 70
    listed = [StageSpan(r["stage"], r["batch"], r["start_ps"], r["end_ps"]) for r in rows]
    assert listed == [*made(100), *made(70)]


def test_groups_give_the_bytes_of_a_table_as_a_whole() -> None:
    of = points(Spans(made(3 * spans.GROUP + 5)), Spans(made(9)))
    schema = schema_of(TIMELINE)
    listed = [(point.metrics, span) for point in of for span in point.timeline]
    columns = {
        name: [
            metrics[name] if name in ("point", "label") else getattr(span, name)
            for metrics, span in listed
        ]
        for name in schema.names
    }
    whole = io.BytesIO()
    arrays = [pa.array(columns[field.name], field.type) for field in schema]
    pq.write_table(pa.Table.from_arrays(arrays, schema=schema), whole)
    assert written(of) == whole.getvalue()


def test_rows_are_written_as_they_are() -> None:
    empty: dict[str, Any] = dict.fromkeys(column.name for column in DEVICES)
    rows = [
        empty | {"resource": "2026-01-01\n\u0000 é \U0001f600", "bytes": 0.1 + 0.2},
        empty | {"resource": "", "bytes": 5e-324, "busy_us": float(2**53 + 2)},
        empty | {"resource": "x" * (3 << 20), "bytes": -1.7976931348623157e308},
    ]
    schema = schema_of(DEVICES)
    arrays = [pa.array([row[field.name] for row in rows], field.type) for field in schema]
    whole = io.BytesIO()
    pq.write_table(pa.Table.from_arrays(arrays, schema=schema), whole)
    assert parquet_bytes(DEVICES, rows) == whole.getvalue()
    assert pq.read_table(io.BytesIO(parquet_bytes(DEVICES, []))).schema.names == schema.names


def test_numbers_of_numpy_are_packed_too() -> None:
    of_numpy = StageSpan("plan", *(cast(int, np.int64(k)) for k in (1, 2, 3)))
    assert Spans([of_numpy]) == [StageSpan("plan", 1, 2, 3)]


WRITING = """\
import io, sys
from types import SimpleNamespace
from simulator.results.dictionary import DEVICES
from simulator.results.parquet import parquet_bytes, write_timeline
from simulator.results.spans import Spans, StageSpan
spans = Spans([StageSpan("plan", 0, 1, 2)])
point = SimpleNamespace(metrics={"point": "p", "label": "l"}, timeline=spans)
write_timeline(io.BytesIO(), [point])
parquet_bytes(DEVICES, [dict.fromkeys(column.name for column in DEVICES)])
print("pandas" in sys.modules)
"""


def test_writing_a_run_does_not_load_pandas() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WRITING], capture_output=True, text=True, timeout=300, check=True
    )
    assert done.stdout == "False\n"
