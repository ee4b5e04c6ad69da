"""`.pt` and `.pt.gz`: ids and bags in tensors, as Meta publishes them and as others save them.

Published (`dlrm_datasets`): (indices, offsets, lengths), int64. `indices`: all lookups, table by
table; `offsets`: one a bag, and one more; `lengths`: shape (tables, batch). Table t owns the bags
from t * batch to (t + 1) * batch - 1, and is named `t0`, `t1`, ...

Others: one tensor as in `.npy`; (indices, offsets) or (indices, lengths) of one table, `t0`; a
dictionary as an `.npz`, or of such pairs; a KeyedJaggedTensor as a dictionary of `keys`, `values`
and `lengths`; a list of any of these, batch after batch. A last offset may be left out; weights
are not read. A file is held in memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from simulator.errors import TraceError
from simulator.text import few
from simulator.traces.bags import Offsets, ends_open, lengths_of
from simulator.traces.base import Ids
from simulator.traces.named_arrays import NamedArrays
from simulator.traces.numpy_files import Header
from simulator.traces.pieces import Piece, bags, integers, joined, numbered
from simulator.traces.tensor_files import read_tensors

__all__ = ["MetaSource"]

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class _Bags:
    """A table: its ids, and the lengths of its bags where the file has some."""

    name: str
    ids: Ids
    lengths: Ids | None = None


class MetaSource:
    """The tables of a tensor file, in memory."""

    def __init__(self, path: Path, columns: tuple[str, ...] = ()) -> None:
        self.path = path
        layouts = _Layouts(path, columns)
        tables = {table.name: table for table in layouts.tables(read_tensors(path))}
        missing = [name for name in columns if name not in tables]
        if missing:
            raise TraceError(f"{path}: no table {few(missing)}; it has {few(tables)}")
        self.tables = columns or tuple(tables)
        self.notes = tuple(layouts.notes)
        self._bags = [tables[name] for name in self.tables]

    def pieces(self) -> Iterator[Piece]:
        """Table by table."""
        for number, table in enumerate(self._bags):
            yield Piece(number, table.ids, table.lengths)

    def columns(self) -> None:
        """Unpacked tables are in memory as it is."""


class _Layouts:
    """Which tables the tensors of a file are; `notes` says what was assumed."""

    def __init__(self, path: Path, columns: tuple[str, ...]) -> None:
        self._path, self._columns = path, columns
        self.notes: dict[str, None] = {}

    def tables(self, value: Any) -> list[_Bags]:
        """The tables of what a file holds; `TraceError` where it is no layout of ids."""
        if isinstance(value, np.ndarray):
            return self._grid(value)
        if isinstance(value, dict) and value:
            return self._keyed(value) if "keys" in value else self._named(value)
        if isinstance(value, tuple | list) and value:
            if all(isinstance(x, np.ndarray) for x in value):
                return self._tensors(value)
            if all(isinstance(x, dict | tuple | list) for x in value):
                self._note(f"a list of {len(value)} is read as batches, one after the other")
                return self._batches([self.tables(x) for x in value])
        raise self._refused(value)

    def _tensors(self, value: Sequence[Any]) -> list[_Bags]:
        arrays = list(value)
        if len(arrays) in (3, 4) and arrays[-1].dtype.kind == "f" and arrays[-1].ndim == 1:
            arrays.pop()
            self._note("left out: weights, the last tensor")
        if len(arrays) == 1:
            return self._grid(arrays[0])
        if len(arrays) == 2 and all(map(_is_flat, arrays)):
            return [self._pair("t0", arrays)]
        if len(arrays) == 3 and all(map(_is_flat, arrays[:2])):
            indices, offsets, lengths = arrays
            if lengths.ndim != 2 or lengths.size == 0 or lengths.dtype.kind not in "iu":
                raise TraceError(
                    f"{self._path}: lengths are {_said(lengths)}, expected (tables, batch)"
                )
            return self._published(indices, offsets, lengths)
        raise self._refused(value)

    def _grid(self, array: Array) -> list[_Bags]:
        if array.dtype.kind not in "iu" or array.ndim not in (1, 2):
            raise self._refused(array)
        if array.ndim == 1:
            return [_Bags("t0", integers(array, str(self._path)))]
        self._note(f"shape {array.shape} is read as (samples, tables)")
        names = numbered(array.shape[1] if len(array) else 0)
        return [_Bags(n, integers(array[:, i], f"{self._path}: {n}")) for i, n in enumerate(names)]

    def _pair(self, name: str, pair: Sequence[Any]) -> _Bags:
        where = f"{self._path}: table {name!r}"
        ids, second = integers(pair[0], where), bags(pair[1], where)
        if (
            len(second)
            and second[0] == 0
            and np.all(np.diff(second) >= 0)
            and second[-1] <= len(ids)
        ):
            opened = ends_open({name: Offsets(len(second), int(second[-1]), len(ids))}, set())
            last = "; the last bag ends with the ids" if opened else ""
            self._note(f"two tensors are read as ids and offsets{last}")
            parts = lengths_of([second], where, len(ids), ends_open=opened)
            return _Bags(name, ids, np.concatenate(list(parts)))
        self._note("two tensors are read as ids and bag lengths")
        self._check_lengths(second, len(ids), where)
        return _Bags(name, ids, second)

    def _published(self, indices: Array, offsets: Array, lengths: Array) -> list[_Bags]:
        counts = bags(lengths.ravel(), f"{self._path}: lengths").reshape(lengths.shape)
        self._check_lengths(counts.ravel(), len(indices), str(self._path))
        expected: Ids = np.append(0, np.cumsum(counts))
        starts = bags(offsets, f"{self._path}: offsets")
        if len(starts) not in (len(expected), counts.size) or np.any(
            starts != expected[: len(starts)]
        ):
            raise TraceError(f"{self._path}: offsets are not the running sum of lengths")
        return self._cut(indices, counts, [f"t{t}" for t in range(len(counts))])

    def _keyed(self, value: Mapping[Any, Any]) -> list[_Bags]:
        keys, ids = value["keys"], value.get("values")
        ends = value.get("lengths", value.get("offsets"))
        if not (_is_flat(ids) and _is_flat(ends) and isinstance(keys, tuple | list)):
            raise self._refused(value)
        ids, ends = np.asarray(ids), np.asarray(ends)
        counts = bags(ends, f"{self._path}: lengths")
        if "lengths" not in value and len(ends):
            opened = bool(ends[-1] < len(ids)) or (len(ends) - 1) % max(1, len(keys)) != 0
            where = f"{self._path}: offsets"
            counts = np.concatenate(list(lengths_of([counts], where, len(ids), ends_open=opened)))
        if not keys or len(counts) % len(keys) or not len(counts):
            raise TraceError(
                f"{self._path}: {len(counts)} bags of {len(keys)} keys: expected as many a key"
            )
        self._check_lengths(counts, len(ids), str(self._path))
        return self._cut(ids, counts.reshape(len(keys), -1), [str(key) for key in keys])

    def _cut(self, indices: Array, counts: Ids, names: Sequence[str]) -> list[_Bags]:
        """Tables that lie one after the other in `indices`; `counts`: shape (tables, batch)."""
        ids = integers(indices, f"{self._path}: indices")
        ends = np.cumsum(counts.sum(axis=1))
        starts = np.append(0, ends[:-1])
        return [
            _Bags(name, ids[start:end], lengths)
            for name, start, end, lengths in zip(names, starts, ends, counts, strict=True)
        ]

    def _named(self, value: Mapping[Any, Any]) -> list[_Bags]:
        if all(isinstance(x, tuple | list) for x in value.values()):
            if not all(len(x) == 2 and all(map(_is_flat, x)) for x in value.values()):
                raise self._refused(value)
            return [self._pair(str(name), pair) for name, pair in value.items()]
        arrays = {str(n): x for n, x in value.items() if isinstance(x, np.ndarray)}
        if not arrays:
            raise self._refused(value)
        if len(arrays) < len(value):
            others = [str(n) for n, x in value.items() if not isinstance(x, np.ndarray)]
            self._note(f"left out: {few(others)} (no tensors)")
        headers = {n: Header(x.shape, x.dtype, False) for n, x in arrays.items()}

        def stream(name: str) -> Iterator[Ids]:
            if arrays[name].size:
                yield integers(arrays[name].ravel(), f"{self._path}: {name}")

        named = NamedArrays(self._path, headers, self._columns, stream)
        self.notes |= dict.fromkeys(named.notes)
        ids: list[list[Ids]] = [[np.empty(0, np.int64)] for _ in named.tables]
        lengths: list[list[Ids]] = [[] for _ in named.tables]
        for piece in named.pieces(stream):
            if piece.lengths is not None:
                lengths[piece.table].append(piece.lengths)
            ids[piece.table].append(piece.ids)
        return [
            _Bags(name, joined(ids[t]), np.concatenate(counts) if counts else None)
            for t, (name, counts) in enumerate(zip(named.tables, lengths, strict=True))
        ]

    def _batches(self, batches: Sequence[list[_Bags]]) -> list[_Bags]:
        names = [table.name for table in batches[0]]
        if any([table.name for table in batch] != names for batch in batches):
            raise TraceError(f"{self._path}: the batches have different tables; save one file each")
        return [self._joined(tables) for tables in zip(*batches, strict=True)]

    def _joined(self, tables: Sequence[_Bags]) -> _Bags:
        lengths = [t.lengths for t in tables if t.lengths is not None]
        if len(lengths) not in (0, len(tables)):
            raise TraceError(
                f"{self._path}: table {tables[0].name!r} has bags in some batches alone"
            )
        ids = joined([t.ids for t in tables])
        return _Bags(tables[0].name, ids, np.concatenate(lengths) if lengths else None)

    def _check_lengths(self, lengths: Ids, ids: int, where: str) -> None:
        if np.any(lengths < 0):
            first = int(np.argmax(lengths < 0))
            raise TraceError(f"{where}: lengths: bag {first} has a negative length")
        if int(lengths.max(initial=0)) > ids or int(lengths.sum()) != ids:
            raise TraceError(
                f"{where}: lengths add to {lengths.sum()}, but there are {ids} indices"
            )

    def _note(self, text: str) -> None:
        self.notes[text] = None

    def _refused(self, value: Any) -> TraceError:
        return TraceError(
            f"{self._path}: holds {_said(value)}; expected (indices, offsets, lengths), (indices, "
            "offsets) or a dictionary of integer tensors by table"
        )


def _is_flat(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.ndim == 1 and value.dtype.kind in "iu"


def _said(value: Any, depth: int = 2) -> str:
    """What a file holds, for messages: tensors by type and shape, a few of each collection."""
    if isinstance(value, np.ndarray):
        return f"{value.dtype} of shape {value.shape}"
    if isinstance(value, dict | tuple | list):
        kind = {dict: "dictionary", tuple: "tuple", list: "list"}[type(value)]
        if depth == 0 or not value:
            return f"a {kind} of {len(value)}"
        if isinstance(value, dict):
            return f"a {kind} of " + few([f"{n}: {_said(x, depth - 1)}" for n, x in value.items()])
        return f"a {kind} of " + few([_said(x, depth - 1) for x in value])
    return f"a value of type {type(value).__name__}"
