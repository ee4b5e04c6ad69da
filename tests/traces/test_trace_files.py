"""Trace files: every format comes back as it was written, and every bad file is named."""

import errno
import gzip
import io
import struct
import zipfile

import numpy as np
import pytest

from simulator._mix import mixed
from simulator.errors import OutputError, TraceError, UsageError
from simulator.traces import read_ids, stream_ids
from simulator.traces.files import open_source
from simulator.traces.hashed_files import hash_categories
from simulator.traces.oracle_files import RECORD
from simulator.traces.pieces import Column, checked, load
from simulator.traces.writing import spooled, write_columns

IDS = np.array([5, 0, 7, 7, 3, 0], np.int64)
MORE = np.array([1, 1, 2, 3, 5, 8], np.int64)
OFFSETS = np.array([0, 2, 2, 6], np.int64)


def written(path, columns, **options):
    format = {"oracleGeneral": "oracle"}.get(path.suffix[1:], path.suffix[1:])
    write_columns(path, format, columns, **options)
    return path


@pytest.mark.parametrize(
    "name", ["a.npy", "a.npz", "a.parquet", "a.csv", "a.tsv", "a.oracleGeneral"]
)
def test_one_table_round_trip(tmp_path, name):
    path = written(tmp_path / name, [Column("x", IDS)])
    assert read_ids(path).tolist() == IDS.tolist()
    assert read_ids(path).dtype == np.int64
    assert np.concatenate(list(stream_ids(path))).tolist() == IDS.tolist()
    assert [p.name for p in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", ["a.npz", "a.parquet", "a.csv", "a.tsv"])
def test_several_tables_round_trip_and_can_be_chosen(tmp_path, name):
    path = written(tmp_path / name, [Column("x", IDS), Column("y", MORE)])
    both = load(open_source(path))
    assert [(c.name, c.ids.tolist()) for c in both] == [("x", IDS.tolist()), ("y", MORE.tolist())]
    assert read_ids(path, column="y").tolist() == MORE.tolist()
    assert [c.name for c in load(open_source(path, columns=("y", "x")))] == ["y", "x"]
    with pytest.raises(TraceError, match="has 2 tables; name one of x, y"):
        read_ids(path)
    with pytest.raises(TraceError, match=r"no (array or )?column z; it has x, y"):
        read_ids(path, column="z")


@pytest.mark.parametrize("name", ["a.npz", "a.parquet"])
def test_bags_round_trip(tmp_path, name):
    columns = [Column("x", IDS, OFFSETS), Column("y", MORE, OFFSETS)]
    for column in load(open_source(written(tmp_path / name, columns))):
        assert column.offsets.tolist() == OFFSETS.tolist()
        assert len(column.ids) == 6


def test_same_ids_give_the_same_bytes(tmp_path):
    for name in ("npz", "parquet", "npy"):
        one = written(tmp_path / f"1.{name}", [Column("x", IDS)]).read_bytes()
        assert one == written(tmp_path / f"2.{name}", [Column("x", IDS)]).read_bytes()


def test_small_integer_types_and_maps(tmp_path):
    np.save(tmp_path / "a.npy", IDS.astype(np.uint8))
    assert read_ids(tmp_path / "a.npy").tolist() == IDS.tolist()
    np.save(tmp_path / "b.npy", IDS)
    mapped = read_ids(tmp_path / "b.npy")
    assert isinstance(mapped.base, np.memmap)
    mapped[0] = 9  # a private copy of the page: the file stays as it is
    assert read_ids(tmp_path / "b.npy")[0] == IDS[0]


def test_long_files_come_in_pieces(tmp_path):
    ids = np.arange(2_500_000, dtype=np.int64) % 1000
    for name in ("a.npy", "a.npz", "a.parquet"):
        path = written(tmp_path / name, [Column("x", ids)])
        chunks = list(stream_ids(path))
        assert len(chunks) > 2
        assert np.array_equal(np.concatenate(chunks), ids)


def test_oracle_records_name_the_next_lookup(tmp_path):
    write_columns(tmp_path / "a.bin", "oracle", [Column("x", IDS)], row_bytes=512)
    records = np.fromfile(tmp_path / "a.bin", RECORD)
    assert records.itemsize == 24
    assert records["next"].tolist() == [-2, 5, 3, -2, -2, -2]
    assert records["size"].tolist() == [512] * 6
    assert records["time"].tolist() == list(range(6))


def test_oracle_next_lookups_cross_chunks(tmp_path, monkeypatch):
    monkeypatch.setattr("simulator.traces.oracle_files.CHUNK", 7)
    ids = np.random.default_rng(1).integers(0, 9, 100)
    write_columns(tmp_path / "a.bin", "oracle", [Column("x", ids)])
    following = np.fromfile(tmp_path / "a.bin", RECORD)["next"]
    for i, x in enumerate(ids):
        later = np.flatnonzero(ids[i + 1 :] == x)
        assert following[i] == (i + 1 + later[0] if len(later) else -2)


def criteo_line(words):
    return "\t".join(["0", *["1"] * 13, *words])


def test_criteo_categories_are_hashed_to_the_stated_sizes(tmp_path):
    path = tmp_path / "day_0.txt"
    words = ["68fd1e64", "", *["05db9164"] * 24]
    path.write_text("\n".join(criteo_line(words) for _ in range(3)) + "\n")
    columns = load(open_source(path, columns=("C1", "C2", "C26"), sizes=(10, 100, 1000)))
    assert [c.ids.tolist() for c in columns] == [
        [mixed(0x68FD1E64 + 1) % 10] * 3,
        [mixed(0) % 100] * 3,
        [mixed(0x05DB9164 + 1) % 1000] * 3,
    ]
    with pytest.raises(TraceError, match="3 tables need as many sizes, 0 are given"):
        open_source(path, columns=("C1", "C2", "C26"))
    assert set(hash_categories(np.arange(2000, dtype=np.uint64), 50).tolist()) == set(range(50))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (criteo_line(["xyz"] * 26), "line 1: 'xyz' is not a hexadecimal"),
        ("1\t2\n", "line 1: 2 fields, Criteo's layout has 40"),
        ("", "holds no ids"),
    ],
)
def test_bad_criteo(tmp_path, text, message):
    path = tmp_path / "a.criteo"
    path.write_text(text)
    with pytest.raises(TraceError, match=message):
        load(open_source(path, sizes=(9,) * 26))


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "x,y\n1,2\n3\n", "line 3: 1 fields, expected 2"),
        ("a.csv", "x\n1\n-2\n", "id -2 at record 1 is negative"),
        ("a.csv", "x\n1.5\n", "line 2: '1.5' is not an id"),
        ("a.csv", "x\n", "holds no ids"),
        ("a.csv", "", "holds no ids"),
        ("a.csv", "x,x\n1,2\n", "two columns have one name"),
        ("a.tsv", 'x\n"1\n', "cannot be read as text"),
        ("a.csv", "x\n99999999999999999999\n", r"line 2: id 9+ is above 2\*\*64 - 1"),
    ],
)
def test_bad_text(tmp_path, name, text, message):
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(TraceError, match=message) as caught:
        read_ids(path, column="x")
    assert str(path) in str(caught.value)


