"""Files as bytes and as text, whatever they are packed in: every reader opens here.

Compression is told by the first bytes of a file, never by its name: gzip, Zstandard, bzip2, xz,
LZ4 frames and zip archives of one file are unpacked while they are read; other archives are
refused by name. Text is UTF-8 with or without a byte order mark, or UTF-16 with one.

What reading can throw (broken archives, bytes that are no text, a disk's refusals) is many
classes; `refusing` makes one of them, with the file's name.
"""

from __future__ import annotations

import atexit
import bz2
import codecs
import csv
import gzip
import io
import lzma
import shutil
import sys
import tempfile
import weakref
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import IO, Any, cast

from simulator.errors import ScratchPipeError, TraceError

__all__ = [
    "HEAD",
    "arrow_file",
    "encoding_of",
    "first_bytes",
    "inner_name",
    "open_bytes",
    "open_text",
    "packing",
    "packing_of",
    "read_share",
    "read_text",
    "refusing",
    "spooled_input",
]

HEAD = 1 << 16
"""Bytes that are looked at to tell what a file holds."""

_ENDINGS = (".gz", ".zst", ".zstd", ".bz2", ".xz", ".lz4", ".zip")
_MARKS = (
    (b"\x1f\x8b\x08", "gzip"),
    (b"\x28\xb5\x2f\xfd", "Zstandard"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"\x04\x22\x4d\x18", "LZ4"),
    (b"7z\xbc\xaf\x27\x1c", "7-Zip"),
    (b"Rar!\x1a\x07", "RAR"),
    (b"\x1f\x9d", "compress (.Z)"),
)
_CLOSED = ("7-Zip", "RAR", "compress (.Z)", "tar")
_OF_ARRAYS = (".npy", "/data.pkl")  # zip archives that are formats of their own: .npz, .pt
_BROKEN = (
    EOFError,
    zlib.error,
    lzma.LZMAError,
    zipfile.BadZipFile,
    NotImplementedError,  # a zip member packed in a way that zipfile does not know
    OverflowError,
    MemoryError,
)


@contextmanager
def refusing(
    path: Path, failure: type[ScratchPipeError] = TraceError, after: Callable[[], str] = str
) -> Iterator[None]:
    """What opening and reading `path` can throw, as `failure` with the file and plain words.

    `after`: what was read before it went wrong ("line 7"), asked only then.
    """

    def failed(doing: str, reason: str) -> ScratchPipeError:
        place = f" after {after()}" if after() else ""
        return failure(f"{path}: cannot be {doing}{place}: {reason}")

    try:
        yield
    except UnicodeDecodeError as error:
        byte, code = error.object[error.start], error.encoding.upper()
        reason = f"byte 0x{byte:02x} is no {code}: save the file as UTF-8"
        raise failed("read as text", reason) from None
    except (UnicodeError, csv.Error) as error:
        raise failed("read as text", str(error)) from None
    except OSError as error:
        raise failed("read", error.strerror or str(error)) from None
    except _BROKEN as error:
        raise failed("read", str(error) or type(error).__name__) from None


def inner_name(path: Path) -> str:
    """The name of `path` in small letters, without an ending that tells of compression."""
    name = path.name.lower()
    for ending in _ENDINGS:
        if name.endswith(ending):
            return name.removesuffix(ending)
    return name


def packing(path: Path) -> str:
    """What `path` is packed in by its first bytes ("gzip", "Zstandard", ...), "" if in nothing.

    Raises `OSError` where the file cannot be opened.
    """
    with path.open("rb") as file:
        head = file.read(512)
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _zip_packing(path)
    return packing_of(head)


def packing_of(head: bytes) -> str:
    """What a stream that begins with `head` is packed in, zip archives apart; "" if in nothing."""
    for mark, name in _MARKS:
        if head.startswith(mark):
            return name
    if head[1:4] == b"\x2a\x4d\x18" and 0x50 <= head[0] <= 0x5F:  # a frame to be skipped
        return "Zstandard"
    if head.startswith(b"BZh") and head[4:10] in (b"1AY&SY", b"\x17rE8P\x90"):
        return "bzip2"
    if head[257:262] == b"ustar":
        return "tar"
    return ""


