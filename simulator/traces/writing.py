"""Write trace files: aside, then renamed, so that nothing half-written is ever found.

Tables of any length go through a spool: plain temporary files of ids (and bag lengths) in the
target's folder, memory-mapped afterwards. So converting needs constant memory, and disk space for
one more copy.

What is written is read back equal: before a file is written, its reader is asked with the names and
the first bags of the tables (`_ask_reader`). What it would take for something else is refused.
"""

from __future__ import annotations

import contextlib
import csv
import io
import os
import re
import struct
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO

import numpy as np

from simulator.errors import TraceError, UsageError
from simulator.files import scratch_beside, staged, unwritable
from simulator.text import few
from simulator.traces.base import Ids
from simulator.traces.files import open_source
from simulator.traces.oracle_files import write_oracle
from simulator.traces.pieces import CHUNK, Column, Piece, load

__all__ = ["WRITABLE", "spooled", "write_columns"]

_NAMED = ("npz", "parquet", "csv", "tsv")
"""Formats that hold the names of tables."""
_ASKED = 2
"""Bags (or ids) of each table in the file that the reader is asked about."""

WRITABLE = ("npy", "npz", "parquet", "csv", "tsv", "oracle")
"""Formats that can be written. Criteo's and Meta's belong to their publishers: read only."""


@contextlib.contextmanager
def spooled(pieces: Iterable[Piece], names: Sequence[str], target: Path) -> Iterator[list[Column]]:
    """The tables that `pieces` add up to, memory-mapped while the context lasts."""
    try:
        folder = tempfile.TemporaryDirectory(dir=scratch_beside(target), prefix=".trace.")
    except OSError as error:
        raise unwritable(target, error) from None
    with folder as name:
        jagged: set[int] = set()
        try:
            with contextlib.ExitStack() as stack:
                files = [
                    [stack.enter_context(open(f"{name}/{kind}{t}", "wb")) for kind in ("i", "l")]
                    for t in range(len(names))
                ]
                for piece in pieces:
                    ids, lengths = files[piece.table]
                    ids.write(np.ascontiguousarray(piece.ids, np.int64).data)
                    if piece.lengths is not None:
                        lengths.write(np.ascontiguousarray(piece.lengths, np.int64).data)
                        jagged.add(piece.table)
            columns = [
                Column(n, _mapped(f"{name}/i{t}"), _offsets(f"{name}/l{t}", t in jagged))
                for t, n in enumerate(names)
            ]
        except OSError as error:
            raise unwritable(target, error) from None
        yield columns


def write_columns(
    path: Path, format: str, columns: list[Column], *, row_bytes: int = 1, flatten: bool = False
) -> None:
    """Write `columns` as one file of `format`.

    `row_bytes`: object size in oracleGeneral records. `flatten`: drop the bags where the format
    cannot hold them. Raises `OutputError` where the file cannot be written, `UsageError` where the
    format cannot hold the tables, or its reader would not read them back as they are.
    """
    if format not in WRITABLE:
        raise UsageError(f"{format} files cannot be written; choose one of {', '.join(WRITABLE)}")
    if flatten:
        columns = [Column(c.name, c.ids) for c in columns]
    _check_fits(path, format, columns)
    with staged(path) as file:
        _ask_reader(path, format, columns)
        _write(file, format, columns, row_bytes)


def _check_fits(path: Path, format: str, columns: list[Column]) -> None:
    if format in ("npy", "oracle") and len(columns) != 1:
        raise UsageError(f"{path}: {format} holds one table, there are {len(columns)}: choose one")
    if format in ("npy", "oracle", "csv", "tsv") and any(c.offsets is not None for c in columns):
        raise UsageError(
            f"{path}: {format} cannot hold bags of different sizes: use npz or parquet, or "
            "--flatten to keep the ids alone"
        )
    lengths = {len(c.ids) for c in columns}
    if format in ("csv", "tsv") and len(lengths) != 1:
        raise UsageError(
            f"{path}: {format} needs tables of equally many ids: use npz, or choose tables with "
            "--column"
        )
    bags = {len(c.ids) if c.offsets is None else len(c.offsets) - 1 for c in columns}
    if format == "parquet" and len(bags) != 1:
        raise UsageError(
            f"{path}: Parquet needs tables of equally many lookups or bags: use npz, or choose "
            "tables with --column"
        )
    if bags == {0}:
        raise UsageError(f"{path}: there are no ids and no bags to write")
    twice = sorted({c.name for c in columns if [d.name for d in columns].count(c.name) > 1})
    if format in _NAMED and twice:
        raise UsageError(f"{path}: several tables are named {few(twice)}: rename them")


