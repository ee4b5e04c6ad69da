"""Texts in other encodings and packings than usual: read, or refused with what to do."""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from simulator.config.reader import read_yaml
from simulator.errors import TraceError
from simulator.traces import read_ids

TEXT = "x\n1\n2\n3\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_byte_order_marks_tell_the_encoding(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "a.csv").write_bytes(TEXT.encode(encoding))
    assert read_ids(tmp_path / "a.csv").tolist() == [1, 2, 3]
    (tmp_path / "a.yaml").write_bytes("a: [1, 2]\n".encode(encoding))
    assert read_yaml(tmp_path / "a.yaml").data == {"a": [1, 2]}


def test_another_western_code_is_refused_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes("ü\n1\n".encode("latin-1"))
    with pytest.raises(TraceError, match=r"a\.csv: .*0xfc is no UTF-8: save the file as UTF-8"):
        read_ids(tmp_path / "a.csv")


def test_what_macos_keeps_beside_a_file_of_an_archive_is_passed_over(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.csv.zip", "w") as archive:
        archive.writestr("__MACOSX/._ids.csv", b"\0\5\x16\7")
        archive.writestr("ids.csv", TEXT)
    assert read_ids(tmp_path / "a.csv.zip").tolist() == [1, 2, 3]


def test_a_member_without_a_name_is_no_traceback(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.csv.zip", "w") as archive:
        archive.writestr("i", TEXT)
    data = bytearray((tmp_path / "a.csv.zip").read_bytes())
    start = data.index(b"PK\x01\x02")
    data[start + 28] = 0  # the length of the name, in the directory of the archive
    (tmp_path / "a.csv.zip").write_bytes(data)
    with pytest.raises(TraceError, match=r"a\.csv\.zip: "):
        read_ids(tmp_path / "a.csv.zip")


def _tar() -> bytes:
    sink, data = io.BytesIO(), TEXT.encode()
    with tarfile.open(fileobj=sink, mode="w") as archive:
        member = tarfile.TarInfo("ids.csv")
        member.size = len(data)
        archive.addfile(member, io.BytesIO(data))
    return sink.getvalue()


@pytest.mark.parametrize(("name", "inner"), [("a.csv.gz", "gzip"), ("a.tar.gz", "tar")])
def test_a_packing_within_a_packing_is_named(tmp_path: Path, name: str, inner: str) -> None:
    data = gzip.compress(TEXT.encode()) if inner == "gzip" else _tar()
    (tmp_path / name).write_bytes(gzip.compress(data))
    with pytest.raises(TraceError, match=f"{name}: this is {inner} in another packing: unpack it"):
        read_ids(tmp_path / name)


def test_lists_of_json_are_no_trace(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("[[1, 2], [3, 4]]")
    with pytest.raises(TraceError, match="this is JSON, which is no trace format"):
        read_ids(tmp_path / "a.json")
