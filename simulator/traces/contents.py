"""What a file holds, by its first bytes: a format with a mark of its own, text, or neither.

A name is a promise; the bytes are what is there. `.npy`, `.npz`, Parquet and tensor files begin
with a mark. Text has none, but a layout can be told from its lines. What has a known mark and is
no trace format (HDF5, Arrow, JSON, ...) is refused by its name.
"""

from __future__ import annotations

import codecs
import re
import zipfile
from itertools import islice
from pathlib import Path
from typing import Literal

from simulator.errors import TraceError
from simulator.streams import first_bytes, open_text, packing_of, refusing

__all__ = ["AVAZU", "MARKED", "Content", "content_of", "head_lines", "text_format"]

Content = Literal["npy", "npz", "parquet", "meta", "zip", "pickle", "text", "binary", "nothing"]

MARKED = ("npy", "npz", "parquet", "meta")
"""Formats whose first bytes are theirs alone."""

_MARKS: tuple[tuple[bytes, Content], ...] = (
    (b"\x93NUMPY", "npy"),
    (b"PAR1", "parquet"),
    (b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19", "meta"),  # torch before 1.6
)
_FOREIGN = (
    (b"\x89HDF\r\n\x1a\n", "HDF5"),
    (b"ARROW1", "an Arrow (Feather) file"),
    (b"FEA1", "a Feather file"),
    (b"ORC", "ORC"),
    (b"Obj\x01", "Avro"),
    (b"SQLite format 3\x00", "an SQLite database"),
    (b"\x89PNG", "a picture"),
    (b"%PDF-", "a PDF"),
    (b"\x7fELF", "a program"),
    (b"{", "JSON"),
    (b"[", "JSON"),
    (b"<", "HTML or XML"),
)
_BYTE_ORDERS = (codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE)
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1f]")
_LINES = 100
_CRITEO_FIELDS = (39, 40)  # without and with the label
_DECIMAL = re.compile(r"0|-?[1-9][0-9]*")
AVAZU = (("id", "click", "hour"), ("id", "hour", "C1"))
"""How the header of Avazu's files begins: those to train on, and that to be judged by."""


def content_of(path: Path) -> Content:
    """What `path` holds, unpacked; `TraceError` for what is known to be no trace."""
    head = first_bytes(path)
    if not head:
        return "nothing"
    for mark, name in _MARKS:
        if head.startswith(mark):
            return name
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _of_zip(path)
    for mark, foreign in _FOREIGN:
        if head.startswith(mark) and not (mark == b"ORC" and not _CONTROL.search(head)):
            raise TraceError(f"{path}: this is {foreign}, which is no trace format")
    if head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return "pickle"
    if head.startswith(_BYTE_ORDERS):
        return "text"
    if inner := packing_of(head):
        raise TraceError(f"{path}: this is {inner} in another packing: unpack it first")
    return "binary" if _CONTROL.search(head) or _is_foreign(head) else "text"


def _is_foreign(head: bytes) -> bool:
    """Whether most bytes are of no text: not UTF-8, and hardly any of another Western code."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)  # the last sign may be cut
    except UnicodeDecodeError:
        return sum(byte > 0x7F for byte in head) > len(head) // 2
    return False


def _of_zip(path: Path) -> Content:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError):
        return "zip"
    if any(name.endswith("/data.pkl") for name in names):
        return "meta"
    return "npz" if names and all(name.endswith(".npy") for name in names) else "zip"


def head_lines(path: Path) -> list[str]:
    """The first hundred lines of text, without line ends; `TraceError` where it is no text."""
    with refusing(path), open_text(path) as file:
        return [line.rstrip("\r\n") for line in islice(file, _LINES)]


def text_format(path: Path) -> Literal["criteo", "words", "tsv", "csv"]:
    """The layout of a text whose name does not tell it."""
    lines = [line for line in head_lines(path) if line]
    rows = [line.split("\t") for line in lines]
    if rows and all(len(row) == len(rows[0]) for row in rows) and _is_criteo(rows):
        return "criteo"
    if lines and tuple(lines[0].split(",")[:3]) in AVAZU:
        return "words"
    return "tsv" if lines and "\t" in lines[0] else "csv"


def _is_criteo(rows: list[list[str]]) -> bool:
    """39 or 40 fields: whole numbers, then 26 words that are not all decimal numbers."""
    if len(rows[0]) not in _CRITEO_FIELDS:
        return False
    words = [field.strip() for row in rows for field in row[-26:]]
    numbers = [field.strip() for row in rows for field in row[:-26]]
    return all(not field or _DECIMAL.fullmatch(field) for field in numbers) and any(
        field and not _DECIMAL.fullmatch(field) for field in words
    )