def npy_bytes(array, **options):
    file = io.BytesIO()
    np.save(file, array, **options)
    return file.getvalue()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not a whole .npy"),
        (b"\x93NUMPY", "not a whole .npy"),
        (b"garbage that is long enough", "not a whole .npy"),
        (npy_bytes(np.array([1.0, 2.0])), "float64 values, ids must be integers"),
        (npy_bytes(np.zeros((2, 2, 3), int)), r"shape \(2, 2, 3\), expected .*save .* an .npz"),
        (npy_bytes(np.array(3)), r"shape \(\), expected"),
        (npy_bytes(np.zeros((0, 3), int)), r"holds no ids \(shape \(0, 3\)\)"),
        (npy_bytes(np.zeros(0, int)), "holds no ids"),
        (npy_bytes(np.array([True])), "bool values"),
        (npy_bytes(np.arange(100))[:-9], "truncated: 100 ids need 800 bytes"),
        (npy_bytes(np.array([4, 2, -1, -5])), "id -1 at record 2 is negative"),
        (npy_bytes(np.array([1, 2**63], np.uint64)), "at record 1 is above"),
        (npy_bytes(np.array([print], object), allow_pickle=True), "never unpickled"),
    ],
)
def test_bad_npy(tmp_path, data, message):
    path = tmp_path / "a.npy"
    path.write_bytes(data)
    with pytest.raises(TraceError, match=message) as caught:
        read_ids(path)
    assert str(path) in str(caught.value)


