"""How a trace is opened: packed, marked, in parts, from a pipe, and against a wrong name."""

import bz2
import gzip
import io
import lzma
import os
import threading
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from simulator.errors import TraceError, UsageError
from simulator.streams import open_text, read_text, spooled_input
from simulator.traces import read_ids, stream_ids
from simulator.traces.counts import read_counts
from simulator.traces.curves import read_popularity
from simulator.traces.files import open_source
from simulator.traces.pieces import Column, load
from simulator.traces.writing import write_columns

IDS = np.array([5, 0, 7, 7, 3, 0] * 500, np.int64)
TEXT = b"x\n" + b"\n".join(b"%d" % x for x in IDS) + b"\n"


def arrow(codec):
    def pack(data):
        sink = pa.BufferOutputStream()
        with pa.CompressedOutputStream(sink, codec) as stream:
            stream.write(data)
        return sink.getvalue().to_pybytes()

    return pack


def zipped(data, *names):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names or ("ids",):
            archive.writestr(name, data)
    return file.getvalue()


PACKERS = {
    "gz": gzip.compress,
    "zst": arrow("zstd"),
    "lz4": arrow("lz4"),
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zip": zipped,
}


def oracle_bytes(tmp_path):
    write_columns(tmp_path / "plain", "oracle", [Column("x", IDS)])
    return (tmp_path / "plain").read_bytes()


@pytest.mark.parametrize("ending", PACKERS)
def test_packed_traces_are_opened_in_place(tmp_path, ending):
    pack = PACKERS[ending]
    for inner, data in (("csv", TEXT), ("tsv", TEXT), ("oracleGeneral", oracle_bytes(tmp_path))):
        path = tmp_path / f"ids.{inner}.{ending}"
        path.write_bytes(pack(data))
        assert read_ids(path).tolist() == IDS.tolist()
        assert open_source(path).columns() is None
        under_another_name = path.rename(tmp_path / f"ids.{inner}")
        assert np.concatenate(list(stream_ids(under_another_name))).tolist() == IDS.tolist()


@pytest.mark.parametrize("ending", ["gz", "zst"])
def test_every_text_reader_opens_packed_files(tmp_path, ending):
    pack = PACKERS[ending]
    criteo = tmp_path / f"day_0.{ending}"
    criteo.write_bytes(pack("\t".join(["0"] * 14 + ["0a"] * 26).encode() + b"\n"))
    assert len(load(open_source(criteo, sizes=(9,)))) == 26
    counts = tmp_path / f"counts.csv.{ending}"
    counts.write_bytes(pack(b"a,b\n3,4\n1,\n"))
    assert [(n, c.tolist()) for n, c in read_counts(counts)] == [("a", [3, 1]), ("b", [4])]
    curve = tmp_path / f"curves.{ending}"
    lines = b"dataset,n_ids,n_accesses,rank,cumulative_share\nd,4,8,1,0.5\nd,4,8,4,1\n"
    curve.write_bytes(pack(lines))
    assert read_popularity("d", str(curve)).share.tolist() == [0.5, 1.0]


def test_frames_and_members_behind_each_other_are_one_stream(tmp_path):
    for name, pack in (("a.csv.gz", gzip.compress), ("a.csv.zst", arrow("zstd"))):
        (tmp_path / name).write_bytes(pack(b"x\n1\n") + pack(b"2\n"))
        assert read_ids(tmp_path / name).tolist() == [1, 2]


