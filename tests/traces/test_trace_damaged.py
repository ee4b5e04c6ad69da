"""Files that are damaged, forged or something else: always a `TraceError`, never much memory."""

import io
import pickle
import struct
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from simulator.errors import TraceError
from simulator.traces.files import open_source
from simulator.traces.pieces import load

IDS = np.arange(40) % 7
OFFSETS = np.array([0, 3, 3, 20, 40])


def npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def npz(save=np.savez):
    file = io.BytesIO()
    save(file, x=IDS, x_offsets=OFFSETS, y=np.asfortranarray(IDS.reshape(8, 5)), z=IDS * 1.0)
    return file.getvalue()


def parquet():
    file = io.BytesIO()
    bags = pa.array(np.split(IDS, OFFSETS[1:-1]))
    pq.write_table(pa.table({"x": bags, "y": [1, 2, 3, 4], "z": [1.0] * 4}), file)
    return file.getvalue()


def tensors(zipped):
    file = io.BytesIO()
    value = {"x": torch.tensor(IDS), "x_offsets": torch.tensor(OFFSETS), "w": torch.ones(3)}
    torch.save(value, file, _use_new_zipfile_serialization=zipped)
    return file.getvalue()


VALID = {
    "one.npy": npy(IDS),
    "two.npy": npy(np.asfortranarray(IDS.reshape(8, 5))),
    "stored.npz": npz(),
    "deflated.npz": npz(np.savez_compressed),
    "lists.parquet": parquet(),
    "zip.pt": tensors(True),
    "stream.pt": tensors(False),
}


def mutated(data, rng):
    """One of: a cut, some bytes changed, a slice put elsewhere, a slice taken out or repeated."""
    kind, cut = rng.integers(5), sorted(rng.integers(0, len(data) + 1, 2))
    if kind == 0:
        return data[: cut[0]]
    if kind in (1, 2):
        changed = bytearray(data)
        for _ in range(int(rng.integers(1, 6))):
            value = rng.choice([0, 1, 0x7F, 0x80, 0xFF, int(rng.integers(256))])
            changed[int(rng.integers(len(data)))] = int(value)
        return bytes(changed)
    piece = data[cut[0] : min(cut[1], cut[0] + 64)]
    if kind == 3:
        return data[: cut[0]] + piece + data[cut[0] :]
    return data[: cut[0]] + data[cut[0] + len(piece) :]


@pytest.mark.parametrize("name", VALID)
@pytest.mark.parametrize("seed", range(4))
def test_whatever_is_changed_in_a_file_it_is_read_or_refused(tmp_path, name, seed):
    path, rng = tmp_path / name, np.random.default_rng([seed, len(name)])
    path.write_bytes(VALID[name])
    load(open_source(path))
    refused = 0
    for _ in range(60):
        path.write_bytes(mutated(VALID[name], rng))
        try:
            load(open_source(path))
        except TraceError as error:
            refused += str(path) in str(error)
            continue
        refused += 1
    assert refused == 60


def header(text, version=(1, 0), data=b"\0" * 8):
    text = text.encode("latin1") + b"\n"
    size = struct.pack("<H" if version == (1, 0) else "<I", len(text))
    return b"\x93NUMPY" + bytes(version) + size + text + data


def described(shape="(1,)", descr="'<i8'", fortran="False", **options):
    text = f"{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}}}"
    return header(text, **options)


FORGED = {
    "a token": header("{'descr': '<i8', ("),
    "a call": header("{'descr': print('<i8'), 'fortran_order': False, 'shape': (1,)}"),
    "deep": header("(" * 3000),
    "long": header("{" + " " * 20_000 + "}"),
    "an escape": header(r"{'descr': '\d', 'fortran_order': False, 'shape': (1,)}"),
    "no dictionary": header("[1, 2]"),
    "keys": header("{'descr': '<i8'}"),
    "old": described("(1L,)") + b"",
    "negative": described("(-1,)"),
    "boolean": described("(True,)"),
    "float": described("(1.0,)"),
    "64 dimensions": described(str((1,) * 65)),
    "3 dimensions": described("(1, 1, 1)"),
    "no dimension": described("()"),
    "absurd": described(f"({10**12},)"),
    "absurd columns": described(f"(1, {10**12})"),
    "absurd nothing": described(f"(0, {10**12})"),
    "absurd rows of nothing": described(f"({10**12}, 0)"),
    "beyond": described(f"({10**30}, {10**30})"),
    "fortran": described(fortran="3"),
    "objects": described(descr="'|O'"),
    "records": described(descr="[('user', '<i8'), ('item', '<i8')]"),
    "nested objects": described(descr="[('user', '|O')]"),
    "sub-array": described(descr="('<i8', (3,))"),
    "texts": described(descr="'<U2'"),
    "nothing": described(descr="'|V0'"),
    "times": described(descr="'<M8[us]'"),
    "complex": described(descr="'<c16'"),
    "no type": described(descr="'<q9'"),
    "version 9": described(version=(9, 9)),
    "version 3 and records": described(descr="[('é', '<i8')]", version=(3, 0)),
    "a cut length": b"\x93NUMPY\x02\x00\xff\xff",
    "a long length": b"\x93NUMPY\x02\x00\xff\xff\xff\xff{",
}


