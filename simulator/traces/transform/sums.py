"""Which sums of rows a table stores, and how a mini-batch looks them up.

Rows of a table keep their numbers; sums are the rows behind them. Nothing else changes: the rows
that stand in the sums of a bag, and how often, are those that it looked up before, so that what is
pooled is the same. Equal ids of a bag are taken one after the other: a sum holds a row once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import numpy.typing as npt

from simulator.traces.base import Ids, MiniBatch
from simulator.traces.features import sample_edges

__all__ = ["Clusters", "Groups", "Pairs", "Sums", "with_sums"]


@dataclass(frozen=True, slots=True)
class Groups:
    """Lookups that one row takes the place of.

    `lookups`: int64, which of those at hand, group by group; `starts`: int64, shape (groups,),
    where each begins in them; `rows`: int64, shape (groups,), what is looked up instead.
    """

    lookups: Ids
    starts: Ids
    rows: Ids


class Sums(Protocol):
    """The sums that a table stores."""

    @property
    def used(self) -> int:
        """Rows that they take."""
        ...

    def groups(self, ids: Ids, bag: Ids) -> Groups:
        """What one row stands for among lookups `ids`, each in bag number `bag`."""
        ...

    def members(self, row: int) -> tuple[int, ...]:
        """Rows whose sum row number `row` holds; of a row of the table that row itself."""
        ...


def with_sums(batch: MiniBatch, sums: Sequence[Sums]) -> MiniBatch:
    """`batch` with a lookup of a sum in place of lookups of the rows in it; `sums`: of each table.

    The sum stands where the first of them stood.
    """
    tables = [_changed(*each) for each in zip(batch.ids, batch.pooled, sums, strict=True)]
    ids, edges = zip(*tables, strict=True)
    if batch.bags is None:
        return MiniBatch(batch.index, ids, edges)
    features = [(len(own) - 1) // batch.samples for own in edges]
    offsets = tuple(
        sample_edges(own, range(count)) for own, count in zip(edges, features, strict=True)
    )
    return MiniBatch(batch.index, ids, offsets, bags=edges)


def _changed(ids: Ids, edges: Ids, sums: Sums) -> tuple[Ids, Ids]:
    """(ids, edges of bags) of a table after."""
    groups = sums.groups(ids, np.repeat(np.arange(len(edges) - 1), np.diff(edges)))
    if not len(groups.starts):
        return ids, edges
    kept = np.ones(len(ids), bool)
    kept[groups.lookups] = False
    first = np.minimum.reduceat(groups.lookups, groups.starts)
    kept[first] = True
    changed = ids.copy()
    changed[first] = groups.rows
    before = np.concatenate([np.zeros(1, np.int64), np.cumsum(kept)])
    return changed[kept], before[edges]


@dataclass(frozen=True)
class Clusters:
    """Disjoint clusters of rows, of which the sums of all subsets are stored.

    `rows`: of the table. One of c rows stores 2**c - 1 - c sums; those of a subset are found by the
    bit mask of its members.
    """

    rows: int
    clusters: tuple[tuple[int, ...], ...]

    @property
    def used(self) -> int:
        """Rows that the sums take."""
        return int(self._starts[-1])

    def groups(self, ids: Ids, bag: Ids) -> Groups:
        """One group for the rows of a cluster in a bag, as often as a row of it occurs again."""
        items, owner, bit = self._items
        lookups, at = _among(ids, items)
        owner, bit, bag = owner[at], bit[at], bag[lookups]
        again = _repeats(bit, owner, bag)
        order = np.lexsort((again, owner, bag))
        starts = _starts(again[order], owner[order], bag[order])
        masks = np.add.reduceat(1 << bit[order], starts) if len(starts) else starts
        several = np.diff(starts, append=len(order)) > 1
        sums = self.rows + self._starts[owner[order[starts]]] + _rank(masks)
        rows = np.where(several, sums, ids[lookups[order[starts]]])
        return Groups(lookups[order], starts, rows)

    def members(self, row: int) -> tuple[int, ...]:
        """Rows whose sum row number `row` holds."""
        if row < self.rows:
            return (row,)
        number = int(np.searchsorted(self._starts, row - self.rows, side="right")) - 1
        wanted, cluster = row - self.rows - int(self._starts[number]), self.clusters[number]
        masks = np.arange(2 ** len(cluster))
        masks = masks[(masks & (masks - 1)) > 0]
        return tuple(item for bit, item in enumerate(cluster) if masks[wanted] >> bit & 1)

    @cached_property
    def _starts(self) -> Ids:
        """Sums before those of each cluster, and of all."""
        sizes = np.array([len(cluster) for cluster in self.clusters], np.int64)
        return np.concatenate([np.zeros(1, np.int64), np.cumsum(2**sizes - 1 - sizes)])

    @cached_property
    def _items(self) -> tuple[Ids, Ids, Ids]:
        """(rows in clusters, sorted; the cluster of each; its bit there)."""
        flat = [
            (item, number, bit)
            for number, cluster in enumerate(self.clusters)
            for bit, item in enumerate(cluster)
        ]
        items, owner, bit = np.array(sorted(flat), np.int64).reshape(-1, 3).T
        return items, owner, bit


@dataclass(frozen=True)
class Pairs:
    """The sums of all pairs of `popular` rows, the most popular first; `rows`: of the table."""

    rows: int
    popular: tuple[int, ...]

    @property
    def used(self) -> int:
        """Rows that the sums take."""
        return len(self.popular) * (len(self.popular) - 1) // 2

    def groups(self, ids: Ids, bag: Ids) -> Groups:
        """Popular rows of a bag by their rank: the first with the second, the third with the
        fourth. One that is left over stays alone."""
        items, ranks = self._items
        lookups, at = _among(ids, items)
        rank, bag = ranks[at], bag[lookups]
        again = _repeats(rank, bag)
        order = np.lexsort((rank, again, bag))
        rank = rank[order]
        begins = _starts(again[order], bag[order])
        sizes = np.diff(begins, append=len(order))
        within = np.arange(len(order)) - np.repeat(begins, sizes)
        last = np.repeat(begins + sizes, sizes) - 1
        first = np.flatnonzero((within % 2 == 0) & (np.arange(len(order)) < last))
        high = rank[first + 1]
        rows = self.rows + high * (high - 1) // 2 + rank[first]
        pairs = np.stack([order[first], order[first + 1]], axis=1).reshape(-1)
        return Groups(lookups[pairs], np.arange(len(first)) * 2, rows)

    def members(self, row: int) -> tuple[int, ...]:
        """Rows whose sum row number `row` holds."""
        if row < self.rows:
            return (row,)
        number, high = row - self.rows, 1
        while high * (high + 1) // 2 <= number:
            high += 1
        return self.popular[number - high * (high - 1) // 2], self.popular[high]

    @cached_property
    def _items(self) -> tuple[Ids, Ids]:
        """(popular rows, sorted; the rank of each, from 0)."""
        items = np.array(self.popular, np.int64)
        order = np.argsort(items)
        return items[order], order.astype(np.int64)


def _among(ids: Ids, items: Ids) -> tuple[Ids, Ids]:
    """(numbers of the lookups of `items`, which of them each looks up); `items` are sorted."""
    if not len(items):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    at = np.minimum(np.searchsorted(items, ids), len(items) - 1)
    lookups = np.flatnonzero(items[at] == ids)
    return lookups, at[lookups]


def _repeats(*keys: Ids) -> Ids:
    """How many with the same keys come before each, int64."""
    order = np.lexsort(keys)
    starts = _starts(*(key[order] for key in keys))
    sizes = np.diff(starts, append=len(order))
    again = np.empty(len(order), np.int64)
    again[order] = np.arange(len(order)) - np.repeat(starts, sizes)
    return again


def _starts(*keys: Ids) -> Ids:
    """Where runs of equal keys begin, int64."""
    if not len(keys[0]):
        return np.empty(0, np.int64)
    new: npt.NDArray[np.bool_] = np.any([np.diff(key) != 0 for key in keys], axis=0)
    return np.flatnonzero(np.concatenate([np.ones(1, bool), new]))


def _rank(masks: Ids) -> Ids:
    """How many masks of two bits and more are below each of `masks`."""
    return masks - 1 - np.frexp(masks - 1)[1]