@pytest.mark.parametrize("ending", ["gz", "zst", "lz4", "bz2", "xz", "zip"])
@pytest.mark.parametrize("inner", ["csv", "oracleGeneral"])
def test_a_cut_archive_is_named(tmp_path, inner, ending):
    noise = np.random.default_rng(1).integers(0, 10**9, 60_000)
    write_columns(tmp_path / "plain", "csv" if inner == "csv" else "oracle", [Column("x", noise)])
    packed = PACKERS[ending]((tmp_path / "plain").read_bytes())
    path = tmp_path / f"a.{inner}.{ending}"
    for length in (len(packed) - 9, len(packed) // 2, 30):
        path.write_bytes(packed[:length])
        with pytest.raises(TraceError, match=r"a\..*cannot be read|zip archive without arrays"):
            read_ids(path)


def test_damage_inside_an_archive_is_named(tmp_path):
    packed = bytearray(gzip.compress(b"x\n" + b"123456789\n" * 9 + os.urandom(64).hex().encode()))
    packed[-6] ^= 0xFF  # the check sum
    (tmp_path / "a.csv.gz").write_bytes(packed)
    with pytest.raises(TraceError, match=r"a\.csv\.gz: cannot be read.*CRC"):
        read_ids(tmp_path / "a.csv.gz")


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.npy.gz", gzip.compress(b"\x93NUMPY...", mtime=0), "this is gzip: unpack it first"),
        ("a.parquet.zst", arrow("zstd")(b"PAR1..."), "this is Zstandard: unpack it first"),
        ("a.csv.7z", b"7z\xbc\xaf\x27\x1c..", "this is 7-Zip: unpack it first"),
        ("a.csv", b"Rar!\x1a\x07\x00", "this is RAR: unpack it first"),
        ("a.tar", b"a.csv".ljust(257, b"\0") + b"ustar\0", "this is tar: unpack it first"),
        ("a.zip", zipped(b"1\n", "a", "b"), "zip archive of 2 files"),
        ("a.csv", b"\x89HDF\r\n\x1a\n", "this is HDF5"),
        ("a.csv", b'{"id": 1}\n', "this is JSON"),
        ("a.feather", b"ARROW1\0\0", "Arrow"),
        ("a.csv", bytes(range(48)), "holds binary data, which is not csv"),
        ("a.bin", b"1,2\n3,4\n", "holds text, which is not oracle"),
        ("a.what", bytes(range(48)), "the name tells no format; formats that are read: npy, "),
        ("a.txt", b"", "the file is empty"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",  # archives hold the time
)
def test_what_cannot_be_read_is_called_by_its_name(tmp_path, name, data, message):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(TraceError, match=message) as caught:
        open_source(tmp_path / name)
    assert str(tmp_path / name) in str(caught.value)


def test_content_is_read_under_a_wrong_name_and_said(tmp_path):
    np.save(tmp_path / "a.npy", IDS)
    np.savez(tmp_path / "b.npz", x=IDS)
    pq.write_table(pa.table({"x": IDS}), tmp_path / "c.parquet")
    for name, format in (("a.npy", "npy"), ("b.npz", "npz"), ("c.parquet", "parquet")):
        for ending in (".csv", ".bin", ".npy", ".what", ".txt"):
            path = (tmp_path / name).with_name(f"copy{ending}")
            path.write_bytes((tmp_path / name).read_bytes())
            assert read_ids(path).tolist() == IDS.tolist()
            note = f"read as {format}, which its first bytes say"
            assert (note in open_source(path).notes) == (ending != f".{format}")
            for wrong in {"csv", "oracle", "npz", "criteo"} - {format}:
                with pytest.raises(TraceError, match=f"first bytes say {format}, not {wrong}"):
                    open_source(path, format=wrong, sizes=(5,) * 26)


def test_text_is_no_binary_format_and_the_other_way_round(tmp_path):
    (tmp_path / "a.csv").write_bytes(TEXT)
    for format in ("npy", "npz", "parquet", "meta", "oracle"):
        with pytest.raises(TraceError, match=r"not a whole|which is not oracle"):
            read_ids(tmp_path / "a.csv", format=format)
    (tmp_path / "a.bin").write_bytes(oracle_bytes(tmp_path))
    for format in ("csv", "tsv", "words", "criteo"):
        with pytest.raises(TraceError, match=f"binary data, which is not {format}"):
            open_source(tmp_path / "a.bin", format=format, sizes=(5,))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_a_byte_order_mark_is_no_text(tmp_path, encoding):
    mark = "\ufeff" if encoding in ("utf-16-le", "utf-16-be") else ""
    for name, text in (("plain.csv", "4,5\n1,2\n"), ("named.csv", "user,item\n4,5\n1,2\n")):
        path = tmp_path / name
        path.write_bytes((mark + text).encode(encoding))
        assert [c.ids.tolist() for c in load(open_source(path))] == [[4, 1], [5, 2]]
        assert [c.tolist() for _, c in read_counts(path)] == [[4, 1], [5, 2]]
    assert read_ids(tmp_path / "named.csv", column="user").tolist() == [4, 1]
    (tmp_path / "named.csv").write_bytes(gzip.compress((mark + text).encode(encoding)))
    assert read_ids(tmp_path / "named.csv", column="user").tolist() == [4, 1]


def test_curves_and_measured_tables_may_begin_with_a_mark(tmp_path):
    from simulator.calibration.tables import FILES, read_rows

    lines = "dataset,n_ids,n_accesses,rank,cumulative_share\nd,4,8,1,0.5\nd,4,8,4,1\n"
    (tmp_path / "curves.csv").write_text(lines, encoding="utf-8-sig")
    assert read_popularity("d", str(tmp_path / "curves.csv")).ids == 4
    name, columns = next(iter(FILES.items()))
    table = ",".join(columns) + "\n" + ",".join("1" for _ in columns) + "\n"
    (tmp_path / name).write_text(table, encoding="utf-8-sig")
    assert read_rows(tmp_path, name) == [dict.fromkeys(columns, "1")]
    (tmp_path / name).write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="cannot be read as text"):
        read_rows(tmp_path, name)


