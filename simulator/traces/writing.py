"""Write trace files: aside, then renamed, so that nothing half-written is ever found.

Tables of any length go through a spool: plain temporary files of ids (and bag lengths) in the
target's folder, memory-mapped afterwards. So converting needs constant memory, and disk space for
one more copy.
"""

from __future__ import annotations

import contextlib
import csv
import io
import os
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO

import numpy as np

from simulator.errors import TraceError, UsageError
from simulator.files import scratch_beside, staged, unwritable
from simulator.traces.base import Ids
from simulator.traces.oracle_files import write_oracle
from simulator.traces.pieces import CHUNK, Column, Piece

__all__ = ["WRITABLE", "spooled", "write_columns"]

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
    format cannot hold the tables.
    """
    if format not in WRITABLE:
        raise UsageError(f"{format} files cannot be written; choose one of {', '.join(WRITABLE)}")
    if flatten:
        columns = [Column(c.name, c.ids) for c in columns]
    _check_fits(path, format, columns)
    with staged(path) as file:
        if format == "parquet":
            from simulator.traces.parquet_files import write_parquet

            write_parquet(file, columns)
        else:
            with file.open("wb") as stream:
                _write(stream, format, columns, row_bytes)


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
        raise UsageError(f"{path}: {format} needs tables of equally many ids")


def _write(file: IO[bytes], format: str, columns: list[Column], row_bytes: int) -> None:
    if format == "npy":
        _write_npy(file, columns[0].ids)
    elif format == "npz":
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            for column in columns:
                _write_member(archive, column.name, column.ids)
                if column.offsets is not None:
                    _write_member(archive, column.name + "_offsets", column.offsets)
    elif format == "oracle":
        write_oracle(file, columns[0].ids, row_bytes)
    else:
        _write_text(file, columns, b"\t" if format == "tsv" else b",")


def _write_member(archive: zipfile.ZipFile, name: str, values: Ids) -> None:
    # a fixed date: the same ids give the same bytes
    info = zipfile.ZipInfo(name + ".npy", date_time=(1980, 1, 1, 0, 0, 0))
    with archive.open(info, "w", force_zip64=True) as member:
        _write_npy(member, values)


def _write_npy(file: IO[bytes], values: Ids) -> None:
    header = {"descr": "<i8", "fortran_order": False, "shape": (len(values),)}
    np.lib.format.write_array_header_1_0(file, header)
    for start in range(0, len(values), CHUNK):
        file.write(np.ascontiguousarray(values[start : start + CHUNK], "<i8").tobytes())


def _write_text(file: IO[bytes], columns: list[Column], delimiter: bytes) -> None:
    heading = io.StringIO()
    names = [column.name for column in columns]
    csv.writer(heading, delimiter=delimiter.decode(), lineterminator="\n").writerow(names)
    file.write(heading.getvalue().encode())
    for start in range(0, len(columns[0].ids), CHUNK // 8):
        block = [c.ids[start : start + CHUNK // 8].tolist() for c in columns]
        lines = (delimiter.join(b"%d" % x for x in row) for row in zip(*block, strict=True))
        file.write(b"\n".join(lines) + b"\n")


def _mapped(name: str) -> Ids:
    if os.path.getsize(name) == 0:
        raise TraceError("a table without ids cannot be written")
    return np.memmap(name, np.int64, "r")


def _offsets(name: str, jagged: bool) -> Ids | None:
    if not jagged:
        return None
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(np.fromfile(name, np.int64))])