def npz_bytes(**members):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in members.items():
            archive.writestr(name + ".npy", data)
    return file.getvalue()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not a whole .npz"),
        (npz_bytes(), "no table of ids: it is empty"),
        (npz_bytes(x=b"zz"), "'x': not a whole .npy"),
        (npz_bytes(x=npy_bytes(np.arange(9))[:-1]), "truncated"),
        (npz_bytes(x=npy_bytes(np.array([None]), allow_pickle=True)), "never unpickled"),
        (npz_bytes(x=npy_bytes(IDS), x_offsets=npy_bytes(np.array([1, 6]))), "start at 0"),
        (npz_bytes(x=npy_bytes(IDS), x_offsets=npy_bytes(np.array([0, 4, 2]))), "never fall"),
        (npz_bytes(x=npy_bytes(IDS), x_offsets=npy_bytes(np.array([0, 9]))), "add to 9, but"),
    ],
)
def test_bad_npz(tmp_path, data, message):
    path = tmp_path / "a.npz"
    path.write_bytes(data)
    with pytest.raises(TraceError, match=message):
        read_ids(path)


def test_damaged_npz_and_parquet(tmp_path):
    for name in ("a.npz", "a.parquet"):
        path = written(tmp_path / name, [Column("x", np.arange(5000))])
        data = bytearray(path.read_bytes())
        path.write_bytes(data[: len(data) // 2])
        with pytest.raises(TraceError, match="not a whole"):
            read_ids(path)
    path = tmp_path / "b.npz"
    np.savez_compressed(path, x=np.arange(5000))
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(TraceError, match=r"damaged|not a whole"):
        read_ids(path)


def test_parquet_refuses_floats_and_missing_values(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"x": [1, None, 3]}), tmp_path / "a.parquet")
    with pytest.raises(TraceError, match="no value at record 1"):
        read_ids(tmp_path / "a.parquet")
    pq.write_table(pa.table({"x": [1.0]}), tmp_path / "b.parquet")
    with pytest.raises(TraceError, match="double values"):
        read_ids(tmp_path / "b.parquet")


def test_oracle_with_a_cut_record(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(struct.pack("<IQIq", 0, 1, 1, -2) + b"cut")
    with pytest.raises(TraceError, match="record 1 is cut"):
        read_ids(path)
    path.write_bytes(b"")
    with pytest.raises(TraceError, match="holds no records"):
        read_ids(path)


def test_names_that_tell_nothing_and_files_that_are_not_there(tmp_path):
    (tmp_path / "a.what").write_bytes(bytes(range(24)))
    with pytest.raises(TraceError, match="the name tells no format"):
        read_ids(tmp_path / "a.what")
    for name in ("b.what", "a.npy", "a.npz", "a.csv", "a.parquet", "a.pt", "a.bin", "a.txt"):
        with pytest.raises(TraceError, match=r"No such file|cannot be read"):
            load(open_source(tmp_path / name, sizes=(3,) * 26))
    (tmp_path / "folder").mkdir()
    with pytest.raises(TraceError, match="holds no files"):
        read_ids(tmp_path / "folder", format="npy")


def test_ids_outside_of_their_table_are_named(tmp_path):
    path = written(tmp_path / "a.npy", [Column("x", IDS)])
    with pytest.raises(TraceError, match="id 7 at record 2 is outside of a table of 7 rows"):
        list(checked(open_source(path), (7,)))


def test_formats_that_cannot_hold_the_tables_are_refused(tmp_path):
    two, bags = [Column("x", IDS), Column("y", MORE)], [Column("x", IDS, OFFSETS)]
    with pytest.raises(UsageError, match="holds one table, there are 2"):
        written(tmp_path / "a.npy", two)
    with pytest.raises(UsageError, match="--flatten"):
        written(tmp_path / "a.csv", bags)
    with pytest.raises(UsageError, match="cannot be written"):
        write_columns(tmp_path / "a.pt", "meta", two)
    assert read_ids(written(tmp_path / "a.csv", bags, flatten=True)).tolist() == IDS.tolist()
    assert [p.name for p in tmp_path.iterdir()] == ["a.csv"]


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    path = written(tmp_path / "a.npy", [Column("x", IDS)])

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("simulator.traces.writing._write_npy", full)
    with pytest.raises(OutputError, match="the disk is full"):
        written(path, [Column("x", MORE)])
    assert read_ids(path).tolist() == IDS.tolist()
    assert [p.name for p in tmp_path.iterdir()] == ["a.npy"]


def test_folders_that_are_not_there(tmp_path):
    with (
        pytest.raises(OutputError, match="cannot be written"),
        spooled([], ["x"], tmp_path / "no" / "a.npy"),
    ):
        pass


def test_gzip_that_is_no_tensor_file(tmp_path):
    path = tmp_path / "a.pt.gz"
    path.write_bytes(gzip.compress(b"hello"))
    with pytest.raises(TraceError, match="tensor"):
        load(open_source(path))
    path.write_bytes(gzip.compress(b"hello" * 99)[:20])
    with pytest.raises(TraceError, match="tensor"):
        load(open_source(path))
