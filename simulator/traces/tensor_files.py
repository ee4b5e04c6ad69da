"""Tensors out of PyTorch's `.pt` files, read without torch.

A `.pt` file is a pickle with tensors on the side. A pickle is a program, so it is not run as one:
its instructions are looked through first (only those that torch writes for tensors, lists, tuples,
dictionaries, texts and numbers), and the unpickler knows the names that a tensor needs and refuses
every other, so nothing in the file can call code or ask for memory that it does not fill. Both of
torch's layouts are read: the zip archive (since 1.6) and the legacy stream. Only contiguous CPU
tensors are read.
"""

from __future__ import annotations

import functools
import io
import math
import pickle
import pickletools
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from simulator.streams import open_bytes
from simulator.traces.boundary import reading

__all__ = ["Tensor", "read_tensors"]

_MAGIC = 0x1950A86A20F9469CFC6C  # first pickle of the legacy layout
_PROTOCOL = 1001
_DTYPES = {
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
    "ShortStorage": np.dtype("<i2"),
    "CharStorage": np.dtype("<i1"),
    "ByteStorage": np.dtype("<u1"),
    "BoolStorage": np.dtype("?"),
    "DoubleStorage": np.dtype("<f8"),
    "FloatStorage": np.dtype("<f4"),
    "HalfStorage": np.dtype("<f2"),
    "BFloat16Storage": np.dtype([("bfloat16", "<u2")]),
    "ComplexFloatStorage": np.dtype("<c8"),
    "ComplexDoubleStorage": np.dtype("<c16"),
}
_UNTYPED = {
    "uint64": np.dtype("<u8"),
    "uint32": np.dtype("<u4"),
    "uint16": np.dtype("<u2"),
    "float8_e4m3fn": np.dtype([("float8", "u1")]),
    "float8_e5m2": np.dtype([("float8", "u1")]),
}
"""Types without a storage of their own: they lie in bytes, and the tensor says what these are."""
_INSTRUCTIONS = {
    "PROTO", "FRAME", "STOP", "MARK", "NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2",
    "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "EMPTY_TUPLE", "TUPLE",
    "TUPLE1", "TUPLE2", "TUPLE3", "EMPTY_LIST", "APPEND", "APPENDS", "EMPTY_DICT", "SETITEM",
    "SETITEMS", "BINPUT", "LONG_BINPUT", "MEMOIZE", "BINGET", "LONG_BINGET", "GLOBAL",
    "STACK_GLOBAL", "REDUCE", "BINPERSID",
}  # fmt: skip
"""What torch's pickles of tensors are made of. Not among them: building objects of any class."""


@dataclass
class _Storage:
    """A flat array of the file; the legacy layout fills it after the pickle."""

    dtype: np.dtype[Any]
    length: int
    data: npt.NDArray[Any] | None = None


@dataclass(frozen=True)
class Tensor:
    """A tensor as its record describes it: strides and start count values of the storage."""

    storage: _Storage
    start: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: np.dtype[Any] | None = None
    """Of the values, where the storage is of bytes."""

    def array(self) -> npt.NDArray[Any]:
        """The values; raises `ValueError` where the record is not a contiguous tensor."""
        size = math.prod(self.shape)
        if self.storage.data is None or min((0, self.start, *self.shape)) < 0:
            raise ValueError("a tensor without its values")
        data = self.storage.data if self.dtype is None else self._typed(self.storage.data)
        if self.start + size > len(data):
            raise ValueError(f"a tensor of {size} values in a storage of {self.storage.length}")
        expected, step = [], 1
        for n in reversed(self.shape):
            expected.append(step)
            step *= n
        if tuple(reversed(expected)) != self.stride and size > 1:
            raise ValueError("a tensor that is not contiguous (save tensor.contiguous())")
        return data[self.start : self.start + size].reshape(self.shape)

    def _typed(self, data: npt.NDArray[Any]) -> npt.NDArray[Any]:
        if data.dtype.itemsize != 1 or self.dtype is None or len(data) % self.dtype.itemsize:
            raise ValueError(f"a storage of {len(data)} values for {self.dtype} tensors")
        return data.view(self.dtype)


def _rebuild(storage: Any, start: Any, shape: Any, stride: Any, *_: Any) -> Tensor:
    if not isinstance(storage, _Storage) or not all(
        type(n) is int for n in (start, *shape, *stride)
    ):
        raise pickle.UnpicklingError("a tensor record of unknown form")
    return Tensor(storage, start, tuple(shape), tuple(stride))


def _rebuild_typed(
    storage: Any, start: Any, shape: Any, stride: Any, grad: Any, hooks: Any, dtype: Any, *_: Any
) -> Tensor:
    del grad, hooks
    if not isinstance(dtype, np.dtype):
        raise pickle.UnpicklingError("a tensor record of unknown form")
    return replace(_rebuild(storage, start, shape, stride), dtype=dtype)


