"""CSV and TSV, a categorical column a table; and Criteo's layout (label, 13 numbers, 26 words).

Plain CSV/TSV holds decimal ids, with or without a header line; they are ids as they stand. Criteo
categories are hexadecimal words (an empty field is a category of its own); they are hashed to
the stated table sizes with SplitMix64's finaliser, so different categories may share a row (the
usual hashing trick: with n categories in r rows about n**2 / 2 r pairs do).
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from simulator._mix import mix64
from simulator.errors import TraceError
from simulator.traces.base import Ids
from simulator.traces.pieces import Piece

__all__ = ["CRITEO_COLUMNS", "CriteoSource", "TextSource", "delimited_lines", "hash_categories"]

CRITEO_COLUMNS = tuple(f"C{i}" for i in range(1, 27))
_CRITEO_FIRST = 14  # after the label and 13 numbers
_LINES = 1 << 15
_MASK = 2**64 - 1
_HEXADECIMAL = frozenset("0123456789abcdefABCDEF")


class TextSource:
    """Lines of decimal ids."""

    notes: tuple[str, ...] = ()

    def __init__(self, path: Path, columns: tuple[str, ...] = (), delimiter: str = ",") -> None:
        self.path, self._delimiter = path, delimiter
        lines = delimited_lines(path, delimiter)
        _, first = next(lines, (0, []))
        if not first:
            raise TraceError(f"{path}: holds no ids")
        self._header = not all(_is_number(field) for field in first)
        names = first if self._header else [f"C{i + 1}" for i in range(len(first))]
        if len(set(names)) != len(names):
            raise TraceError(f"{path}: line 1: two columns have one name")
        missing = [name for name in columns if name not in names]
        if missing:
            raise TraceError(f"{path}: no column {', '.join(missing)}; it has {', '.join(names)}")
        self._width = len(names)
        self.tables = columns or tuple(names)
        self._columns = [names.index(name) for name in self.tables]

    def pieces(self) -> Iterator[Piece]:
        """The tables take turns, some ten thousand lines each."""
        lines = delimited_lines(self.path, self._delimiter)
        if self._header:
            next(lines, None)
        block: list[list[int]] = [[] for _ in self._columns]
        for number, fields in lines:
            if len(fields) != self._width:
                raise TraceError(
                    f"{self.path}: line {number}: {len(fields)} fields, expected {self._width}"
                )
            for column, index in zip(block, self._columns, strict=True):
                column.append(self._id(fields[index], number))
            if len(block[0]) == _LINES:
                yield from _flush(block)
        yield from _flush(block)

    def columns(self) -> None:
        """Text cannot be mapped."""

    def _id(self, field: str, line: int) -> int:
        if not _is_number(field) or len(field) > 18:
            raise TraceError(f"{self.path}: line {line}: {field!r} is not an id (an integer)")
        return int(field)


class CriteoSource:
    """Criteo's tab-separated click logs; `sizes`: rows of each table that is read."""

    notes: tuple[str, ...] = ()

    def __init__(
        self, path: Path, columns: tuple[str, ...] = (), sizes: tuple[int, ...] | None = None
    ) -> None:
        self.path, self.tables = path, columns or CRITEO_COLUMNS
        unknown = [name for name in self.tables if name not in CRITEO_COLUMNS]
        if unknown:
            raise TraceError(f"{path}: no column {', '.join(unknown)}; Criteo's are C1 .. C26")
        if sizes is None or len(sizes) != len(self.tables):
            raise TraceError(
                f"{path}: categories are hashed to stated table sizes: {len(self.tables)} tables "
                f"need as many sizes, {len(sizes or ())} are given"
            )
        self._sizes = sizes
        self._columns = [_CRITEO_FIRST + CRITEO_COLUMNS.index(name) for name in self.tables]
        with path.open("rb"):
            pass

    def pieces(self) -> Iterator[Piece]:
        """The tables take turns, some ten thousand lines each."""
        block: list[list[int]] = [[] for _ in self._columns]
        for number, fields in delimited_lines(self.path, "\t"):
            if len(fields) != _CRITEO_FIRST + 26:
                raise TraceError(
                    f"{self.path}: line {number}: {len(fields)} fields, Criteo's layout has 40"
                )
            for column, index in zip(block, self._columns, strict=True):
                column.append(self._category(fields[index], number))
            if len(block[0]) == _LINES:
                yield from self._hashed(block)
        yield from self._hashed(block)

    def columns(self) -> None:
        """Text cannot be mapped."""

    def _category(self, field: str, line: int) -> int:
        """The number of a category: 0 where missing, else its word + 1 (modulo 2**64)."""
        if not _HEXADECIMAL.issuperset(field):
            raise TraceError(f"{self.path}: line {line}: {field!r} is not a hexadecimal category")
        return (int(field, 16) + 1) & _MASK if field else 0

    def _hashed(self, block: list[list[int]]) -> Iterator[Piece]:
        for table, (column, rows) in enumerate(zip(block, self._sizes, strict=True)):
            ids = hash_categories(np.array(column, np.uint64), rows)
            column.clear()
            yield Piece(table, ids)


def hash_categories(categories: npt.NDArray[np.uint64], rows: int) -> Ids:
    """Rows of categories (uint64) in a table of `rows` rows."""
    hashes: npt.NDArray[np.uint64] = mix64(categories)
    return (hashes % np.uint64(rows)).astype(np.int64)


def _is_number(field: str) -> bool:
    digits = field[1:] if field.startswith("-") else field
    return digits.isascii() and digits.isdigit()


def _flush(block: list[list[int]]) -> Iterator[Piece]:
    for table, column in enumerate(block):
        ids: Ids = np.array(column, np.int64)
        column.clear()
        yield Piece(table, ids)


def delimited_lines(path: Path, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """(line number, fields) of each line that is not empty.

    Raises `TraceError` for a file that cannot be read as such text.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.reader(file, delimiter=delimiter, strict=True)
            for fields in reader:
                if fields:
                    yield reader.line_num, [field.strip() for field in fields]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise TraceError(f"{path}: cannot be read as text: {error}") from None
