"""Binary records without a mark are believed only as far as they do not contradict themselves."""

import numpy as np
import pytest

from simulator.errors import TraceError
from simulator.traces import read_ids
from simulator.traces.files import open_source
from simulator.traces.oracle_files import RECORD
from simulator.traces.pieces import Column, load
from simulator.traces.writing import write_columns

IDS = np.random.default_rng(3).zipf(1.3, 5000) % 900


def records(tmp_path, **fields):
    """A good file, with the given fields in the place of its own."""
    path = tmp_path / "a.bin"
    write_columns(path, "oracle", [Column("x", IDS)])
    found = np.fromfile(path, RECORD)
    for name, change in fields.items():
        change(found[name])
    path.write_bytes(found.tobytes())
    return path


def put(index, value):
    def change(field):
        field[index] = value

    return change


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"time": put(40, 3)}, "record 40 has time 3, after 39"),
        ({"next": put(40, 40)}, "the next lookup of record 40 is said to be 40"),
        ({"next": put(40, -7)}, "record 40 is said to be -7"),
        ({"next": put(40, 41)}, "record 40 is said to be 41, which it is not"),
        ({"next": put(0, -2)}, "record 0 is said to be -2, which it is not"),
        ({"size": put(slice(None), 0)}, "all objects have 0 bytes"),
        ({"size": put(7, 2**32 - 1)}, "record 7 has an object of 4294967295 bytes"),
    ],
)
@pytest.mark.parametrize("format", ["auto", "oracle"])
def test_contradictions_are_named(tmp_path, fields, message, format):
    path = records(tmp_path, **fields)
    if "next" in fields and message.startswith("record 0"):
        assert np.count_nonzero(IDS[0] == IDS) > 1
    with pytest.raises(TraceError, match=f"no oracleGeneral records: .*{message}") as caught:
        open_source(path, format=format)
    assert "--unchecked" in str(caught.value)
    assert load(open_source(path, unchecked=True))[0].ids.tolist() == IDS.tolist()


@pytest.mark.parametrize(
    "array",
    [
        np.random.default_rng(1).integers(0, 1000, (6, 40), np.int32),  # clicks
        np.random.default_rng(1).integers(0, 10**6, 300, np.int64),
        np.random.default_rng(1).integers(0, 2**63, 300, np.int64),
        np.sort(np.random.default_rng(1).integers(0, 2**63, 300, np.int64)),
        np.arange(300, dtype=np.int64),
        np.zeros(300, np.int64),
        np.random.default_rng(1).random(300),
        np.random.default_rng(1).random((30, 6), np.float32),
        np.full(300, -1, np.int32),
    ],
)
def test_other_records_are_no_trace(tmp_path, array):
    (tmp_path / "a.bin").write_bytes(array.tobytes())
    assert (tmp_path / "a.bin").stat().st_size % RECORD.itemsize == 0
    for format in ("auto", "oracle"):
        with pytest.raises(TraceError, match=r"a\.bin: no oracleGeneral records"):
            open_source(tmp_path / "a.bin", format=format)


@pytest.mark.parametrize(
    ("fields", "part"),
    [
        ({}, slice(None)),
        ({}, slice(0, 1700)),  # the beginning of a longer trace
        ({}, slice(1300, None)),  # the end of one: numbers count from its beginning
        ({}, slice(1300, 1800)),
        ({"next": lambda n: put(n > 0, n[n > 0] + 1)(n)}, slice(None)),  # counted from 1
        ({"next": lambda n: put(n < 0, 2**63 - 1)(n)}, slice(None)),
        ({"next": put(slice(None), -1)}, slice(None)),  # the future was not known
        ({"time": put(slice(None), 0)}, slice(None)),
        ({"time": lambda t: put(slice(None), t + np.uint32(2**32 - 99))(t)}, slice(None)),  # wraps
        ({"size": put(slice(1, 9), 0)}, slice(None)),
    ],
)
def test_what_programs_write_is_read(tmp_path, fields, part):
    path = records(tmp_path, **fields)
    np.fromfile(path, RECORD)[part].tofile(path.with_name("b.oracleGeneral"))
    assert read_ids(path.with_name("b.oracleGeneral")).tolist() == IDS[part].tolist()


def test_only_records_without_a_mark_can_be_forced(tmp_path):
    np.save(tmp_path / "a.npy", IDS)
    with pytest.raises(TraceError, match="only oracle files can be taken unchecked; this is npy"):
        open_source(tmp_path / "a.npy", unchecked=True)


def test_later_records_are_checked_while_they_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr("simulator.traces.oracle_files._LOOKED_AT", 100)
    monkeypatch.setattr("simulator.traces.oracle_files.CHUNK", 1000)
    assert read_ids(records(tmp_path)).tolist() == IDS.tolist()
    for fields, message in (
        ({"time": put(1000, 3)}, "record 1000 has time 3, after 999"),
        ({"next": put(4000, 4000)}, "record 4000 is said to be 4000"),
    ):
        path = records(tmp_path, **fields)
        open_source(path)
        with pytest.raises(TraceError, match=message):
            read_ids(path)
