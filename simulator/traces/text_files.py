"""CSV, TSV and texts like them: a column of decimal ids a table, as they stand.

Which columns are tables, and whether the first line names them: `text_layout`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np

from simulator.errors import TraceError
from simulator.traces.base import Ids
from simulator.traces.pieces import MAX_ID, Piece
from simulator.traces.text_layout import Header, is_number, layout_of

__all__ = ["LINES", "TextSource", "number_of"]

LINES = 1 << 15
"""Lines in a block."""
_MOST_DIGITS = 20
"""Of 2**64 - 1."""
_SHOWN = 40


class TextSource:
    """Lines of decimal ids; `delimiter` is what is expected between them."""

    def __init__(
        self,
        path: Path,
        columns: tuple[str, ...] = (),
        delimiter: str = ",",
        header: Header = "auto",
    ) -> None:
        self.path = path
        self._layout = layout_of(path, delimiter, header)
        self._columns, left_out = self._layout.tables(columns)
        self.tables: tuple[str, ...] = tuple(self._layout.names[c] for c in self._columns)
        self.notes: tuple[str, ...] = (*self._layout.notes, *left_out)

    def pieces(self) -> Iterator[Piece]:
        """The tables take turns, some ten thousand lines each."""
        numbers: list[int] = []
        block: list[list[str]] = [[] for _ in self._columns]
        for number, fields in self._layout.lines():
            numbers.append(number)
            for column, index in zip(block, self._columns, strict=True):
                column.append(fields[index])
            if len(numbers) == LINES:
                yield from self._flush(block, numbers)
        yield from self._flush(block, numbers)

    def columns(self) -> None:
        """Text cannot be mapped."""

    def _flush(self, block: list[list[str]], lines: list[int]) -> Iterator[Piece]:
        for table, column in enumerate(block):
            yield Piece(table, self._ids(table, column, lines))
            column.clear()
        lines.clear()

    def _ids(self, table: int, fields: list[str], lines: list[int]) -> Ids:
        digits = "".join(fields)
        if digits.isascii() and digits.isdigit() and "" not in fields and _short(fields):
            return np.array(list(map(int, fields)), np.int64)
        column = f"(column {self.tables[table]!r})"
        numbers = [
            number_of(field, f"{self.path}: line {line}", "id", column)
            for field, line in zip(fields, lines, strict=True)
        ]
        if max(numbers, default=0) <= MAX_ID:
            return np.array(numbers, np.int64)
        negative = next((n for n, number in enumerate(numbers) if number < 0), None)
        if negative is not None:
            where = f"{self.path}: line {lines[negative]}"
            raise TraceError(f"{where}: id {numbers[negative]} is negative {column}")
        return np.array(numbers, np.uint64)


def _short(fields: list[str]) -> bool:
    """Whether no field has so many digits that it could be above 2**63 - 1."""
    return len(max(fields, key=len)) < len(str(MAX_ID))


def number_of(field: str, where: str, what: Literal["id", "count"], column: str) -> int:
    """The whole number in a field; `TraceError` unless it is a count below 2**63, an id below
    2**64.

    Negative numbers are for the caller to refuse.
    """
    shown = field if len(field) <= _SHOWN else f"{field[:_SHOWN]}..."
    if not is_number(field):
        kind = "an id (an integer)" if what == "id" else "a count from 0"
        raise TraceError(f"{where}: {shown!r} is not {kind} {column}")
    digits = field.lstrip("-").lstrip("0") or "0"
    negative = field.startswith("-")
    bits = 64 if what == "id" and not negative else 63
    if len(digits) > _MOST_DIGITS or int(digits) >= 1 << bits:
        reason = "is negative" if negative else f"is above 2**{bits} - 1"
        remedy = " (format words hashes ids of any length)" if bits == 64 else ""
        raise TraceError(f"{where}: {what} {shown} {reason} {column}{remedy}")
    return int(f"-{digits}" if negative else digits)
