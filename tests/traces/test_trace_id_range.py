"""Which ids exist: 0 to 2**63 - 1 as they are, to 2**64 - 1 where they are folded into a table; in
every format, with the same words above and below."""

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from simulator._mix import mixed
from simulator.cli import main
from simulator.config.trace import FileTraceConfig
from simulator.errors import TraceError
from simulator.traces import open_trace, read_ids
from simulator.traces.files import open_source
from simulator.traces.oracle_files import RECORD
from simulator.traces.pieces import Column, checked
from simulator.traces.writing import spooled, write_columns

GOOD = [0, 2**31, 2**32, 2**53 + 1, 10**18, 2**63 - 1]
FORMATS = ("npy", "npz", "parquet", "csv", "tsv", "oracle", "meta")


def written(tmp_path, format, values, dtype):
    """A file of ids that other programs could have written."""
    path = tmp_path / f"ids.{'pt' if format == 'meta' else format}"
    array = np.array(values, dtype)
    if format == "npy":
        np.save(path, array)
    elif format == "npz":
        np.savez(path, x=array)
    elif format == "parquet":
        pq.write_table(pa.table({"x": array}), path)
    elif format == "oracle":
        records = np.zeros(len(array), RECORD)
        records["object"], records["size"], records["next"] = array.view(np.uint64), 1, -2
        path.write_bytes(records.tobytes())
    elif format == "meta":
        torch = pytest.importorskip("torch")
        ids = torch.from_numpy(array)
        lengths = torch.full((1, 1), len(array))
        torch.save((ids, torch.tensor([0, len(array)]), lengths), path)
    else:
        path.write_text("x\n" + "".join(f"{value}\n" for value in values))
    return path


@pytest.mark.parametrize("format", FORMATS)
def test_all_ids_of_63_bits_are_read(tmp_path, format):
    path = written(tmp_path, format, GOOD, np.int64)
    assert read_ids(path, format=format).tolist() == GOOD


@pytest.mark.parametrize("to", ["npy", "npz", "parquet", "csv", "tsv", "oracle"])
def test_all_ids_of_63_bits_come_back(tmp_path, to):
    source = open_source(written(tmp_path, "npy", GOOD, np.int64))
    target = tmp_path / "copy"
    with spooled(checked(source), source.tables, target) as columns:
        write_columns(target, to, [Column("x", columns[0].ids)])
    assert read_ids(target, format=to).tolist() == GOOD


@pytest.mark.parametrize("format", ["npy", "npz", "parquet", "csv", "tsv", "oracle", "meta"])
@pytest.mark.parametrize("value", [2**63, 2**64 - 1])
def test_ids_above_are_refused_in_the_same_words(tmp_path, format, value):
    path = written(tmp_path, format, [7, value, 3], np.uint64)
    with pytest.raises(TraceError, match=rf"id {value} .*is above 2\*\*63 - 1") as caught:
        read_ids(path, format=format)
    assert str(path) in str(caught.value)
    assert "record 1" in str(caught.value)
    assert "trace.ids in an experiment" in str(caught.value)


@pytest.mark.parametrize("format", ["npy", "npz", "parquet", "csv", "tsv", "meta"])
def test_ids_below_are_refused_in_the_same_words(tmp_path, format):
    path = written(tmp_path, format, [7, -1, 3], np.int64)
    with pytest.raises(TraceError, match="id -1 at record 1 is negative"):
        read_ids(path, format=format)


