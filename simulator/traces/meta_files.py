"""Meta's `dlrm_datasets` (`.pt`, `.pt.gz`): (indices, offsets, lengths), read without torch.

A `.pt` file is a pickle with tensors on the side. A pickle is a program, so it is not run as one:
the unpickler here knows four names (rebuild a tensor, a long or int storage, an ordered dict) and
refuses every other, so nothing in the file can call code. Both of torch's layouts are read: the
zip archive (since 1.6) and the legacy stream (which the published sets use).

Published layout: `indices` int64, all lookups, table by table; `offsets` int64, one a bag and one
more; `lengths` int64, shape (tables, batch). Table t owns the bags from t * batch to
(t + 1) * batch - 1.
Only contiguous CPU tensors are read. A file is one mini-batch set and is held in memory.
"""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from simulator.errors import TraceError
from simulator.streams import open_bytes
from simulator.traces.base import Ids
from simulator.traces.pieces import Piece, integers

__all__ = ["MetaSource", "read_tensors"]

_MAGIC = 0x1950A86A20F9469CFC6C  # first pickle of the legacy layout
_PROTOCOL = 1001
_DTYPES = {"LongStorage": np.dtype("<i8"), "IntStorage": np.dtype("<i4")}


@dataclass
class _Storage:
    """A flat array of the file; the legacy layout fills it after the pickle."""

    dtype: np.dtype[Any]
    length: int
    data: npt.NDArray[Any] | None = None


@dataclass(frozen=True)
class _Tensor:
    storage: _Storage
    start: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    def array(self) -> npt.NDArray[Any]:
        """The values; raises `ValueError` where the record is not a contiguous tensor."""
        size = int(np.prod(self.shape, dtype=np.int64))
        if self.storage.data is None or min((0, self.start, *self.shape)) < 0:
            raise ValueError("a tensor without its values")
        if self.start + size > len(self.storage.data):
            raise ValueError(f"a tensor of {size} values in a storage of {self.storage.length}")
        expected, step = [], 1
        for n in reversed(self.shape):
            expected.append(step)
            step *= n
        if tuple(reversed(expected)) != self.stride and size > 1:
            raise ValueError("a tensor that is not contiguous")
        return self.storage.data[self.start : self.start + size].reshape(self.shape)


def _rebuild(storage: Any, start: Any, shape: Any, stride: Any, *_: Any) -> _Tensor:
    if not isinstance(storage, _Storage) or not all(
        isinstance(n, int) for n in (start, *shape, *stride)
    ):
        raise pickle.UnpicklingError("a tensor record of unknown form")
    return _Tensor(storage, start, tuple(shape), tuple(stride))


class _Unpickler(pickle.Unpickler):
    """Knows the records of a tensor and nothing else."""

    def __init__(self, file: IO[bytes], find: Callable[[str, np.dtype[Any], int], _Storage]):
        super().__init__(file)
        self._find = find

    def find_class(self, module: str, name: str) -> Any:
        """Only the four names that a tensor needs."""
        if (module, name) in (("torch._utils", "_rebuild_tensor_v2"),):
            return _rebuild
        if module == "torch" and name in _DTYPES:
            return _DTYPES[name]
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        raise pickle.UnpicklingError(f"the file asks for {module}.{name}, which is never called")

    def persistent_load(self, pid: Any) -> _Storage:
        """A storage: ("storage", type, key, location, number of values, ...)."""
        if not isinstance(pid, tuple) or len(pid) < 5 or pid[0] != "storage":
            raise pickle.UnpicklingError("a persistent record that is no storage")
        _, dtype, key, _, length = pid[:5]
        if not isinstance(dtype, np.dtype) or not isinstance(length, int) or length < 0:
            raise pickle.UnpicklingError("a storage that is not of integers")
        return self._find(str(key), dtype, length)


def read_tensors(path: Path) -> list[npt.NDArray[Any]]:
    """The tensors of a `.pt` or `.pt.gz` file that holds a tuple or list of tensors."""
    try:
        with open_bytes(path) as file:
            data = file.read()
        parse = _read_zip if data[:4] == b"PK\x03\x04" else _read_legacy
        value = parse(data)
        if not isinstance(value, tuple | list) or not all(isinstance(t, _Tensor) for t in value):
            raise ValueError("not a tuple of tensors")
        return [tensor.array() for tensor in value]
    except (
        OSError,
        EOFError,
        ValueError,
        KeyError,
        IndexError,
        AttributeError,
        TypeError,
    ) as error:
        raise TraceError(f"{path}: not a whole tensor file: {error}") from None
    except (pickle.UnpicklingError, zlib.error, zipfile.BadZipFile, struct.error) as error:
        raise TraceError(f"{path}: not a tensor file that can be read: {error}") from None