@pytest.mark.parametrize("name", FORGED)
def test_forged_headers(tmp_path, name):
    path = tmp_path / "a.npy"
    data = FORGED[name]
    path.write_bytes(data)
    if name == "old":
        assert load(open_source(path))[0].ids.tolist() == [0]  # written by Python 2
    else:
        with pytest.raises(TraceError, match=str(path)):
            load(open_source(path))
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x.npy", data)
    if name not in ("old", "absurd nothing"):
        with pytest.raises(TraceError, match=r"a\.npz"):
            load(open_source(tmp_path / "a.npz"))


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_every_version_of_the_header_is_read(tmp_path, version):
    data = described("(2,)", "'>u2'", version=version, data=b"\1\0\0\2")
    (tmp_path / "a.npy").write_bytes(data)
    assert load(open_source(tmp_path / "a.npy"))[0].ids.tolist() == [256, 2]


def patched(data, mark, offset, value):
    """`data` with `value` written `offset` bytes behind each `mark` (a zip record's signature)."""
    changed, start = bytearray(data), data.find(mark)
    while start >= 0:
        changed[start + offset : start + offset + len(value)] = value
        start = data.find(mark, start + 4)
    return bytes(changed)


CENTRAL, LOCAL, END = b"PK\1\2", b"PK\3\4", b"PK\5\6"
ZIPS = {
    "encrypted": (CENTRAL, 8, b"\1\0"),
    "a method": (CENTRAL, 10, b"\x63\0"),
    "lzma": (CENTRAL, 10, b"\x0e\0"),
    "a version": (CENTRAL, 6, b"\xff\0"),
    "an offset": (CENTRAL, 42, b"\xff\xff\xff\x7f"),
    "zip64": (CENTRAL, 24, b"\xff\xff\xff\xff"),
    "size": (CENTRAL, 24, b"\xf0\xff\xff\x7f"),
    "packed": (CENTRAL, 20, b"\xf0\xff\xff\x7f"),
    "checksum": (CENTRAL, 16, b"\1\2\3\4"),
    "local name": (LOCAL, 30, b"?"),
    "local": (LOCAL, 0, b"????"),
    "directory": (END, 16, b"\xff\xff\xff\x7f"),
    "entries": (END, 8, b"\xff\xff\xff\xff"),
}


@pytest.mark.parametrize("name", ["stored.npz", "deflated.npz", "zip.pt"])
@pytest.mark.parametrize("change", ZIPS)
def test_forged_archives(tmp_path, name, change):
    path = tmp_path / name
    path.write_bytes(patched(VALID[name], *ZIPS[change]))
    try:
        read = load(open_source(path))
    except TraceError:
        return
    assert read[0].ids.tolist() == IDS.tolist()


def archive(tmp_path, *members):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as file:
        for name, data in members:
            file.writestr(name, data)
    return tmp_path / "a.npz"


def test_names_in_an_archive(tmp_path):
    read = load(open_source(archive(tmp_path, ("/etc/x.npy", npy(IDS)), ("note.txt", b"hi"))))
    assert [c.name for c in read] == ["/etc/x"]
    with pytest.raises(TraceError, match="zip archive"):
        open_source(archive(tmp_path, ("note.txt", b"hi"), ("more.txt", b"ho")))
    twice = archive(tmp_path, ("x.npy", npy(IDS)), ("y.npy", npy(IDS)))
    twice.write_bytes(twice.read_bytes().replace(b"y.npy", b"x.npy"))
    with pytest.raises(TraceError, match="two arrays are named 'x'"):
        open_source(twice)


PICKLES = {
    "a memo with holes": b"\x80\x02Nr\xff\xff\xff\x7f.",
    "a class": pickle.dumps(Exception("x"), 2),
    "BUILD": b"\x80\x02]}b.",
    "an extension": b"\x80\x02\x82\x01.",
    "a list of itself": b"\x80\x02]q\0h\0a.",
    "laughs": b"\x80\x02]q\0" + b"".join(b"](h%ch%ceq%c" % (i, i, i + 1) for i in range(60)) + b".",
    "a text": b"\x80\x02X\xff\xff\xff\x7fa.",
    "no end": b"\x80\x02N",
    "an old opcode": b"I1\n.",
}


@pytest.mark.parametrize("name", PICKLES)
def test_forged_pickles(tmp_path, name):
    path = tmp_path / "a.pt"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("a/data.pkl", PICKLES[name])
    with pytest.raises(TraceError, match=str(path)):
        load(open_source(path))
    start = pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2) + pickle.dumps({}, 2)
    path.write_bytes(start + PICKLES[name] + pickle.dumps([], 2))
    with pytest.raises(TraceError, match=str(path)):
        load(open_source(path))


def test_parquet_without_a_whole_footer(tmp_path):
    path, data = tmp_path / "a.parquet", parquet()
    for forged in (b"", b"PAR1", b"PAR1PAR1", data[:-8], data[:-8] + b"\xff\xff\xff\x7fPAR1",
                   data[:-200] + b"\xff" * 192 + data[-8:], b"PAR1" + data[-8:]):  # fmt: skip
        path.write_bytes(forged)
        with pytest.raises(TraceError, match=r"not a whole Parquet file .*: copy or write it"):
            open_source(path)