def _ask_reader(path: Path, format: str, columns: list[Column]) -> None:
    """Write the names and first bags to a small file and read it; `UsageError` unless equal."""
    asked = [_first_bags(column) for column in columns]
    try:
        with tempfile.TemporaryDirectory() as folder:
            small = Path(folder) / "asked"
            _write(small, format, asked, 1)
            source = open_source(small, format=format)
            read = load(source)
    except (TraceError, ValueError, struct.error) as error:  # names that cannot be encoded
        reason = str(error).removeprefix(f"{small}: ")
        raise _unreadable(path, format, [c.name for c in columns], f" ({reason})") from None
    if format in _NAMED and [c.name for c in read] != [c.name for c in asked]:
        names = {c.name for c in read}
        lost = [c.name for c in asked if c.name not in names] or [c.name for c in asked]
        raise _unreadable(path, format, lost, "")
    for wanted, got in zip(asked, read, strict=True):
        if not _equal(wanted, got):
            raise _unreadable(path, format, [wanted.name], "")


def _unreadable(path: Path, format: str, names: Sequence[str], reason: str) -> UsageError:
    return UsageError(
        f"{path}: {format} would not be read back with tables named "
        f"{few([repr(name) for name in names])}{reason}: rename them (letters, digits and "
        "underscores, no companion's ending), or choose another format or other tables"
    )


def _first_bags(column: Column) -> Column:
    if column.offsets is None:
        return Column(column.name, np.asarray(column.ids[:_ASKED], np.int64))
    offsets = np.asarray(column.offsets[: _ASKED + 1], np.int64)
    return Column(column.name, np.asarray(column.ids[: offsets[-1]], np.int64), offsets)


def _equal(one: Column, other: Column) -> bool:
    pairs = [(one.ids, other.ids)]
    if one.offsets is not None and other.offsets is not None:
        pairs.append((one.offsets, other.offsets))
    elif one.offsets is not other.offsets:
        return False
    return all(np.array_equal(a, b) for a, b in pairs)


def _write(path: Path, format: str, columns: list[Column], row_bytes: int) -> None:
    if format == "parquet":
        from simulator.traces.parquet_files import write_parquet

        write_parquet(path, columns)
        return
    with path.open("wb") as file:
        if format == "npy":
            _write_npy(file, columns[0].ids)
        elif format == "npz":
            _write_npz(file, columns)
        elif format == "oracle":
            write_oracle(file, columns[0].ids, row_bytes)
        else:
            _write_text(file, columns, "\t" if format == "tsv" else ",")
        file.flush()
        os.fsync(file.fileno())


def _write_npz(file: IO[bytes], columns: list[Column]) -> None:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for column in columns:
            _write_member(archive, column.name, column.ids)
            if column.offsets is not None:
                _write_member(archive, column.name + "_offsets", column.offsets)


def _write_member(archive: zipfile.ZipFile, name: str, values: Ids) -> None:
    # a fixed date: the same ids give the same bytes
    info = zipfile.ZipInfo(name + ".npy", date_time=(1980, 1, 1, 0, 0, 0))
    if info.filename != name + ".npy":
        raise ValueError("a zip archive ends names at a zero byte")
    with archive.open(info, "w", force_zip64=True) as member:
        _write_npy(member, values)


def _write_npy(file: IO[bytes], values: Ids) -> None:
    header = {"descr": "<i8", "fortran_order": False, "shape": (len(values),)}
    np.lib.format.write_array_header_1_0(file, header)
    for start in range(0, len(values), CHUNK):
        file.write(np.ascontiguousarray(values[start : start + CHUNK], "<i8").tobytes())


def _write_text(file: IO[bytes], columns: list[Column], delimiter: str) -> None:
    file.write(_header_line([c.name for c in columns], delimiter))
    mark = delimiter.encode()
    for start in range(0, len(columns[0].ids), CHUNK // 8):
        block = [c.ids[start : start + CHUNK // 8].tolist() for c in columns]
        lines = (mark.join(b"%d" % x for x in row) for row in zip(*block, strict=True))
        file.write(b"\n".join(lines) + b"\n")


def _header_line(names: Sequence[str], delimiter: str) -> bytes:
    """The names, all in quotes where one is more than a plain word."""
    plain = all(re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) for name in names)
    line = io.StringIO()
    csv.writer(
        line,
        delimiter=delimiter,
        quoting=csv.QUOTE_MINIMAL if plain else csv.QUOTE_ALL,
        lineterminator="\n",
    ).writerow(names)
    return line.getvalue().encode()


def _mapped(name: str) -> Ids:
    if os.path.getsize(name) == 0:
        return np.empty(0, np.int64)  # an empty file cannot be mapped
    return np.memmap(name, np.int64, "r")


def _offsets(name: str, jagged: bool) -> Ids | None:
    if not jagged:
        return None
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(np.fromfile(name, np.int64))])
