"""Sums chosen by the first part of a file, and the file as it is looked up with them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from simulator.config.transform import (
    GraceTransform,
    MerciTransform,
    TransformConfig,
    extra_rows,
    summed,
)
from simulator.errors import TraceError
from simulator.traces.base import Ids, MiniBatch
from simulator.traces.features import sample_edges
from simulator.traces.pieces import Column
from simulator.traces.replay import FileTrace, Place, counted
from simulator.traces.transform.grace import grace_clusters
from simulator.traces.transform.graph import Together
from simulator.traces.transform.merci import merci_clusters
from simulator.traces.transform.space import popular_rows
from simulator.traces.transform.sums import Clusters, Pairs, Sums, with_sums

__all__ = ["File", "fitted", "require_samples", "require_untrained", "transformed"]


class File(NamedTuple):
    """A file that is to be transformed: its mini-batches from the first one on, the names of its
    tables, and the lookups of each feature of each."""

    path: Path
    trace: FileTrace
    names: Sequence[str]
    lookups: Sequence[Sequence[int]]

    @property
    def whole(self) -> int:
        """Its mini-batches."""
        return self.trace.batches or 0


def require_samples(
    path: Path, columns: Sequence[Column], lookups: Sequence[Sequence[int]]
) -> None:
    """Raise `TraceError` where a file does not say which lookups of a table are of one sample;
    `lookups`: of each feature of each table."""
    for column, own in zip(columns, lookups, strict=True):
        if summed(own) and column.offsets is None:
            raise TraceError(
                f"{path}: table {column.name!r} holds ids without samples, which "
                "model.lookups_per_table alone would cut: trace.transform sums what a sample looks "
                "up together, so write bags (lengths, offsets, lists, or (samples, lookups))"
            )


def fitted(file: File, transform: TransformConfig) -> tuple[Sums, ...]:
    """The sums of each table, chosen by the first `train_share` of the mini-batches."""
    rows, until = file.trace.rows, counted(file.whole, transform.train_share)
    extra = extra_rows(rows, file.lookups, transform)
    batches = [file.trace.minibatch(index) for index in range(until)]
    return tuple(
        _chosen(file, table, batches, count, transform) if count else Clusters(rows[table], ())
        for table, count in enumerate(extra)
    )


def _chosen(
    file: File, table: int, batches: Sequence[MiniBatch], extra: int, transform: TransformConfig
) -> Sums:
    """Sums of one table that take `extra` rows at most."""
    bags = ((batch.ids[table], batch.pooled[table]) for batch in batches)
    together = Together.of(bags, f"{file.path}: table {file.names[table]!r}")
    rows = file.trace.rows[table]
    if isinstance(transform, GraceTransform):
        return Clusters(rows, grace_clusters(together, extra, transform))
    if isinstance(transform, MerciTransform):
        return Clusters(rows, merci_clusters(together, extra, transform))
    return Pairs(rows, popular_rows(together, extra))


def transformed(file: File, sums: Sequence[Sums]) -> list[Column]:
    """The tables of all mini-batches with sums in them, in memory (8 bytes an id)."""
    batches = [with_sums(file.trace.minibatch(index), sums) for index in range(file.whole)]
    return [_column(file, table, batches) for table in range(len(sums))]


def _column(file: File, table: int, batches: Sequence[MiniBatch]) -> Column:
    ids = np.concatenate([batch.ids[table] for batch in batches])
    sizes = [np.diff(batch.pooled[table]) for batch in batches]
    bags: Ids = np.concatenate([np.zeros(1, np.int64), np.cumsum(np.concatenate(sizes))])
    own = file.lookups[table]
    if len(own) == 1:
        return Column(file.names[table], ids, bags)
    return Column(file.names[table], ids, sample_edges(bags, own), bags)


def require_untrained(file: File, trace: FileTrace, place: Place, share: float) -> None:
    """Raise `TraceError` where timed mini-batches of `trace` are among the first `share`, by which
    sums were chosen: they would gain more than others."""
    timed = range(place.warmup, place.warmup + place.batches)
    if trace.profiled(share, timed):
        raise TraceError(
            f"{file.path}: trace.transform chooses sums by {counted(file.whole, share)} of "
            f"{file.whole} mini-batches, and the timed ones (run.batches {place.batches}, with "
            f"{place.behind} behind them) do not fit behind: lower run.batches, "
            "trace.transform.train_share or model.batch_size"
        )