def _zip_packing(path: Path) -> str:
    """ "zip", unless the archive is a format of its own or is damaged (its reader says how)."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except zipfile.BadZipFile:
        return ""
    return "" if not names or any(name.endswith(_OF_ARRAYS) for name in names) else "zip"


def open_bytes(path: Path) -> IO[bytes]:
    """`path`, unpacked, to read forward.

    Raises `TraceError` for archives that are not opened in place and `OSError` where there is no
    such file; reading raises what `refusing` knows.
    """
    name = packing(path)
    if name in _CLOSED:
        raise TraceError(f"{path}: this is {name}: unpack it first")
    if name == "gzip":
        return _noted(cast(IO[bytes], gzip.open(path)), path)
    if name == "bzip2":
        return cast(IO[bytes], bz2.open(path))
    if name == "xz":
        return cast(IO[bytes], lzma.open(path))
    if name == "zip":
        return _only_member(path)
    if name:
        return io.BufferedReader(_Arrow(path, {"Zstandard": "zstd", "LZ4": "lz4"}[name]), HEAD)
    return _noted(path.open("rb"), path)


_reading: list[tuple[weakref.ref[Any], int]] = []
"""The file that was opened last, and its bytes as they lie on disk."""


def _noted(file: IO[bytes], path: Path) -> IO[bytes]:
    _reading[:] = [(weakref.ref(file), path.stat().st_size)]
    return file


def read_share() -> float:
    """The share of the file that was opened last which is read; 0 where that is not known."""
    for reference, size in _reading:
        file = reference()
        raw = getattr(file, "fileobj", file)
        if raw is not None and not raw.closed and size:
            return float(min(1.0, raw.tell() / size))
    return 0.0


def _only_member(path: Path) -> IO[bytes]:
    with zipfile.ZipFile(path) as archive:
        members = [info for info in archive.infolist() if not _is_beside(info.filename)]
        if len(members) != 1:
            raise TraceError(f"{path}: this is a zip archive of {len(members)} files: unpack it")
        if members[0].flag_bits & 1:
            raise TraceError(f"{path}: this is a zip archive with a password: unpack it first")
        return archive.open(members[0])


def _is_beside(name: str) -> bool:
    """Whether a member of an archive is a folder, or what macOS keeps beside each file."""
    return name.endswith("/") or name.startswith("__MACOSX/")


def arrow_file(path: Path) -> Any:
    """`path`, opened for Arrow, which itself knows only names that are UTF-8."""
    import pyarrow as pa  # slow to import

    try:
        return pa.OSFile(str(path).encode())
    except UnicodeEncodeError:
        return pa.PythonFile(path.open("rb"), "r")


class _Arrow(io.RawIOBase):
    """A stream that Arrow unpacks, as Python's own readers want it."""

    def __init__(self, path: Path, codec: str) -> None:
        import pyarrow as pa  # slow to import

        self._file = arrow_file(path)
        self._stream = pa.CompressedInputStream(self._file, codec)

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill `buffer`; the number of bytes, 0 at the end."""
        data = self._stream.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        """Close the file too."""
        if not self.closed:
            self._stream.close()
            self._file.close()
        super().close()


def open_text(path: Path) -> IO[str]:
    """`path`, unpacked, as text with its line ends; a byte order mark is no part of the text."""
    with open_bytes(path) as file:
        encoding = encoding_of(file.read(4))
    return io.TextIOWrapper(open_bytes(path), encoding=encoding, newline="")


def encoding_of(head: bytes) -> str:
    """The encoding of a text by its byte order mark; UTF-8 without one."""
    if head.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        return "utf-32"
    wide = head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return "utf-16" if wide else "utf-8-sig"


def read_text(path: Path, failure: type[ScratchPipeError] = TraceError) -> str:
    """All of a text file; `failure` where it cannot be read."""
    with refusing(path, failure), open_text(path) as file:
        return file.read()


def first_bytes(path: Path) -> bytes:
    """Up to `HEAD` bytes of the unpacked file; `TraceError` where there are none to be had."""
    with refusing(path), open_bytes(path) as file:
        return file.read(HEAD)


def spooled_input(path: Path) -> Path:
    """A file that can be read twice: `path`, or a copy of what comes in where that is a pipe.

    `-` is standard input. The copy lies in a temporary folder until the process ends.
    """
    if str(path) != "-" and not path.is_fifo():
        return path
    return _spooled(path)


@cache
def _spooled(path: Path) -> Path:
    folder = tempfile.mkdtemp(prefix="scratchpipe-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    copy = Path(folder) / ("standard input" if str(path) == "-" else path.name)
    with refusing(path), copy.open("wb") as file:
        if str(path) == "-":
            shutil.copyfileobj(sys.stdin.buffer, file)
        else:
            with path.open("rb") as pipe:
                shutil.copyfileobj(pipe, file)
    return copy
