"""How a text of fields is laid out: what separates them, whether a header names the columns, and
which columns are tables.

What the text does not say is guessed from its first hundred lines, and the guess is a note. A
reader never guesses what it was told.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Literal

from simulator.errors import TraceError
from simulator.streams import open_text, refusing
from simulator.text import few
from simulator.traces.companions import assign
from simulator.traces.contents import head_lines
from simulator.traces.pieces import numbered

__all__ = ["Header", "Layout", "counts_columns", "delimited_lines", "is_number", "layout_of"]

Header = Literal["auto", "yes", "no"]
"""Whether the first line names the columns."""

_DELIMITERS = {",": "commas", "\t": "tabs", ";": "semicolons", "|": "bars", "::": "double colons"}
_SPACES = " "  # any run of spaces or tabs
_SAMPLE = 100
_REAL = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


@dataclass(frozen=True)
class Layout:
    """Fields of a text: `names` of all columns ("" where a column has none), first to last."""

    path: Path
    delimiter: str
    header: bool
    names: tuple[str, ...]
    sample: tuple[tuple[str, ...], ...]
    """The fields of the first lines after the header."""
    notes: tuple[str, ...]

    def lines(self) -> Iterator[tuple[int, list[str]]]:
        """(line number, fields) of all lines after the header; `TraceError` where one has more or
        fewer fields than there are columns."""
        lines = delimited_lines(self.path, self.delimiter)
        if self.header:
            next(lines, None)
        for number, fields in lines:
            if len(fields) != len(self.names):
                raise TraceError(
                    f"{self.path}: line {number}: {len(fields)} fields, expected {len(self.names)}"
                )
            yield number, fields

    def chosen(self, columns: tuple[str, ...]) -> list[int]:
        """The numbers of the columns called `columns`; `TraceError` where there is none."""
        missing = [name for name in columns if name not in self.names or not name]
        if missing:
            known = few([name for name in self.names if name])
            raise TraceError(f"{self.path}: no column {few(missing)}; it has {known}")
        return [self.names.index(name) for name in columns]

    def tables(
        self, columns: tuple[str, ...], beside: Sequence[str] = (), words: bool = False
    ) -> tuple[list[int], tuple[str, ...]]:
        """The numbers of the columns that are tables, and notes on those left out.

        `columns`: those that are asked for; left out, all but columns without a name, those whose
        name says that they accompany ids (`companions`), those in `beside` and, unless `words` are
        read, those without one whole number in the first lines.
        """
        if columns:
            return self.chosen(columns), ()
        unfit = {
            name: "" if words or not self.sample or self._holds_ids(number) else "no whole numbers"
            for number, name in enumerate(self.names)
        }
        unfit |= dict.fromkeys(beside, "not a category")
        tables, notes = assign(self.path, unfit, rows=True)
        kept = [self.names.index(table.name) for table in tables]
        read = f"; read: {few([table.name for table in tables])}"
        return kept, tuple(note + read for note in notes)

    def _holds_ids(self, column: int) -> bool:
        return any(is_number(row[column]) for row in self.sample if len(row) == len(self.names))


def layout_of(
    path: Path, delimiter: str = ",", header: Header = "auto", what: str = "ids"
) -> Layout:
    """The layout of `path`, where `delimiter` is expected and `what` are the numbers.

    Raises `TraceError` for a text without fields and for two columns of one name.
    """
    lines = [line for line in head_lines(path) if line.strip()]
    found = _delimiter(lines, delimiter)
    rows = [fields for _, fields in islice(delimited_lines(path, found), _SAMPLE)]
    if not rows:
        raise TraceError(f"{path}: holds no {what}")
    notes = []
    if found != delimiter:
        notes.append(f"fields are separated by {_DELIMITERS.get(found, 'spaces')}")
    named, guess = (header == "yes", "") if header != "auto" else _header(rows, lines, what)
    if guess:
        notes.append(guess)
    names = tuple(rows[0]) if named else numbered(len(rows[0]))
    if named and len(rows) > 1 and all(len(row) == len(names) + 1 for row in rows[1:]):
        names = ("", *names)  # R's tables: rows have numbers, their column has no name
    given = [name for name in names if name]
    if len(set(given)) != len(given):
        twice = next(name for name in given if given.count(name) > 1)
        raise TraceError(f"{path}: line 1: two columns have one name, {twice!r}")
    sample = tuple(tuple(row) for row in rows[named:])
    return Layout(path, found, named, names, sample, tuple(notes))


def _delimiter(lines: list[str], expected: str) -> str:
    """`expected` if the first line has it, else what splits all lines into as many fields."""
    if not lines or expected in lines[0]:
        return expected
    for delimiter in _DELIMITERS:
        counts = {line.count(delimiter) for line in lines}
        if len(counts) == 1 and counts != {0}:
            return delimiter
    widths = {len(line.split()) for line in lines}
    numbers = all(is_number(field) for line in lines[1:] for field in line.split())
    if len(lines) > 1 and len(widths) == 1 and widths != {1} and numbers:
        return _SPACES
    return expected


def _header(rows: list[list[str]], lines: list[str], what: str) -> tuple[bool, str]:
    """Whether the first line names the columns, and what to say of that guess."""
    first = rows[0]
    if len(lines) > 1 and '"' in lines[0] and '"' not in lines[1]:
        return True, ""  # names are quoted, numbers are not
    if len(rows) > 1 and not first[0] and rows[1][0]:
        return True, ""  # a data frame's corner above its row numbers
    numbers = [field for field in first if _REAL.fullmatch(field)]
    if len(numbers) < len([field for field in first if field]):
        if first[0].startswith("#"):
            return True, "the first line is taken for names although it begins with #"
        if not numbers:
            return True, ""
        return True, "the first line is taken for names although it has numbers; header: no denies"
    names = f"C1 .. C{len(first)}" if len(first) > 1 else "C1"
    although = ", although it counts the columns" if counts_columns(first) else ""
    return False, (
        f"the first line is taken for {what}, not for names{although}: the columns are called "
        f"{names} (header: yes makes it names)"
    )


def delimited_lines(path: Path, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """(line number from 1, fields without spaces around) of each line that is not empty.

    Raises `TraceError` for a file that cannot be read as such text.
    """
    line = 0
    with refusing(path, after=lambda: f"line {line}" if line else ""), open_text(path) as file:
        for line, fields in _split(file, delimiter):
            stripped = [field.strip() for field in fields]
            if stripped not in ([], [""]):
                yield line, stripped


def _split(file: IO[str], delimiter: str) -> Iterator[tuple[int, list[str]]]:
    if len(delimiter) == 1 and delimiter != _SPACES:
        reader = csv.reader(file, delimiter=delimiter, strict=True)
        for fields in reader:
            yield reader.line_num, fields
        return
    for number, line in enumerate(file, 1):
        yield number, line.split(None if delimiter == _SPACES else delimiter)


def counts_columns(first: Sequence[str]) -> bool:
    """Whether the first line is 0, 1, 2, ...: names that a data frame gives, or ids by chance."""
    return len(first) > 1 and list(first) == [str(i) for i in range(len(first))]


def is_number(field: str) -> bool:
    """Whether `field` is a whole decimal number, maybe negative."""
    digits = field[1:] if field.startswith("-") else field
    return digits.isascii() and digits.isdigit()
