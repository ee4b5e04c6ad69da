"""`.npy`: one table (1-D) or a column a table (samples by tables); mapped, never unpickled."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from simulator.errors import TraceError
from simulator.text import few
from simulator.traces.boundary import reading
from simulator.traces.pieces import CHUNK, Column, Piece, integers, numbered

__all__ = ["Header", "NpySource", "read_header"]

_MAGIC = b"\x93NUMPY"


@dataclass(frozen=True, slots=True)
class Header:
    """What the header of a `.npy` says of its array."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran: bool

    @property
    def size(self) -> int:
        """Values in the array."""
        return math.prod(self.shape)

    @property
    def unfit(self) -> str:
        """What the values are where they can be no ids, else empty."""
        if self.dtype.hasobject:
            return "Python objects, which are never unpickled"
        if self.dtype.names:
            return f"records of the fields {few(self.dtype.names)} (save each as an array)"
        return "" if self.dtype.kind in "iu" else f"{self.dtype} values"

    def check(self, where: str, room: int) -> None:
        """`TraceError` unless `room` bytes hold the values."""
        if room < self.size * self.dtype.itemsize:
            raise TraceError(
                f"{where}: truncated: {self.size} ids need {self.size * self.dtype.itemsize} bytes "
                f"after the header, {room} are there"
            )


def read_header(file: IO[bytes], where: str) -> Header:
    """The header of the `.npy` that starts here; `TraceError` unless it is one."""
    with reading(where, ".npy array"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Python 2 and odd literals: what is read is checked
        version = np.lib.format.read_magic(file)
        if version not in ((1, 0), (2, 0), (3, 0)):
            raise TraceError(f"{where}: version {version[0]}.{version[1]} of the .npy format")
        read = np.lib.format.read_array_header_1_0
        if version != (1, 0):  # 3.0 differs in the encoding of field names alone
            read = np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read(file)
    if not all(type(n) is int and n >= 0 for n in shape):
        raise TraceError(f"{where}: {shape} is no shape of an array")
    return Header(shape, dtype, bool(fortran))


class NpySource:
    """Integers of shape (ids,) or (samples, tables), memory-mapped.

    The table of one dimension is named as the file, those of two `C1`, `C2`, ... as in a CSV
    without a header.
    """

    def __init__(self, path: Path, columns: tuple[str, ...] = ()) -> None:
        self.path = path
        self.notes: tuple[str, ...] = ()
        with path.open("rb") as file:
            header = read_header(file, str(path))
            self._start = start = file.tell()
            room = path.stat().st_size - start
            self._check(header, room)
            self._trailing(file, header, room)
        self._fortran = header.fortran or len(header.shape) == 1
        # copy-on-write, so that compiled kernels meet the same type as with arrays in memory
        mapped = np.memmap(
            path, header.dtype, "c", start, header.shape, "F" if header.fortran else "C"
        )
        values: npt.NDArray[Any] = mapped.view(np.ndarray)
        self._values = values
        names: tuple[str, ...] = (path.stem,)
        if values.ndim == 2:
            names = numbered(values.shape[1])
            self.notes += (f"shape {header.shape} is read as (samples, tables)",)
        missing = [name for name in columns if name not in names]
        if missing:
            raise TraceError(f"{path}: no table {few(missing)}; npy has {few(names)}")
        self.tables: tuple[str, ...] = columns or names
        self._columns = [names.index(name) for name in self.tables]

    def pieces(self) -> Iterator[Piece]:
        """In chunks of about a million ids, read (mapped pages would count as memory in use)."""
        yield from self._by_table() if self._fortran else self._by_sample()

    def columns(self) -> list[Column]:
        """The mapped array, cut into its columns."""
        if self._values.ndim == 1:
            return [Column(self.tables[0], self._values)]
        pairs = zip(self.tables, self._columns, strict=True)
        return [Column(name, self._values[:, column]) for name, column in pairs]

    def _check(self, header: Header, room: int) -> None:
        if header.unfit:
            raise TraceError(f"{self.path}: {header.unfit}, ids must be integers")
        if len(header.shape) not in (1, 2):
            raise TraceError(
                f"{self.path}: shape {header.shape}, expected (ids,) or (samples, tables); save "
                "several lookups a sample as an .npz with an array (samples, lookups) a table"
            )
        if header.size == 0:
            raise TraceError(f"{self.path}: holds no ids (shape {header.shape})")
        header.check(str(self.path), room)

    def _trailing(self, file: IO[bytes], header: Header, room: int) -> None:
        size = header.size * header.dtype.itemsize
        if room > size:
            file.seek(self._start + size)
            what = "another array" if file.read(len(_MAGIC)) == _MAGIC else "something else"
            self.notes += (f"left out: {what} of {room - size} bytes after the first array",)

    def _by_table(self) -> Iterator[Piece]:
        rows, dtype = len(self._values), self._values.dtype
        with self.path.open("rb") as file:
            for table, column in enumerate(self._columns):
                file.seek(self._start + column * rows * dtype.itemsize)
                for start in range(0, rows, CHUNK):
                    ids = np.fromfile(file, dtype, min(CHUNK, rows - start))
                    yield Piece(table, integers(ids, self._where(table)))

    def _by_sample(self) -> Iterator[Piece]:
        rows, width = self._values.shape
        step = max(1, CHUNK // width)
        with self.path.open("rb") as file:
            file.seek(self._start)
            for start in range(0, rows, step):
                count = min(step, rows - start)
                block = np.fromfile(file, self._values.dtype, count * width).reshape(count, width)
                for table, column in enumerate(self._columns):
                    yield Piece(table, integers(block[:, column], self._where(table)))

    def _where(self, table: int) -> str:
        return f"{self.path}: table {self.tables[table]!r}"