class _Unpickler(pickle.Unpickler):
    """Knows the records of a tensor and nothing else."""

    def __init__(self, file: IO[bytes], find: Callable[[str, np.dtype[Any], int], _Storage]):
        super().__init__(file)
        self._find = find

    def find_class(self, module: str, name: str) -> Any:
        """Only the names that a tensor needs."""
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuild
        if (module, name) == ("torch._utils", "_rebuild_tensor_v3"):
            return _rebuild_typed
        if module == "torch" and name in (types := _DTYPES | _UNTYPED):
            return types[name]
        if (module, name) == ("torch.storage", "UntypedStorage"):
            return np.dtype("u1")
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        raise pickle.UnpicklingError(f"the file asks for {module}.{name}, which is never called")

    def persistent_load(self, pid: Any) -> _Storage:
        """A storage: ("storage", type, key, location, number of values, ...)."""
        if not isinstance(pid, tuple) or len(pid) < 5 or pid[0] != "storage":
            raise pickle.UnpicklingError("a persistent record that is no storage")
        _, dtype, key, _, length = pid[:5]
        if not isinstance(dtype, np.dtype) or type(length) is not int or length < 0:
            raise pickle.UnpicklingError("a storage that is not of numbers")
        return self._find(str(key), dtype, length)


def read_tensors(path: Path) -> Any:
    """What a `.pt` or `.pt.gz` file holds, its tensors as arrays.

    Tuples, lists and dictionaries (ordered ones as plain) of arrays, texts, numbers and None.
    Raises `TraceError` for all that is no whole file of such things.
    """
    with reading(path, "tensor file"):
        with open_bytes(path) as file:
            data = file.read()
        value = _read_zip(data) if data[:4] == b"PK\x03\x04" else _read_legacy(data)
        return _arrays(value, {})


def _arrays(value: Any, known: dict[int, Any]) -> Any:
    """`value` with arrays for tensors; `known`: what was made, once however often it is named."""
    if id(value) not in known:
        made = value
        if isinstance(value, Tensor):
            made = value.array()
        elif isinstance(value, tuple | list):
            made = type(value)([_arrays(x, known) for x in value])
        elif isinstance(value, dict):
            made = {name: _arrays(x, known) for name, x in value.items()}
        known[id(value)] = made
    return known[id(value)]


def _load(file: IO[bytes], find: Callable[[str, np.dtype[Any], int], _Storage]) -> Any:
    """The next pickle of `file`, looked through before it is read."""
    start = file.tell()
    for number, (instruction, argument, _) in enumerate(pickletools.genops(file)):
        if instruction.name not in _INSTRUCTIONS:
            raise pickle.UnpicklingError(
                f"the file asks for {instruction.name}, which tensors do not need"
            )
        if instruction.name.endswith("BINPUT") and int(argument or 0) > number:
            raise pickle.UnpicklingError("a memo with holes")  # would be memory asked for nothing
    file.seek(start)
    return _Unpickler(file, find).load()


def _read_zip(data: bytes) -> Any:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        names = archive.namelist()
        pickles = [n for n in names if n.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise ValueError("no data.pkl in the archive")
        folder = pickles[0].removesuffix("data.pkl")
        if folder + "byteorder" in names and archive.read(folder + "byteorder") != b"little":
            raise ValueError("values are not little-endian")

        @functools.cache
        def find(key: str, dtype: np.dtype[Any], length: int) -> _Storage:
            size = length * dtype.itemsize
            with archive.open(f"{folder}data/{key}") as member:
                values = np.frombuffer(member.read(min(size, len(data))), dtype)
            if len(values) < length:
                raise ValueError(f"storage {key} has {len(values)} of {length} values")
            return _Storage(dtype, length, values)

        return _load(io.BytesIO(archive.read(pickles[0])), find)


def _read_legacy(data: bytes) -> Any:
    file = io.BytesIO(data)
    storages: dict[str, _Storage] = {}

    def find(key: str, dtype: np.dtype[Any], length: int) -> _Storage:
        return storages.setdefault(key, _Storage(dtype, length))

    if _load(file, find) != _MAGIC or _load(file, find) != _PROTOCOL:
        raise ValueError("neither a zip archive nor a legacy tensor stream")
    system = _load(file, find)
    if not isinstance(system, dict) or not system.get("little_endian", True):
        raise ValueError("values are not little-endian")
    value = _load(file, find)
    for key in _load(file, find):
        storage = storages[str(key)]
        (length,) = struct.unpack("<q", file.read(8))
        raw = file.read(length * storage.dtype.itemsize) if length >= 0 else b""
        if length != storage.length or len(raw) < length * storage.dtype.itemsize:
            raise ValueError(f"storage {key} has {len(raw)} bytes for {storage.length} values")
        storage.data = np.frombuffer(raw, storage.dtype)
    return value