def _read_zip(data: bytes) -> Any:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        names = archive.namelist()
        pickles = [n for n in names if n.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise ValueError("no data.pkl in the archive")
        folder = pickles[0].removesuffix("data.pkl")
        if folder + "byteorder" in names and archive.read(folder + "byteorder") != b"little":
            raise ValueError("values are not little-endian")

        def find(key: str, dtype: np.dtype[Any], length: int) -> _Storage:
            values = np.frombuffer(archive.read(f"{folder}data/{key}"), dtype)
            if len(values) < length:
                raise ValueError(f"storage {key} has {len(values)} of {length} values")
            return _Storage(dtype, length, values)

        return _Unpickler(io.BytesIO(archive.read(pickles[0])), find).load()


def _read_legacy(data: bytes) -> Any:
    file = io.BytesIO(data)
    storages: dict[str, _Storage] = {}

    def find(key: str, dtype: np.dtype[Any], length: int) -> _Storage:
        return storages.setdefault(key, _Storage(dtype, length))

    if _Unpickler(file, find).load() != _MAGIC or _Unpickler(file, find).load() != _PROTOCOL:
        raise ValueError("neither a zip archive nor a legacy tensor stream")
    system = _Unpickler(file, find).load()
    if not isinstance(system, dict) or not system.get("little_endian", True):
        raise ValueError("values are not little-endian")
    value = _Unpickler(file, find).load()
    for key in _Unpickler(file, find).load():
        storage = storages[str(key)]
        (length,) = struct.unpack("<q", file.read(8))
        raw = file.read(length * storage.dtype.itemsize) if length >= 0 else b""
        if length != storage.length or len(raw) < length * storage.dtype.itemsize:
            raise ValueError(f"storage {key} has {len(raw)} bytes for {storage.length} values")
        storage.data = np.frombuffer(raw, storage.dtype)
    return value


class MetaSource:
    """One published batch file; tables are named `t0`, `t1`, ..."""

    notes: tuple[str, ...] = ()

    def __init__(self, path: Path, columns: tuple[str, ...] = ()) -> None:
        self.path = path
        tensors = read_tensors(path)
        if len(tensors) != 3:
            raise TraceError(f"{path}: {len(tensors)} tensors, expected indices, offsets, lengths")
        indices, offsets, lengths = tensors
        self._indices = integers(indices, f"{path}: indices")
        self._offsets = integers(offsets, f"{path}: offsets")
        if lengths.ndim != 2 or lengths.size == 0:
            raise TraceError(f"{path}: lengths of shape {lengths.shape}, expected (tables, batch)")
        self._lengths = lengths.astype(np.int64)
        self._check_offsets()
        names = [f"t{t}" for t in range(len(lengths))]
        missing = [name for name in columns if name not in names]
        if missing:
            raise TraceError(f"{path}: no table {', '.join(missing)}; it has t0 .. {names[-1]}")
        self.tables = columns or tuple(names)
        self._numbers = [names.index(name) for name in self.tables]

    def _check_offsets(self) -> None:
        if np.any(self._lengths < 0):
            first = int(np.argmax(self._lengths.ravel() < 0))
            raise TraceError(f"{self.path}: lengths: bag {first} has a negative length")
        expected: Ids = np.append(0, np.cumsum(self._lengths))
        if len(self._offsets) != len(expected) or np.any(self._offsets != expected):
            raise TraceError(f"{self.path}: offsets are not the running sum of lengths")
        if expected[-1] != len(self._indices):
            raise TraceError(
                f"{self.path}: lengths add to {expected[-1]}, but there are "
                f"{len(self._indices)} indices"
            )

    def pieces(self) -> Iterator[Piece]:
        """Table by table."""
        batch = self._lengths.shape[1]
        for table, number in enumerate(self._numbers):
            start, stop = self._offsets[number * batch], self._offsets[(number + 1) * batch]
            yield Piece(table, self._indices[start:stop], self._lengths[number])

    def columns(self) -> None:
        """Unpacked tables are in memory as it is."""
