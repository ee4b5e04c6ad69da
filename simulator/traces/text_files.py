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
        return np.array(
            [
                number_of(field, f"{self.path}: line {line}", "id", column)
                for field, line in zip(fields, lines, strict=True)
            ],
            np.int64,
        )


def _short(fields: list[str]) -> bool:
    """Whether no field has so many digits that it could be above 2**63 - 1."""
    return len(max(fields, key=len)) < len(str(MAX_ID))


def number_of(field: str, where: str, what: Literal["id", "count"], column: str) -> int:
    """The whole number in a field; `TraceError` unless it is one below 2**63.

    Negative numbers are for the caller to refuse.
    """
    shown = field if len(field) <= _SHOWN else f"{field[:_SHOWN]}..."
    if not is_number(field):
        kind = "an id (an integer)" if what == "id" else "a count from 0"
        raise TraceError(f"{where}: {shown!r} is not {kind} {column}")
    digits = field.lstrip("-").lstrip("0") or "0"
    if len(digits) > len(str(MAX_ID)) or int(digits) > MAX_ID:
        reason = "is negative" if field.startswith("-") else "is above 2**63 - 1"
        raise TraceError(f"{where}: {what} {shown} {reason} {column}")
    return int(f"-{digits}" if field.startswith("-") else digits)