ROWS = 40
RULES: dict[str, Callable[[list[int]], list[int]]] = {
    "modulo": lambda ids: [i % ROWS for i in ids],
    "hash": lambda ids: [mixed(i) % ROWS for i in ids],
    "renumber": lambda ids: [list(dict.fromkeys(ids)).index(i) for i in ids],
}
WORDS = st.integers(0, 2**64 - 1) | st.sampled_from([0, 2**63 - 1, 2**63, 2**64 - 1])


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("format", [*FORMATS, "lists"])
@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(ids=st.lists(WORDS, min_size=2, max_size=30))
@example(ids=[2**64 - 1, 0, 2**63, 2**63 - 1, 2**64 - 1])
@example(ids=[1, 2, 3, 2**63 + 5])
def test_ids_of_64_bits_become_the_rows_that_their_values_say(
    tmp_path, monkeypatch, format, rule, ids
):
    for module in ("numpy_files", "npz_files", "oracle_files", "text_files", "pieces", "replay"):
        monkeypatch.setattr(f"simulator.traces.{module}.CHUNK", 3, raising=False)
    if format == "lists":
        path = tmp_path / "lists.parquet"
        bags = pa.array([[i] for i in ids], pa.list_(pa.uint64()))
        pq.write_table(pa.table({"x": bags}), path)
    else:
        path = written(tmp_path, format, ids, np.uint64)
    said = "oracle" if format == "oracle" else "auto"  # whose name has another ending
    config = FileTraceConfig(path=str(path), ids=rule, format=said)
    trace = open_trace(config, rows=(ROWS,), lookups=(1,), batch_size=1, seed=0)
    assert trace.batches == (1 if format == "meta" else len(ids))
    rows = [int(i) for n in range(trace.batches or 0) for i in trace.minibatch(n).ids[0]]
    assert rows == RULES[rule](ids)


@pytest.mark.parametrize("format", [f for f in FORMATS if f != "oracle"])
@pytest.mark.parametrize("rule", RULES)
def test_converted_ids_of_64_bits_are_rows(tmp_path, format, rule):
    ids = [2**64 - 1, 5, 2**63, 5, 2**64 - 1]
    path = written(tmp_path, format, ids, np.uint64)
    with pytest.raises(SystemExit) as ended:
        main(
            [
                "trace",
                "convert",
                str(path),
                f"{tmp_path}/a.npy",
                "--ids",
                rule,
                "--rows",
                "40",
                "--flatten",
            ]
        )
    assert not ended.value.code
    assert np.load(tmp_path / "a.npy").ravel().tolist() == RULES[rule](ids)


BOTH = {"a": [2**64 - 1, 7, 2**63], "b": [7, 2**63 - 1, 5]}
MIXED = [i for pair in zip(*BOTH.values(), strict=True) for i in pair]
"""Lookups of the table that both columns feed, sample by sample."""


def two_columns(tmp_path, format):
    """Columns of one table, one of them with ids of 64 bits and one without."""
    path = tmp_path / f"both.{format}"
    arrays = {"a": np.array(BOTH["a"], np.uint64), "b": np.array(BOTH["b"], np.int64)}
    if format == "npz":
        np.savez(path, **arrays)
    elif format == "parquet":
        pq.write_table(pa.table(arrays), path)
    else:
        path.write_text(
            "a,b\n" + "".join(f"{a},{b}\n" for a, b in zip(*BOTH.values(), strict=True))
        )
    return path


@pytest.mark.parametrize("format", ["npz", "parquet", "csv"])
@pytest.mark.parametrize("rule", RULES)
def test_ids_of_64_bits_of_columns_that_share_a_table_become_its_rows(tmp_path, format, rule):
    path = two_columns(tmp_path, format)
    tables = {"a": "t", "b": "t"}
    config = FileTraceConfig(path=str(path), ids=rule, tables=tables)
    trace = open_trace(config, rows=(ROWS,), lookups=((1, 1),), batch_size=1, seed=0)
    rows = [int(i) for n in range(3) for i in trace.minibatch(n).ids[0]]
    numbered = [*BOTH["a"], *BOTH["b"]]  # in the order of the columns
    expected = dict(zip(numbered, RULES[rule](numbered), strict=True))
    assert rows == [expected[i] for i in MIXED]
    asked = ["--table", "a=t", "--table", "b=t", "--ids", rule, "--rows", str(ROWS)]
    with pytest.raises(SystemExit) as ended:
        main(["trace", "convert", str(path), f"{tmp_path}/out.npz", *asked])
    assert not ended.value.code
    with np.load(tmp_path / "out.npz") as archive:
        written = {name: archive[name].ravel().tolist() for name in BOTH}
    assert written == {name: [expected[i] for i in ids] for name, ids in BOTH.items()}


