"""Texts of categories that are words, hashed to the stated table sizes: Criteo's, and any other.

Criteo's layout is a label (which the file to be judged by leaves out), 13 numbers and 26
hexadecimal words, between tabs. `words` is any CSV or TSV whose fields are words, like Avazu's.
An empty field is a category of its own.

Categories are hashed with SplitMix64's finaliser, so different ones may share a row (the usual
hashing trick: with n categories in r rows about n**2 / 2 r pairs do). A hexadecimal word is its
number; any other word is made a number by 64 bits of BLAKE2b.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path

import numpy as np
import numpy.typing as npt

from simulator._mix import mix64
from simulator.errors import TraceError
from simulator.traces.base import Ids
from simulator.traces.contents import AVAZU
from simulator.traces.pieces import Piece, numbered
from simulator.traces.text_files import LINES
from simulator.traces.text_layout import Header, delimited_lines, layout_of

__all__ = ["CRITEO_COLUMNS", "CriteoSource", "WordsSource", "hash_categories"]

CRITEO_COLUMNS = numbered(26)
_LABELLED = 40
_AVAZU_BESIDE = ("id", "click", "hour")  # the number of a sample, its label, its time
_MASK = 2**64 - 1

Sizes = Callable[[Path, tuple[str, ...]], tuple[int, ...]]
"""(file, columns that are read) -> rows that the words of each are hashed to."""

_HEXADECIMAL = frozenset("0123456789abcdefABCDEF")
_WORDS = 1 << 20


class CriteoSource:
    """Criteo's tab-separated click logs; `hashed_to`: rows of the table of each column."""

    def __init__(self, path: Path, columns: tuple[str, ...], hashed_to: Sizes) -> None:
        self.path = path
        self.tables: tuple[str, ...] = columns or CRITEO_COLUMNS
        unknown = [name for name in self.tables if name not in CRITEO_COLUMNS]
        if unknown:
            raise TraceError(f"{path}: no column {', '.join(unknown)}; Criteo's are C1 .. C26")
        self._sizes = hashed_to(path, self.tables)
        line, first = next(delimited_lines(path, "\t"), (0, []))
        if not first:
            raise TraceError(f"{path}: holds no ids")
        self._width = len(first)
        if self._width not in (_LABELLED, _LABELLED - 1):
            raise TraceError(
                f"{path}: line {line}: {self._width} fields, Criteo's layout has 40 (39 without "
                "the label)"
            )
        self.notes: tuple[str, ...] = (
            () if self._width == _LABELLED else ("39 fields a line: there is no label",)
        )
        start = self._width - len(CRITEO_COLUMNS)
        self._columns = [start + CRITEO_COLUMNS.index(name) for name in self.tables]

    def pieces(self) -> Iterator[Piece]:
        """The tables take turns, some ten thousand lines each."""
        return _hashed(self._lines(), self._columns, self._sizes, self._category)

    def columns(self) -> None:
        """Text cannot be mapped."""

    def _lines(self) -> Iterator[tuple[int, list[str]]]:
        for number, fields in delimited_lines(self.path, "\t"):
            if len(fields) != self._width:
                raise TraceError(
                    f"{self.path}: line {number}: {len(fields)} fields, the first line has "
                    f"{self._width}"
                )
            yield number, fields

    def _category(self, field: str, line: int, column: int) -> int:
        """The number of a category: 0 where missing, else its word + 1 (modulo 2**64)."""
        if not _HEXADECIMAL.issuperset(field):
            raise TraceError(
                f"{self.path}: line {line}: {field!r} is not a hexadecimal category "
                f"(column {self.tables[column]!r})"
            )
        return (int(field, 16) + 1) & _MASK if field else 0


class WordsSource:
    """A CSV or TSV of words; `hashed_to`: rows of the table of each column."""

    def __init__(
        self,
        path: Path,
        columns: tuple[str, ...],
        hashed_to: Sizes,
        header: Header = "auto",
    ) -> None:
        self.path = path
        self._layout = layout_of(path, ",", header)
        avazu = self._layout.names[:3] in AVAZU
        beside = [name for name in _AVAZU_BESIDE if name in self._layout.names] if avazu else []
        self._columns, left_out = self._layout.tables(columns, beside, words=True)
        self.tables: tuple[str, ...] = tuple(self._layout.names[c] for c in self._columns)
        self.notes: tuple[str, ...] = (*self._layout.notes, *left_out)
        self._sizes = hashed_to(path, self.tables)

    def pieces(self) -> Iterator[Piece]:
        """The tables take turns, some ten thousand lines each."""
        return _hashed(self._layout.lines(), self._columns, self._sizes, _number_of_word)

    def columns(self) -> None:
        """Text cannot be mapped."""


def _number_of_word(field: str, line: int, column: int) -> int:
    return _digest(field)


@lru_cache(_WORDS)
def _digest(word: str) -> int:
    """64 bits of a word; 0 where there is none."""
    return int.from_bytes(blake2b(word.encode(), digest_size=8).digest()) if word else 0


def _hashed(
    lines: Iterator[tuple[int, list[str]]],
    columns: list[int],
    sizes: tuple[int, ...],
    category: Callable[[str, int, int], int],
) -> Iterator[Piece]:
    """Pieces of hashed `columns`; `category`: the number of a field, by its line and table."""
    block: list[list[int]] = [[] for _ in columns]
    for number, fields in lines:
        for table, index in enumerate(columns):
            block[table].append(category(fields[index], number, table))
        if len(block[0]) == LINES:
            yield from _flush(block, sizes)
    yield from _flush(block, sizes)


def _flush(block: list[list[int]], sizes: tuple[int, ...]) -> Iterator[Piece]:
    for table, (column, rows) in enumerate(zip(block, sizes, strict=True)):
        ids = hash_categories(np.array(column, np.uint64), rows)
        column.clear()
        yield Piece(table, ids)


def hash_categories(categories: npt.NDArray[np.uint64], rows: int) -> Ids:
    """Rows of categories (uint64) in a table of `rows` rows."""
    hashes: npt.NDArray[np.uint64] = mix64(categories)
    return (hashes % np.uint64(rows)).astype(np.int64)
