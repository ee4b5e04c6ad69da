"""What files say of themselves from their beginning, before anything is loaded: their bags, for
estimates, and what was guessed about them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import islice
from pathlib import Path

from simulator.config.point import PointConfig
from simulator.config.trace import FileTraceConfig, HistogramTraceConfig
from simulator.errors import TraceError
from simulator.traces.counts import notes_on_counts
from simulator.traces.features import Feeds, require_tables
from simulator.traces.files import open_source
from simulator.traces.pieces import Source

__all__ = ["feeds_of", "mean_lookups", "notes_on", "source_of"]

_PIECES = 64
"""Pieces (about a million ids each) that are looked at."""


def source_of(config: FileTraceConfig, rows: tuple[int, ...]) -> Source:
    """The file that `config` names, opened for tables of `rows` rows. Raises `TraceError`."""
    return open_source(
        config.path,
        format=config.format,
        columns=config.columns,
        tables=config.tables,
        rows=rows,
        header=config.header,
    )


def feeds_of(config: FileTraceConfig, source: Source, features: Sequence[Sequence[int]]) -> Feeds:
    """Which columns of `source` feed which table of a model; `features`: lookups of each feature of
    each table. Raises `TraceError` where the two do not fit."""
    path = Path(config.path)
    feeds = Feeds.of(path, source.tables, config.tables)
    require_tables(path, feeds, source.tables, features)
    return feeds


def mean_lookups(config: FileTraceConfig, rows: tuple[int, ...]) -> Sequence[float | None]:
    """Lookups of a sample in each table, mean over the first bags of the file.

    None for a table some of whose bags are not told there: those are as long as the model says.
    Empty where the file cannot be read or has another number of tables, which opening it will say.
    """
    return _survey(config, rows)[0]


def notes_on(points: Iterable[PointConfig]) -> list[str]:
    """What was guessed about the files that the traces of `points` are read from, or left out of
    them: a sentence each, with the file's name."""
    lines: dict[str, None] = {}
    for point in points:
        trace = point.trace
        if isinstance(trace, FileTraceConfig):
            notes = _survey(trace, point.model.rows_per_table)[1]
        elif isinstance(trace, HistogramTraceConfig):
            notes = _count_notes(trace)
        else:
            continue
        lines |= {f"{trace.path}: {note}": None for note in notes}
    return list(lines)


@lru_cache(maxsize=64)
def _count_notes(config: HistogramTraceConfig) -> tuple[str, ...]:
    try:
        return notes_on_counts(config.path, config.columns, config.header)
    except (OSError, TraceError):
        return ()


_Survey = tuple[Sequence[float | None], tuple[str, ...]]
"""Mean lookups, and notes."""


def _survey(config: FileTraceConfig, rows: tuple[int, ...]) -> _Survey:
    """Empty where the file cannot be read, which opening it will say."""
    try:
        found = Path(config.path).stat()
        return _surveyed(config, rows, found.st_mtime_ns, found.st_size)
    except (OSError, TraceError):
        return (), ()


@lru_cache(maxsize=64)
def _surveyed(config: FileTraceConfig, rows: tuple[int, ...], changed: int, size: int) -> _Survey:
    del changed, size  # another file under the same name
    source = source_of(config, rows)
    feeds = Feeds.of(Path(config.path), source.tables, config.tables)
    return _means(source, feeds, len(rows)), tuple(source.notes)


def _means(source: Source, feeds: Feeds, tables: int) -> Sequence[float | None]:
    if source.columns() is not None or len(feeds.names) != tables:
        return (None,) * (tables if len(feeds.names) == tables else 0)
    bags, lookups = [0] * len(source.tables), [0] * len(source.tables)
    for piece in islice(source.pieces(), _PIECES):
        if piece.lengths is not None:
            bags[piece.table] += len(piece.lengths)
            lookups[piece.table] += int(piece.lengths.sum())
    return tuple(
        sum(lookups[c] / bags[c] for c in own) if all(bags[c] for c in own) else None
        for own in feeds.columns
    )
