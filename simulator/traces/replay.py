"""Mini-batches out of a file: ids in their order, cut into samples.

A run starts so far behind the beginning that its timed mini-batches come after what a profile has
counted, or as late as the file allows (`Place`). What lies before is its past.

Where the file says which ids belong to a sample (offsets) those bags are used; otherwise every
sample takes the model's lookups per table. Nothing is resampled: the last, partial mini-batch is
left out, and with `wrap` the file starts again from its first mini-batch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from simulator.config.trace import HALF
from simulator.errors import TraceError
from simulator.traces.analysis import has_time_order
from simulator.traces.base import Bags, Ids, MiniBatch
from simulator.traces.features import even_bags, sample_edges
from simulator.traces.id_map import IdMap
from simulator.traces.pieces import CHUNK, Column, check_ids, integers

__all__ = ["FileTrace", "Place"]

_ORDER_IDS = 200_000
_COUNTED_ROWS = 8 * CHUNK  # up to here adding counters is cheaper than sorting ids


@dataclass(frozen=True, slots=True)
class Place:
    """Where a run lies in a file: its timed mini-batches after the first `share` of it, and
    `behind` them those that keep a pipeline full, as far as the file has them."""

    share: float
    warmup: int
    batches: int
    behind: int = 0

    def first(self, whole: int, wrap: bool) -> int:
        """The first mini-batch of the run, of `whole` ones in the file."""
        wanted = counted(whole, self.share) - self.warmup
        latest = whole if wrap else whole - self.warmup - self.batches - self.behind
        return max(0, min(wanted, latest))


def counted(whole: int, share: float) -> int:
    """Mini-batches in the first `share` of a file of `whole` ones: at least one."""
    return max(1, int(share * whole))


class FileTrace:
    """The tables of a file as a `Trace`; they must be as many as the model's and fit its rows.

    `lookups`: of a sample in each table, or a tuple with those of each of its features; `maps`: how
    the ids of each table become rows, None where they are rows.
    """

    def __init__(
        self,
        path: Path,
        columns: Sequence[Column],
        *,
        rows: tuple[int, ...],
        lookups: tuple[int | tuple[int, ...], ...],
        batch_size: int,
        wrap: bool = False,
        place: Place | None = None,
        maps: Sequence[IdMap | None] = (),
    ) -> None:
        self._path, self._columns, self._rows = path, tuple(columns), rows
        self._features = tuple(each if isinstance(each, tuple) else (each,) for each in lookups)
        self._lookups = tuple(map(sum, self._features))
        self._batch_size, self._wrap = batch_size, wrap
        whole = [
            (len(c.ids) // n if c.offsets is None else len(c.offsets) - 1) // batch_size
            for c, n in zip(columns, self._lookups, strict=True)
        ]
        self._whole = min(whole)
        if self._whole == 0:
            short = columns[int(np.argmin(whole))]
            raise TraceError(
                f"{path}: table {short.name!r} has {len(short.ids)} ids, fewer than one mini-batch "
                f"of {batch_size} samples needs"
            )
        self._first = 0 if place is None else place.first(self._whole, wrap)
        self._maps = tuple(maps) or (None,) * len(rows)

    @property
    def rows(self) -> tuple[int, ...]:
        """Rows of each table."""
        return self._rows

    @property
    def batches(self) -> int | None:
        """Whole mini-batches in the file from the first one on; None with `wrap`."""
        return None if self._wrap else self._whole - self._first

    @property
    def past(self) -> int | None:
        """Mini-batches of the file before the first one; None with `wrap`."""
        return None if self._wrap else self._first

    @cached_property
    def bags(self) -> Bags | None:
        """Mean and most lookups over the whole mini-batches; None where the file has no bags."""
        if all(column.offsets is None for column in self._columns):
            return None
        means, most = zip(*map(self._bags, range(len(self._columns))), strict=True)
        return Bags(means, most)

    def _bags(self, table: int) -> tuple[float, int]:
        size, offsets = self._batch_size, self._columns[table].offsets
        if offsets is None:
            return self._lookups[table], size * self._lookups[table]
        edges = offsets[: self._whole * size + 1 : size]
        return float(edges[-1] - edges[0]) / (self._whole * size), int(np.diff(edges).max())

    @cached_property
    def has_time_order(self) -> bool:
        """Whether the LRU curve of some table differs from that of a shuffle of its ids, over
        (at most) its first 200,000 ids."""
        tables = range(len(self._columns))
        return any(
            has_time_order(self._rows_of(table, 0, _ORDER_IDS, check=False)) for table in tables
        )

    def minibatch(self, index: int) -> MiniBatch:
        """Mini-batch number `index`; `TraceError` past an end and for ids outside the table."""
        number = self._first + index
        if not (self._wrap or 0 <= number < self._whole):
            raise TraceError(
                f"{self._path}: mini-batch {number} is asked for, the file has {self._whole} "
                "(trace.at_end: wrap starts it again)"
            )
        tables = [self._table(t, number % self._whole) for t in range(len(self._columns))]
        ids, bags = zip(*tables, strict=True)
        if all(len(each) == 1 for each in self._features):
            return MiniBatch(index, ids, bags)
        offsets = tuple(map(sample_edges, bags, self._features))
        return MiniBatch(index, ids, offsets, bags=bags)

    def profiled(self, share: float, batches: range) -> float:
        """Share of mini-batches number `batches` that a profile of the first `share` of the file
        counts."""
        until = counted(self._whole, share)
        numbers = (self._first + np.array(batches, np.int64)) % self._whole
        return float(np.mean(numbers < until)) if len(numbers) else 0.0

    def hottest(self, table: int, count: int, share: float = HALF) -> Ids:
        """The `count` most accessed rows of the first `share` of the file, in whole mini-batches
        (1: of all there is); ties by lower id."""
        counts = np.zeros(self._rows[table], np.int64)
        for chunk in self._counted(table, self._profile_end(table, share)):
            if len(counts) <= _COUNTED_ROWS:
                counts += np.bincount(chunk, minlength=len(counts))
            else:
                touched, times = np.unique(chunk, return_counts=True)
                counts[touched] += times
        return np.argsort(-counts, kind="stable")[:count].astype(np.int64, copy=False)

    def _counted(self, table: int, end: int) -> Iterator[Ids]:
        """Rows of the first `end` ids of a table, in pieces."""
        for start in range(0, end, CHUNK):
            yield self._rows_of(table, start, min(start + CHUNK, end))

    def fingerprint(self) -> str:
        """SHA-256 (hex) over the ids, the bags and how they are cut."""
        lookups = tuple(
            0 if column.offsets is not None else each[0] if len(each) == 1 else each
            for each, column in zip(self._features, self._columns, strict=True)
        )
        digest = hashlib.sha256(
            repr((self._rows, lookups, self._batch_size, self._wrap, self._first)).encode()
        )
        for table, column in enumerate(self._columns):
            digest.update(str(len(column.ids)).encode())
            for start in range(0, len(column.ids), CHUNK):
                ids = self._rows_of(table, start, start + CHUNK, check=False)
                digest.update(ids.astype("<i8").tobytes())
            edges = column.offsets if column.bags is None else column.bags
            if edges is not None:
                digest.update(str(len(edges)).encode())
                digest.update(edges.astype("<i8").tobytes())
        return digest.hexdigest()

    def _table(self, table: int, index: int) -> tuple[Ids, Ids]:
        """Ids of a mini-batch, and the edges of the bags of all features."""
        column, features = self._columns[table], self._features[table]
        size = self._batch_size * len(features)
        if column.offsets is None:
            edges = even_bags(features, self._batch_size)
            first = index * int(edges[-1])
        else:
            bags = column.offsets if column.bags is None else column.bags
            edges = bags[index * size : (index + 1) * size + 1]
            first = int(edges[0])
            edges = edges - first
        return self._rows_of(table, first, first + int(edges[-1])), edges

    def _profile_end(self, table: int, share: float) -> int:
        """Lookups of `table` that a profile of the first `share` counts."""
        if share >= 1.0:
            return len(self._columns[table].ids)
        samples = counted(self._whole, share) * self._batch_size
        offsets = self._columns[table].offsets
        return samples * self._lookups[table] if offsets is None else int(offsets[samples])

    def _rows_of(self, table: int, start: int, stop: int, *, check: bool = True) -> Ids:
        """Row numbers of lookups `start` to `stop` - 1 of the file, int64.

        Raises `TraceError` for negative ids and, where ids are taken as they are, for those outside
        of the table; then `check` may be false where others than those of a run are looked at.
        """
        ids, change = self._columns[table].ids[start:stop], self._maps[table]
        where = f"{self._path}: table {self._columns[table].name!r}"
        if change is None:
            if check:
                check_ids(ids, self._rows[table], where, start)
            return np.ascontiguousarray(ids, np.int64)
        check_ids(ids, None, where, start, unsigned=True)
        return change(integers(ids, where))
