"""From a trace configuration and the model's shape to a `Trace`."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from simulator.config.trace import (
    FileTraceConfig,
    LocalityTraceConfig,
    SyntheticTraceConfig,
    UniformTraceConfig,
    ZipfTraceConfig,
)
from simulator.errors import TraceError
from simulator.traces.base import Trace
from simulator.traces.cells import Cells, zipf_cells
from simulator.traces.files import open_source
from simulator.traces.pieces import load
from simulator.traces.replay import FileTrace
from simulator.traces.synthetic import Shape, SyntheticTrace

__all__ = ["open_trace"]

_VERSION = 1  # of the generators: raised when the same seed gives other ids


def open_trace(
    config: SyntheticTraceConfig | FileTraceConfig,
    *,
    rows: tuple[int, ...],
    lookups: tuple[int, ...],
    batch_size: int,
    seed: int,
    threads: int = 1,
) -> Trace:
    """The trace that `config` describes, for tables of `rows` rows.

    `lookups`: mean lookups of a sample in each table; `threads`: tables drawn at a time (the ids
    do not depend on it). Raises `TraceError` where a file does not fit the model.
    """
    shape = Shape(tuple(rows), tuple(lookups), batch_size, seed, threads)
    if isinstance(config, FileTraceConfig):
        return _open_file(config, shape)
    identity = _identity(config, shape)
    options: dict[str, Any] = {
        "identity": identity,
        "pooling": config.pooling,
        "correlation": config.correlation,
    }
    if isinstance(config, UniformTraceConfig | ZipfTraceConfig | LocalityTraceConfig):
        alpha = 0.0 if isinstance(config, UniformTraceConfig) else config.alpha
        return SyntheticTrace(shape, _zipf(shape.rows, alpha), **options)
    raise TraceError(f"trace kind {type(config).__name__} has no generator")


def _zipf(rows: tuple[int, ...], alpha: float) -> list[Cells]:
    """One popularity a table, shared between tables of one size."""
    by_rows = {n: zipf_cells(n, alpha) for n in dict.fromkeys(rows)}
    return [by_rows[n] for n in rows]


def _open_file(config: FileTraceConfig, shape: Shape) -> FileTrace:
    source = open_source(config.path, format=config.format, columns=config.columns)
    return FileTrace(
        Path(config.path),
        load(source),
        rows=shape.rows,
        lookups=shape.lookups,
        batch_size=shape.batch_size,
        wrap=config.at_end == "wrap",
    )


def _identity(config: SyntheticTraceConfig, shape: Shape, *data: bytes) -> str:
    """SHA-256 of all that determines the ids (never the number of threads)."""
    facts = {
        "version": _VERSION,
        "config": config.model_dump(mode="json"),
        "rows": shape.rows,
        "lookups": shape.lookups,
        "batch_size": shape.batch_size,
        "seed": shape.seed,
    }
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for part in data:
        digest.update(part)
    return digest.hexdigest()
