"""`.npy` (one table) and `.npz` (an array a table, `<name>_offsets` beside it where jagged).

Object arrays are refused by their header: nothing is ever unpickled.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from simulator.errors import TraceError
from simulator.traces.base import Ids
from simulator.traces.pieces import CHUNK, Column, Piece, integers

__all__ = ["NpySource", "NpzSource", "read_header"]

_OFFSETS = "_offsets"


def read_header(file: IO[bytes], where: str) -> tuple[int, np.dtype[Any]]:
    """(length, dtype) of the `.npy` that starts here; `TraceError` unless 1-D integers."""
    try:
        version = np.lib.format.read_magic(file)
        if version == (1, 0):
            shape, _, dtype = np.lib.format.read_array_header_1_0(file)
        else:
            shape, _, dtype = np.lib.format.read_array_header_2_0(file)
    except (ValueError, EOFError, SyntaxError, zlib.error, zipfile.BadZipFile) as error:
        raise TraceError(f"{where}: not a whole .npy array ({error})") from None
    if dtype.kind == "O":
        raise TraceError(f"{where}: an array of Python objects, which is never unpickled")
    integers(np.empty((0,) * len(shape), dtype) if len(shape) != 1 else np.empty(0, dtype), where)
    if shape[0] == 0:
        raise TraceError(f"{where}: holds no ids")
    return int(shape[0]), dtype


class NpySource:
    """A one-dimensional integer `.npy`, memory-mapped."""

    notes: tuple[str, ...] = ()

    def __init__(self, path: Path) -> None:
        self.path = path
        self.tables: tuple[str, ...] = (path.stem,)
        with path.open("rb") as file:
            length, dtype = read_header(file, str(path))
            self._start = start = file.tell()
        size = path.stat().st_size - start
        if size < length * dtype.itemsize:
            raise TraceError(
                f"{path}: truncated: {length} ids need {length * dtype.itemsize} bytes after the "
                f"header, {size} are there"
            )
        # copy-on-write, so that compiled kernels meet the same type as with arrays in memory
        mapped = np.memmap(path, dtype, "c", start, (length,))
        self._ids: npt.NDArray[Any] = mapped.view(np.ndarray)

    def pieces(self) -> Iterator[Piece]:
        """In chunks of about a million ids, read (mapped pages would count as memory in use)."""
        dtype = self._ids.dtype
        with self.path.open("rb") as file:
            file.seek(self._start)
            for start in range(0, len(self._ids), CHUNK):
                count = min(CHUNK, len(self._ids) - start)
                yield Piece(0, integers(np.fromfile(file, dtype, count), str(self.path)))

    def columns(self) -> list[Column]:
        """The mapped array."""
        return [Column(self.tables[0], self._ids)]


class NpzSource:
    """An `.npz`; `tables` are its arrays, less the offsets."""

    notes: tuple[str, ...] = ()

    def __init__(self, path: Path, columns: tuple[str, ...] = ()) -> None:
        self.path = path
        try:
            with zipfile.ZipFile(path) as archive:
                names = [n.removesuffix(".npy") for n in archive.namelist()]
        except zipfile.BadZipFile as error:
            raise TraceError(f"{path}: not a whole .npz archive ({error})") from None
        self._members = frozenset(names)
        offsets = {n + _OFFSETS for n in names}
        self.tables = columns or tuple(n for n in names if n not in offsets)
        missing = [n for n in self.tables if n not in self._members]
        if missing or not self.tables:
            raise TraceError(f"{path}: no array {', '.join(missing)}; it has {', '.join(names)}")

    def pieces(self) -> Iterator[Piece]:
        """Table by table."""
        with zipfile.ZipFile(self.path) as archive:
            for table, name in enumerate(self.tables):
                for ids in self._stream(archive, name):
                    yield Piece(table, ids)
                if name + _OFFSETS in self._members:
                    for lengths in self._lengths(archive, name):
                        yield Piece(table, np.empty(0, np.int64), lengths)

    def columns(self) -> None:
        """Compressed arrays cannot be mapped."""

    def _lengths(self, archive: zipfile.ZipFile, name: str) -> Iterator[Ids]:
        where = f"{self.path}: array {name + _OFFSETS!r}"
        last = np.zeros(0, np.int64)
        for part in self._stream(archive, name + _OFFSETS):
            if not len(last) and part[0] != 0:
                raise TraceError(f"{where}: offsets must start at 0, not at {part[0]}")
            lengths = np.diff(np.concatenate([last, part]))
            if np.any(lengths < 0):
                raise TraceError(f"{where}: offsets must never fall")
            yield lengths
            last = part[-1:]

    def _stream(self, archive: zipfile.ZipFile, name: str) -> Iterator[Ids]:
        where = f"{self.path}: array {name!r}"
        with archive.open(name + ".npy") as file:
            length, dtype = read_header(file, where)
            done = 0
            while done < length:
                count = min(CHUNK, length - done)
                try:
                    data = file.read(count * dtype.itemsize)
                except (zlib.error, zipfile.BadZipFile, EOFError) as error:
                    raise TraceError(f"{where}: damaged ({error})") from None
                if len(data) < count * dtype.itemsize:
                    raise TraceError(f"{where}: truncated after {done} of {length} ids")
                yield integers(np.frombuffer(data, dtype), where)
                done += count
