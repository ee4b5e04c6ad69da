"""Options of the trace verbs that say what a trace file is, and the file opened as they say."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from simulator.cli.numbers import MOST_ROWS
from simulator.errors import UsageError
from simulator.text import quoted
from simulator.units import whole_number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from simulator.traces.features import Feeds
    from simulator.traces.pieces import Source

__all__ = [
    "Asked",
    "Columns",
    "Files",
    "Format",
    "HeaderLine",
    "Sizes",
    "Tables",
    "Unchecked",
    "feeds_of",
    "numbers",
    "opened",
]

_FORMATS = (
    "npy, npz, parquet, csv, tsv, words, criteo, meta or oracle; left out, by content and name"
)
Files = Annotated[
    list[Path],
    typer.Argument(
        metavar="FILE...",
        help="A trace file, its parts in order, a folder of parts, or - (standard input).",
        show_default=False,
    ),
]
Columns = Annotated[
    list[str] | None, typer.Option("--column", help="A table of the file (may be repeated).")
]
Tables = Annotated[
    list[str] | None,
    typer.Option(
        "--table", help="COLUMN=TABLE: columns of one table (may be repeated).", metavar="C=T"
    ),
]
Format = Annotated[str, typer.Option("--format", help=f"Format of the file: {_FORMATS}.")]
HeaderLine = Annotated[
    Literal["auto", "yes", "no"],
    typer.Option("--header", help="Whether the first line of text names the columns."),
]
Sizes = Annotated[
    str, typer.Option("--sizes", help="Rows to hash words (criteo, words) to: N or N,N,...")
]
Unchecked = Annotated[
    bool,
    typer.Option("--unchecked", help="Take any 24-byte records for oracleGeneral's."),
]


@dataclass(frozen=True)
class Asked:
    """What the command line says of a file."""

    format: str
    columns: list[str] | None
    tables: list[str] | None
    header: Literal["auto", "yes", "no"]
    sizes: str
    unchecked: bool


def opened(files: list[Path], asked: Asked) -> Source:
    """The trace in `files`; what was guessed about it goes to standard error."""
    from simulator.traces.files import FORMATS, open_source

    if asked.format not in ("auto", *FORMATS):
        raise UsageError(f"--format {asked.format}: expected one of {', '.join(FORMATS)}")
    columns = tuple(asked.columns or ())
    source = open_source(
        files[0] if len(files) == 1 else files,
        format=asked.format,
        columns=columns,
        tables=_tables(asked.tables or ()),
        sizes=_sizes(asked.sizes),
        header=asked.header,
        unchecked=asked.unchecked,
    )
    for note in source.notes:
        typer.echo(f"note: {source.path}: {note}", err=True)
    return source


def feeds_of(source: Source, asked: Asked) -> Feeds:
    """Which columns of a file feed which table, as `--table` says."""
    from simulator.traces.features import Feeds

    return Feeds.of(source.path, source.tables, _tables(asked.tables or ()))


def _tables(options: Sequence[str]) -> dict[str, str]:
    """The table of each column that was said to feed one."""
    tables: dict[str, str] = {}
    for option in options:
        column, equals, table = option.rpartition("=")
        if not (column and equals and table):
            raise UsageError(f"--table {option}: expected COLUMN=TABLE, as in last_items=items")
        if tables.setdefault(column, table) != table:
            raise UsageError(f"--table {option}: {column} feeds table {tables[column]} already")
    return tables


def _sizes(text: str) -> tuple[int, ...] | None:
    """One number for all tables or one for each; None where nothing is given."""
    return numbers(text, text.count(",") + 1, "--sizes")


def numbers(text: str, count: int, option: str, most: int = MOST_ROWS) -> tuple[int, ...] | None:
    """`count` numbers from 1 to `most` out of "N" or "N,N,..."; None where nothing is given."""
    if not text:
        return None
    given = f"{option} {quoted(text)[1:-1]}"
    try:
        values = tuple(whole_number(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"{given}: expected N or N,N,...") from None
    if len(values) == 1:
        values *= count
    if len(values) != count or min(values) < 1:
        raise UsageError(f"{given}: expected {count:,} numbers from 1, or one for all")
    if max(values) > most:
        raise UsageError(f"{given}: {max(values):,} is more than {most:,}, the most that it may be")
    return values
