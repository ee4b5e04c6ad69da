"""Reuse (LRU stack) distances of a trace: exact, one pass, all cache sizes at once.

The stack distance of a lookup is the number of distinct ids since the last lookup of the same id,
that one included: a lookup hits an LRU cache of C rows if and only if its distance is at most C
(Mattson et al. 1970). Computed in O(n log n) with a Fenwick tree over time (Bennett and Kruskal
1975), compacted so that the tree is proportional to distinct ids, not to lookups.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from simulator._compiled import compiled
from simulator.traces import fenwick
from simulator.traces.base import Ids

__all__ = ["lru_hits", "renumber", "stack_distances_reference", "stack_histogram"]


def stack_histogram(ids: npt.ArrayLike) -> tuple[Ids, int]:
    """(`histogram`, cold): lookups by stack distance, int64, shape (distinct ids + 1,).

    `histogram[d]` lookups have distance d (d = 1 is the same id again at once; element 0 is 0);
    `cold` lookups are the first of their id.
    """
    dense, distinct = renumber(np.asarray(ids))
    histogram = np.zeros(distinct + 1, np.int64)
    _distances(dense, distinct, histogram)
    return histogram, distinct


def lru_hits(ids: npt.ArrayLike) -> Ids:
    """Hits of an LRU cache of C rows at index C, C = 0 .. distinct ids; int64."""
    histogram, _ = stack_histogram(ids)
    return np.cumsum(histogram)


def renumber(ids: npt.NDArray[np.int64]) -> tuple[Ids, int]:
    """(`ids` numbered densely from 0, number of distinct ids)."""
    high = int(ids.max()) if len(ids) else -1
    if 0 <= high < 4 * len(ids) + 1024:  # a table of marks is cheaper than sorting
        used = np.zeros(high + 1, np.int64)
        used[ids] = 1
        distinct = int(used.sum())
        if distinct == high + 1:
            return ids.astype(np.int64, copy=False), distinct
        return (np.cumsum(used) - 1)[ids], distinct
    values, dense = np.unique(ids, return_inverse=True)
    return dense.astype(np.int64, copy=False), len(values)


@compiled
def _distances(ids: Ids, distinct: int, histogram: Ids) -> None:
    """Add each re-use in `ids` (dense) to `histogram` at its distance."""
    room = 2 * distinct + 64
    tree = np.zeros(room + 1, np.int64)
    holder = np.full(room, -1, np.int64)  # the id whose last lookup is at this position
    last = np.full(distinct, -1, np.int64)
    now, live = 0, 0
    for i in range(len(ids)):
        if now == room:
            now = _compact(tree, holder, last)
        x = ids[i]
        position = last[x]
        if position >= 0:
            histogram[live - fenwick.prefix(tree, position)] += 1
            fenwick.add(tree, position, -1)
            holder[position] = -1
        else:
            live += 1
        fenwick.add(tree, now, 1)
        holder[now] = x
        last[x] = now
        now += 1


@compiled
def _compact(tree: Ids, holder: Ids, last: Ids) -> int:
    """Move the live places together, in order; returns the next free one."""
    kept = 0
    for position in range(len(holder)):
        x = holder[position]
        if x >= 0:
            holder[position] = -1
            holder[kept] = x
            last[x] = kept
            kept += 1
    tree[:] = 0
    for i in range(1, len(tree)):
        if i <= kept:
            tree[i] += 1
        above = i + (i & -i)
        if above < len(tree):
            tree[above] += tree[i]
    return kept


def stack_distances_reference(ids: list[int]) -> list[int]:
    """The distance of each lookup by walking a list, 0 where cold: the plain reference."""
    stack: list[int] = []
    distances = []
    for x in ids:
        if x in stack:
            distances.append(len(stack) - stack.index(x))
            stack.remove(x)
        else:
            distances.append(0)
        stack.append(x)
    return distances