def test_text_that_is_none_is_named(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes("größe\n1\n".encode("latin-1"))
    with pytest.raises(TraceError, match=r"a\.csv: cannot be read as text"):
        read_ids(path)
    path.write_bytes(b"x\n" + b"1\n" * 40_000 + b"\xff\n")
    with pytest.raises(TraceError, match=r"cannot be read as text after line \d+"):
        read_ids(path)
    with pytest.raises(UsageError, match="No such file"):
        read_text(tmp_path / "none", UsageError)


def test_text_keeps_its_line_ends(tmp_path):
    (tmp_path / "a").write_bytes(b"1\r\n2\r3")
    with open_text(tmp_path / "a") as file:
        assert file.read() == "1\r\n2\r3"


def test_a_folder_of_parts_is_one_trace_in_natural_order(tmp_path):
    folder = tmp_path / "logs"
    folder.mkdir()
    for number in (10, 2, 0, 1):
        text = f"user,item\n{number},7\n".encode()
        (folder / f"part-{number}.csv.gz").write_bytes(gzip.compress(text))
    for mark in ("_SUCCESS", "_metadata", ".part-0.csv.gz.crc"):
        (folder / mark).write_bytes(b"")
    source = open_source(folder)
    assert [(c.name, c.ids.tolist()) for c in load(source)] == [
        ("user", [0, 1, 2, 10]),
        ("item", [7] * 4),
    ]
    assert source.notes == ("4 files are read as one trace",)
    assert read_ids(folder, column="user").tolist() == [0, 1, 2, 10]
    files = [folder / "part-2.csv.gz", folder / "part-0.csv.gz"]
    assert load(open_source(files))[0].ids.tolist() == [2, 0]
    assert load(open_source([files[0]]))[0].ids.tolist() == [2]


def test_parts_of_arrays_and_bags(tmp_path):
    (tmp_path / "npy").mkdir()
    (tmp_path / "npz").mkdir()
    for number in range(2):
        np.save(tmp_path / "npy" / f"{number}.npy", IDS + number)
        np.savez(tmp_path / "npz" / f"{number}.npz", x=np.arange(3), x_offsets=[0, 1, 3])
    assert read_ids(tmp_path / "npy").tolist() == [*IDS, *(IDS + 1)]
    (bags,) = load(open_source(tmp_path / "npz"))
    assert bags.offsets.tolist() == [0, 1, 3, 4, 6]


def test_parts_that_do_not_fit_are_named(tmp_path):
    (tmp_path / "a.csv").write_text("user\n1\n")
    (tmp_path / "b.csv").write_text("item\n1\n")
    with pytest.raises(TraceError, match=r"a\.csv has user; b\.csv has item"):
        open_source(tmp_path)
    (tmp_path / "more").mkdir()
    with pytest.raises(TraceError, match=r"holds folders \(more\)"):
        open_source(tmp_path)
    with pytest.raises(TraceError, match="holds no files"):
        open_source(tmp_path / "more")


def test_a_pipe_is_kept_so_that_it_can_be_read_twice(tmp_path):
    pipe = tmp_path / "pipe.csv"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(TEXT,))
    writer.start()
    assert read_ids(pipe).tolist() == IDS.tolist()
    writer.join()
    assert read_ids(pipe).tolist() == IDS.tolist()
    assert spooled_input(tmp_path) == tmp_path


def test_standard_input_needs_a_format(tmp_path):
    with pytest.raises(TraceError, match="standard input has no name: say its format"):
        open_source("-")
