"""What is written is read back equal, or is not written: names, ids, bags and formats at random."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from simulator.errors import UsageError
from simulator.traces.files import open_source
from simulator.traces.pieces import Column, load
from simulator.traces.writing import WRITABLE, write_columns

ODD_NAMES = (
    "0", "1", "25", "-3", "", " ", "a b", " a", "a ", "a,b", "a\tb", 'a"b', "'", "a\nb", "\r",
    "a/b", "/etc/x", "..", "a.npy", "x", "X", "x_offsets", "x_lengths", "x_values", "x_weights",
    "values", "offsets", "lengths", "label", "timestamp", "index", "__index_level_0__",
    "Unnamed: 0", "\ufeff", "\ufeffx", "\x00", "a\x00b", "\ud800", "Größe", "表", "1e5", "#x",
)  # fmt: skip
NAMES = st.one_of(st.sampled_from(ODD_NAMES), st.text(max_size=5), st.from_regex(r"[a-z_]{1,4}"))
IDS = st.one_of(
    st.integers(0, 9),
    st.sampled_from([2**31, 2**32, 2**53 + 1, 10**18 - 1, 2**63 - 1]),
    st.integers(0, 2**63 - 1),
)


@st.composite
def columns(draw):
    """One to three tables of equally many bags, each flat or jagged."""
    names = draw(st.lists(NAMES, min_size=1, max_size=3))
    count = draw(st.integers(1, 5))
    tables = []
    for name in names:
        if draw(st.booleans()):
            lengths = draw(st.lists(st.integers(0, 3), min_size=count, max_size=count))
            offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        else:
            lengths, offsets = [1] * count, None
        ids = draw(st.lists(IDS, min_size=sum(lengths), max_size=sum(lengths)))
        tables.append(Column(name, np.array(ids, np.int64), offsets))
    return tables


def as_lists(tables, named):
    return [
        (t.name if named else "", t.ids.tolist(), None if t.offsets is None else t.offsets.tolist())
        for t in tables
    ]


@given(tables=columns(), format=st.sampled_from(WRITABLE), flatten=st.booleans())
@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])
def test_what_is_written_is_read_back_equal_or_refused(tables, format, flatten):
    named = format not in ("npy", "oracle")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace"
        try:
            write_columns(path, format, tables, flatten=flatten)
        except UsageError:
            assert list(Path(folder).iterdir()) == []
            return
        expected = [Column(t.name, t.ids) for t in tables] if flatten else tables
        assert as_lists(load(open_source(path, format=format)), named) == as_lists(expected, named)


@pytest.mark.parametrize("format", ["npz", "parquet", "csv", "tsv"])
@pytest.mark.parametrize("name", ["user", "a,b", 'a"b', "a b", "Größe", "a/b", "7", "0.5"])
def test_names_that_every_format_holds(tmp_path, format, name):
    tables = [Column(name, np.arange(3)), Column("item", np.arange(3))]
    write_columns(tmp_path / "a", format, tables)
    assert [t.name for t in load(open_source(tmp_path / "a", format=format))] == [name, "item"]


@pytest.mark.parametrize(
    ("format", "names", "message"),
    [
        ("npz", ("x", "x_offsets"), "would not be read back with tables named 'x_offsets'"),
        ("npz", ("x", "x_lengths"), "would not be read back"),
        ("parquet", ("x", "label"), "named 'label'"),
        ("npz", ("a\x00b", "x"), "would not be read back"),
        ("npz", ("x" * 70_000, "y"), "would not be read back"),
        ("parquet", ("\ud800", "x"), "would not be read back"),
        ("csv", ("x", "x"), "several tables are named x: rename them"),
        ("npz", ("x", "x"), "several tables are named x: rename them"),
    ],
)
def test_names_that_would_be_lost_are_refused_with_the_remedy(tmp_path, format, names, message):
    with pytest.raises(UsageError, match=message) as caught:
        write_columns(tmp_path / "a", format, [Column(n, np.arange(3)) for n in names])
    assert "rename them" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("format", WRITABLE)
def test_the_highest_ids_come_back(tmp_path, format):
    ids = np.array([0, 2**31, 2**32, 2**53 + 1, 10**18, 2**63 - 1])
    write_columns(tmp_path / "a", format, [Column("x", ids)])
    assert load(open_source(tmp_path / "a", format=format))[0].ids.tolist() == ids.tolist()


@pytest.mark.parametrize("format", WRITABLE)
def test_nothing_at_all_is_not_written(tmp_path, format):
    with pytest.raises(UsageError, match="no ids and no bags to write"):
        write_columns(tmp_path / "a", format, [Column("x", np.empty(0, np.int64))])
    assert list(tmp_path.iterdir()) == []
