"""`.npz`: arrays with names in a zip archive, streamed. Nothing is ever unpickled."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt

from simulator.errors import TraceError
from simulator.traces.base import Ids
from simulator.traces.boundary import reading
from simulator.traces.named_arrays import NamedArrays
from simulator.traces.numpy_files import Header, read_header
from simulator.traces.pieces import CHUNK, Piece, integers

__all__ = ["NpzSource"]

_ENDING = ".npy"
_KIND = ".npz archive"


class NpzSource:
    """An `.npz`; `tables` are its arrays of integers, less those that accompany them."""

    def __init__(self, path: Path, columns: tuple[str, ...] = ()) -> None:
        self.path = path
        with _opened(path) as archive:
            headers = _headers(path, archive)
            self._arrays = NamedArrays(path, headers, columns, partial(_stream, archive, path))
        self.tables, self.notes = self._arrays.tables, self._arrays.notes

    def pieces(self) -> Iterator[Piece]:
        """Table by table."""
        with _opened(self.path) as archive:
            yield from self._arrays.pieces(partial(_stream, archive, self.path))

    def columns(self) -> None:
        """Compressed arrays cannot be mapped."""


def _headers(path: Path, archive: zipfile.ZipFile) -> dict[str, Header]:
    """The header of every array by its name, in the order of the file, all checked to fit."""
    headers: dict[str, Header] = {}
    for info in archive.infolist():
        if not info.filename.endswith(_ENDING):
            continue
        name = info.filename.removesuffix(_ENDING)
        where = f"{path}: array {name!r}"
        if name in headers:
            raise TraceError(f"{path}: two arrays are named {name!r}: rename one")
        with _member(archive, name, where) as file:
            headers[name] = header = read_header(file, where)
            if not header.unfit:
                header.check(where, info.file_size - file.tell())
    return headers


def _stream(archive: zipfile.ZipFile, path: Path, name: str) -> Iterator[Ids]:
    where = f"{path}: array {name!r}"
    with _member(archive, name, where) as file:
        header = read_header(file, where)
        parts = _values(file, header, where)
        if header.fortran and len(header.shape) > 1:
            parts = iter([_in_c_order(list(parts), header)])
        for values in parts:
            yield integers(values, where)


def _in_c_order(parts: list[npt.NDArray[np.integer]], header: Header) -> npt.NDArray[np.integer]:
    flat = np.concatenate(parts or [np.empty(0, header.dtype)])
    return flat.reshape(header.shape, order="F").ravel()


def _values(file: IO[bytes], header: Header, where: str) -> Iterator[npt.NDArray[np.integer]]:
    """The values that follow the header, flat, as they lie in the file."""
    done, size, dtype = 0, header.size, header.dtype
    while done < size:
        count = min(CHUNK, size - done)
        with reading(where, _KIND):
            data = file.read(count * dtype.itemsize)
        if len(data) < count * dtype.itemsize:
            raise TraceError(f"{where}: truncated after {done} of {size} ids")
        yield np.frombuffer(data, dtype)
        done += count


def _opened(path: Path) -> zipfile.ZipFile:
    with reading(path, _KIND):
        return zipfile.ZipFile(path)


def _member(archive: zipfile.ZipFile, name: str, where: str) -> IO[bytes]:
    with reading(where, _KIND):
        return archive.open(name + _ENDING)
