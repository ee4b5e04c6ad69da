"""What sums of rows do to a trace, before any model or machine: lookups before and after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from simulator.config.transform import TransformConfig, extra_rows
from simulator.errors import TraceError
from simulator.traces.pieces import Column
from simulator.traces.replay import FileTrace, counted
from simulator.traces.transform.apply import File, fitted
from simulator.traces.transform.sums import with_sums

__all__ = ["Effect", "effects"]

_BATCHES = 100
"""Pieces that the samples of a file are cut into: the training part is some of them."""


@dataclass(frozen=True, slots=True)
class Effect:
    """What sums do to a table: lookups of the samples behind the training part, a mean each."""

    table: str
    rows: int
    """Rows of the table."""
    extra_rows: int
    """Rows that sums may take."""
    sums: int
    """Rows that they take."""
    before: float
    """Lookups of a sample."""
    after: float
    """The same with a lookup of a sum in place of those of the rows in it."""

    def as_dict(self) -> dict[str, Any]:
        """The facts as JSON has them."""
        return asdict(self)


def effects(
    path: Path,
    columns: Sequence[Column],
    features: Sequence[int],
    rows: Sequence[int] | None,
    transform: TransformConfig,
) -> list[Effect]:
    """What `transform` does to each table of a file; `features`: that look each up; `rows`: of each
    table, left out: up to the highest id.

    Raises `TraceError` where no sample looks up several rows of a table, or samples are too few.
    """
    file = _file(path, columns, features, rows or _highest(columns))
    sums = fitted(file, transform)
    until = counted(file.whole, transform.train_share)
    if until >= file.whole:
        raise TraceError(f"{path}: too few samples to choose sums by some and look at others")
    rest = [file.trace.minibatch(index) for index in range(until, file.whole)]
    lookups = [[len(ids) for ids in batch.ids] for batch in rest]
    changed = [[len(ids) for ids in with_sums(batch, sums).ids] for batch in rest]
    samples = sum(batch.samples for batch in rest)
    before, after = (np.sum(each, axis=0) / samples for each in (lookups, changed))
    extra = extra_rows(file.trace.rows, file.lookups, transform)
    return [
        Effect(name, file.trace.rows[t], extra[t], sums[t].used, float(before[t]), float(after[t]))
        for t, name in enumerate(file.names)
    ]


def _file(
    path: Path, columns: Sequence[Column], features: Sequence[int], rows: Sequence[int]
) -> File:
    """The file in so many pieces; features of a table whose bags are longer than one have several
    lookups, others one."""
    several = [_sums_anything(column) for column in columns]
    if not any(several):
        raise TraceError(
            f"{path}: no sample looks up several rows of a table, so there is nothing to sum: "
            "write bags (lengths, offsets, lists, or (samples, lookups))"
        )
    lookups = tuple(
        ((2,) if more else (1,)) * count for more, count in zip(several, features, strict=True)
    )
    samples = min(
        len(column.ids) // count if column.offsets is None else len(column.offsets) - 1
        for column, count in zip(columns, features, strict=True)
    )
    size = max(1, samples // _BATCHES)
    trace = FileTrace(path, columns, rows=tuple(rows), lookups=lookups, batch_size=size)
    return File(path, trace, [column.name for column in columns], lookups)


def _sums_anything(column: Column) -> bool:
    edges = column.offsets if column.bags is None else column.bags
    return edges is not None and int(np.diff(edges).max(initial=0)) > 1


def _highest(columns: Sequence[Column]) -> list[int]:
    """Rows of tables that just hold the ids of a file."""
    return [int(column.ids.max(initial=0)) + 1 for column in columns]
