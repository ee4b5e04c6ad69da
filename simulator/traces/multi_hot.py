"""One-hot ids of a file as lists of ids, as MLPerf makes the data of DLRM-DCNv2 out of Criteo's.

An id stands for a list of as many ids as its feature makes lookups: itself, and others of its table
that are drawn uniformly, once for the id and the table (MLPerf Training, recommendation_v2:
`multi_hot_distribution_type uniform`). Equal ids have equal lists, so popular ids make the members
of their lists popular. Approximated: members are SplitMix64 hashes of (table, id, place), which is
another stream of random numbers than the published one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from simulator._mix import GOLDEN, mix64
from simulator.errors import TraceError
from simulator.traces.base import Ids, MiniBatch
from simulator.traces.features import even_bags, sample_edges
from simulator.traces.kernels import SAMPLE_SHIFT
from simulator.traces.pieces import CHUNK, Column
from simulator.traces.replay import FileTrace

__all__ = ["MultiHotTrace", "listed"]


def listed(ids: Ids, table: int, rows: int, size: int) -> Ids:
    """The lists of `ids`, int64, shape (ids, `size`), in table number `table` of `rows` rows."""
    lists = np.empty((len(ids), size), np.int64)
    lists[:, 0] = ids
    places = np.arange(1, size, dtype=np.uint64)
    counters = (ids.astype(np.uint64)[:, None] << np.uint64(SAMPLE_SHIFT)) + places
    words = mix64(mix64(np.array([table], np.uint64)) + counters * GOLDEN)
    lists[:, 1:] = (words % np.uint64(rows)).astype(np.int64)
    return lists


class MultiHotTrace(FileTrace):
    """A file whose columns have one id a sample, each of which stands for a list of them."""

    def __init__(
        self,
        path: Path,
        columns: Sequence[Column],
        *,
        lookups: tuple[tuple[int, ...], ...],
        **others: Any,
    ) -> None:
        """`lookups`: lengths of the lists, of each feature of each table; `others`: as of
        `FileTrace`. Raises `TraceError` where samples have bags already."""
        jagged = [column.name for column in columns if column.offsets is not None]
        if jagged:
            raise TraceError(
                f"{path}: table {jagged[0]!r} has bags of its own: trace.multi_hot makes lists out "
                "of one id a sample; leave it out, or read other columns"
            )
        super().__init__(
            path, columns, lookups=tuple((1,) * len(each) for each in lookups), **others
        )
        self._lengths = lookups

    def minibatch(self, index: int) -> MiniBatch:
        """As of `FileTrace`, with a list in place of every id."""
        batch = super().minibatch(index)
        ids = tuple(self._listed(table, own) for table, own in enumerate(batch.ids))
        bags = tuple(even_bags(each, batch.samples) for each in self._lengths)
        offsets = tuple(map(sample_edges, bags, self._lengths))
        return MiniBatch(index, ids, offsets, bags=bags)

    def fingerprint(self) -> str:
        """SHA-256 (hex) over the one-hot ids and the lengths of their lists."""
        whole = f"{super().fingerprint()} {self._lengths}"
        return hashlib.sha256(whole.encode()).hexdigest()

    def _listed(self, table: int, ids: Ids) -> Ids:
        """Lists of ids that come feature by feature within each sample."""
        lengths = self._lengths[table]
        by_feature = ids.reshape(-1, len(lengths)).T
        lists = [
            listed(own, table, self.rows[table], size)
            for own, size in zip(by_feature, lengths, strict=True)
        ]
        return np.concatenate(lists, axis=1).reshape(-1)

    def _counted(self, table: int, end: int) -> Iterator[Ids]:
        features = len(self._lengths[table])
        step = features * max(1, CHUNK // sum(self._lengths[table]))
        for start in range(0, end, step):
            yield self._listed(table, self._rows_of(table, start, min(start + step, end)))