@pytest.mark.parametrize("format", ["npz", "parquet", "csv"])
def test_ids_of_64_bits_of_columns_that_share_a_table_are_no_rows_as_they_are(tmp_path, format):
    path = two_columns(tmp_path, format)
    config = FileTraceConfig(path=str(path), tables={"a": "t", "b": "t"})
    with pytest.raises(TraceError, match=rf"'a'.* id {2**64 - 1} at record 0 .*modulo, hash or"):
        open_trace(config, rows=(ROWS,), lookups=((1, 1),), batch_size=1, seed=0)


@pytest.mark.parametrize(
    "verb",
    [
        ("trace", "describe", "--table", "a=t", "--table", "b=t"),
        ("trace", "validate", "--table", "a=t", "--table", "b=t"),
        ("replay", "--policy=lru", "--capacity=2", "--table=a=t", "--table=b=t", "--trace"),
    ],
)
def test_verbs_that_take_ids_as_they_are_refuse_those_of_a_shared_table(tmp_path, verb, capsys):
    path = two_columns(tmp_path, "npz")
    with pytest.raises(SystemExit) as ended:
        main([*verb, str(path)])
    assert ended.value.code == 2
    told = " ".join(capsys.readouterr().err.split())
    assert f"id {2**64 - 1} at record 0 is above 2**63 - 1" in told


@pytest.mark.parametrize(
    "verb",
    [
        ("trace", "validate"),
        ("trace", "describe"),
        ("trace", "convert", "OUT"),
        ("replay", "--policy", "lru", "--capacity", "2", "--trace"),
    ],
)
def test_where_ids_are_taken_as_they_are_the_remedy_is_named(tmp_path, verb, capsys):
    path = written(tmp_path, "npy", [1, 2**63], np.uint64)
    words = [str(path), str(tmp_path / "out.npz")] if "OUT" in verb else [str(path)]
    with pytest.raises(SystemExit) as ended:
        main([*(word for word in verb if word != "OUT"), *words])
    assert ended.value.code == 2
    told = " ".join(capsys.readouterr().err.split())
    assert f"{path}: table" in told
    assert "modulo, hash or renumber" in told


def test_text_of_more_than_64_bits_names_the_format_that_takes_it(tmp_path):
    path = written(tmp_path, "csv", [1, 2**64], object)
    with pytest.raises(TraceError, match=r"line 3: id 18446744073709551616 is above 2\*\*64 - 1"):
        read_ids(path)
    config = FileTraceConfig(path=str(path), format="words")
    trace = open_trace(config, rows=(ROWS,), lookups=(1,), batch_size=1, seed=0)
    assert trace.batches == 2


def test_a_negative_id_beside_one_of_64_bits_is_the_one_that_is_told(tmp_path):
    path = written(tmp_path, "csv", [2**64 - 1, -1], object)
    config = FileTraceConfig(path=str(path), ids="hash")
    with pytest.raises(TraceError, match="line 3: id -1 is negative"):
        open_trace(config, rows=(ROWS,), lookups=(1,), batch_size=1, seed=0)


@pytest.mark.parametrize("cuts", [{"x_offsets": [0, 2**63]}, {"x_lengths": [1, 2**63]}])
def test_bags_of_64_bits_are_refused(tmp_path, cuts):
    arrays = {name: np.array(values, np.uint64) for name, values in cuts.items()}
    np.savez(tmp_path / "a.npz", x=[1, 2, 3], **arrays)
    with pytest.raises(TraceError, match=r"a.npz: array .* is above 2\*\*63 - 1"):
        list(checked(open_source(tmp_path / "a.npz")))
