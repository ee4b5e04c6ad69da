"""From a trace configuration and the model's shape to a `Trace`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from simulator.config.trace import (
    CurveTraceConfig,
    DriftTraceConfig,
    FileTraceConfig,
    HistogramTraceConfig,
    LocalityTraceConfig,
    PowerLawTraceConfig,
    SessionTraceConfig,
    StackTraceConfig,
    SyntheticTraceConfig,
    UniformTraceConfig,
    ZipfTraceConfig,
)
from simulator.config.transform import extra_rows
from simulator.config.types import Frozen
from simulator.errors import TraceError
from simulator.traces.base import Trace
from simulator.traces.cells import Cells, counts_cells, curve_cells, power_law_cells, zipf_cells
from simulator.traces.counts import read_counts
from simulator.traces.curves import read_distances, read_popularity
from simulator.traces.id_map import id_maps
from simulator.traces.multi_hot import MultiHotTrace
from simulator.traces.pieces import load
from simulator.traces.replay import FileTrace, Place
from simulator.traces.stack import StackTrace
from simulator.traces.survey import feeds_of, source_of
from simulator.traces.synthetic import Drift, Session, Shape, SyntheticTrace
from simulator.traces.transform.apply import (
    File,
    fitted,
    require_samples,
    require_untrained,
    transformed,
)

__all__ = ["open_trace"]

_VERSION = 2  # of the generators: raised when the same seed gives other ids


def open_trace(
    config: SyntheticTraceConfig | StackTraceConfig | FileTraceConfig,
    *,
    rows: tuple[int, ...],
    lookups: tuple[int | tuple[int, ...], ...],
    batch_size: int,
    seed: int,
    threads: int = 1,
    place: Place | None = None,
) -> Trace:
    """The trace that `config` describes, for tables of `rows` rows.

    With `transform` its tables have more: those for sums (`simulator.config.transform.extra_rows`).
    `lookups`: mean lookups of a sample in each table, or a tuple with those of each feature that
    looks it up; `threads`: tables drawn at a time (the ids
    do not depend on it); `place`: where a run lies in a file (default: at its beginning). Raises
    `TraceError` where a file does not fit the model.
    """
    shape = Shape(tuple(rows), tuple(lookups), batch_size, seed, threads)
    if isinstance(config, FileTraceConfig):
        return _open_file(config, shape, place)
    if isinstance(config, StackTraceConfig):
        return _open_stack(config, shape)
    cells, data = _popularity(config, shape.rows)
    return SyntheticTrace(
        shape,
        cells,
        identity=_identity(config, shape, *data),
        pooling=config.pooling,
        correlation=config.correlation,
        drift=_drift(config),
        session=_session(config),
        scattered=not isinstance(config, PowerLawTraceConfig),
    )


def _popularity(
    config: SyntheticTraceConfig, rows: tuple[int, ...]
) -> tuple[list[Cells], list[bytes]]:
    """The popularity of each table, and the data out of files that it stands on."""
    if isinstance(config, UniformTraceConfig):
        return _by_rows(rows, lambda n: zipf_cells(n, 0.0)), []
    if isinstance(config, PowerLawTraceConfig):
        return _by_rows(rows, lambda n: power_law_cells(n, config.alpha)), []
    if isinstance(config, CurveTraceConfig):
        curve = read_popularity(config.curve, config.path)
        cells = _by_rows(rows, lambda n: curve_cells(curve.fraction, curve.share, n))
        return cells, [curve.fraction.tobytes(), curve.share.tobytes()]
    if isinstance(config, HistogramTraceConfig):
        return _histogram(config, rows)
    if isinstance(
        config, ZipfTraceConfig | LocalityTraceConfig | DriftTraceConfig | SessionTraceConfig
    ):
        alpha = config.alpha
        return _by_rows(rows, lambda n: zipf_cells(n, alpha)), []
    raise TraceError(f"{type(config).__name__} is no trace that can be opened")


def _drift(config: SyntheticTraceConfig) -> Drift | None:
    if not isinstance(config, DriftTraceConfig):
        return None
    return Drift(config.hot_fraction, config.replaced, config.period_batches)


def _session(config: SyntheticTraceConfig) -> Session | None:
    if not isinstance(config, SessionTraceConfig):
        return None
    return Session(config.repeat, config.length, config.concurrent)


def _histogram(
    config: HistogramTraceConfig, rows: tuple[int, ...]
) -> tuple[list[Cells], list[bytes]]:
    columns = read_counts(config.path, config.columns, config.header)
    if len(columns) not in (1, len(rows)):
        raise TraceError(
            f"{config.path}: {len(columns)} columns of counts for {len(rows)} tables: choose one, "
            "or as many as tables, with trace.columns"
        )
    if len(columns) == 1:
        columns *= len(rows)
    cells = []
    for (name, counts), n in zip(columns, rows, strict=True):
        if len(counts) > n:
            raise TraceError(
                f"{config.path}: column {name!r} counts {len(counts)} rows, the table has {n} "
                "(kind `curve` scales a popularity to a table)"
            )
        cells.append(counts_cells(np.append(counts, np.zeros(n - len(counts), np.int64))))
    return cells, [counts.astype("<i8").tobytes() for _, counts in columns]


def _open_stack(config: StackTraceConfig, shape: Shape) -> StackTrace:
    popularity = read_popularity(config.curve, config.path)
    distances = read_distances(config.curve, config.order, config.distances_path)
    data = (popularity.fraction, popularity.share, distances.fraction, distances.hits)
    identity = _identity(config, shape, *(part.tobytes() for part in data))
    ordered = config.order == "real"
    return StackTrace(
        shape,
        popularity,
        distances,
        identity=identity,
        ordered=ordered,
        tolerance=config.tolerance,
    )


def _by_rows(rows: tuple[int, ...], made: Callable[[int], Cells]) -> list[Cells]:
    """One popularity a table, the same for all tables of one size."""
    by_rows = {n: made(n) for n in dict.fromkeys(rows)}
    return [by_rows[n] for n in rows]


def _open_file(config: FileTraceConfig, shape: Shape, place: Place | None) -> FileTrace:
    path, source = Path(config.path), source_of(config, shape.rows)
    feeds = feeds_of(config, source, shape.features)
    folds = config.ids != "error"
    columns = load(source, unsigned=folds)
    read = shape.features
    if config.multi_hot:
        read = tuple((1,) * len(each) for each in shape.features)
    kind = MultiHotTrace if config.multi_hot else FileTrace
    tables = feeds.merged(path, columns, read, None if folds else shape.rows, unsigned=folds)
    as_read = config.transform is None
    trace = kind(
        path,
        tables,
        rows=shape.rows,
        lookups=shape.features,
        batch_size=shape.batch_size,
        wrap=config.at_end == "wrap" and as_read,
        maps=id_maps(config.ids, shape.rows, feeds, columns, path),
        place=place if as_read else None,
    )
    if as_read:
        return trace
    if not config.multi_hot:
        require_samples(path, tables, shape.features)
    return _with_sums(config, shape, File(path, trace, feeds.names, shape.features), place)


def _with_sums(config: FileTraceConfig, shape: Shape, file: File, place: Place | None) -> FileTrace:
    """The file with sums in place of rows that are looked up together."""
    transform = config.transform
    assert transform is not None
    extra = extra_rows(shape.rows, shape.features, transform)
    trace = FileTrace(
        file.path,
        transformed(file, fitted(file, transform)),
        rows=tuple(map(sum, zip(shape.rows, extra, strict=True))),
        lookups=shape.features,
        batch_size=shape.batch_size,
        wrap=config.at_end == "wrap",
        place=place,
    )
    if place is not None:
        require_untrained(file, trace, place, transform.train_share)
    return trace


def _identity(config: Frozen, shape: Shape, *data: bytes) -> str:
    """SHA-256 of all that determines the ids (never the number of threads)."""
    facts = {
        "version": _VERSION,
        "config": config.model_dump(mode="json", exclude={"header", "tolerance"}),
        "rows": shape.rows,
        "lookups": shape.lookups,
        "batch_size": shape.batch_size,
        "seed": shape.seed,
    }
    if shape.shared:
        facts["features"] = shape.features
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for part in data:
        digest.update(part)
    return digest.hexdigest()
