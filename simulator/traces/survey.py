"""What a file says of its bags, from its beginning: for estimates, before anything is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import islice
from pathlib import Path

from simulator.config.trace import FileTraceConfig
from simulator.errors import TraceError
from simulator.traces.features import Feeds, require_tables
from simulator.traces.files import open_source
from simulator.traces.pieces import Source

__all__ = ["feeds_of", "mean_lookups", "source_of"]

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
    try:
        found = Path(config.path).stat()
        return _means(config, rows, found.st_mtime_ns, found.st_size)
    except (OSError, TraceError):
        return ()


@lru_cache(maxsize=64)
def _means(
    config: FileTraceConfig, rows: tuple[int, ...], changed: int, size: int
) -> Sequence[float | None]:
    del changed, size  # another file under the same name
    source = source_of(config, rows)
    feeds = Feeds.of(Path(config.path), source.tables, config.tables)
    if source.columns() is not None or len(feeds.names) != len(rows):
        return (None,) * (len(rows) if len(feeds.names) == len(rows) else 0)
    bags, lookups = [0] * len(source.tables), [0] * len(source.tables)
    for piece in islice(source.pieces(), _PIECES):
        if piece.lengths is not None:
            bags[piece.table] += len(piece.lengths)
            lookups[piece.table] += int(piece.lengths.sum())
    return tuple(
        sum(lookups[c] / bags[c] for c in own) if all(bags[c] for c in own) else None
        for own in feeds.columns
    )
