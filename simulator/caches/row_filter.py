"""What a processor's own cache (CPU last level, GPU L2) catches of a stream of row lookups.

Modelled: LRU over whole rows, fully associative. Approximated: rows compete with nothing else.
Ignored: sets, lines of a row that are evicted one by one, other traffic through the cache.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from simulator._compiled import compiled
from simulator.caches.plan.renumber import Numbering

__all__ = ["row_hits"]

Int64s = npt.NDArray[np.int64]


def row_hits(before: Int64s, lookups: Int64s, capacity: int) -> npt.NDArray[np.bool_]:
    """Which of `lookups` an LRU cache of `capacity` rows holds that has just seen `before`.

    int64 row numbers; returns bool, shape (len(lookups),).
    """
    if capacity < 1 or not len(lookups):
        return np.zeros(len(lookups), np.bool_)
    ids = np.concatenate([before, lookups])
    numbering = Numbering(len(ids))
    dense = numbering.of(ids)
    hits = np.zeros(len(dense), np.bool_)
    mark_hits(dense, np.full(numbering.distinct, -1, np.int64), capacity, hits)
    return hits[len(before) :]


@compiled
def mark_hits(ids: Int64s, last: Int64s, capacity: int, hits: npt.NDArray[np.bool_]) -> None:
    """`last[id]`: position of its last use. An id is resident while that is not behind `oldest`;
    `oldest` walks over positions whose id was used again later."""
    oldest = 0
    resident = 0
    for now in range(len(ids)):
        row = ids[now]
        hit = last[row] >= oldest
        hits[now] = hit
        last[row] = now
        if hit:
            continue
        if resident < capacity:
            resident += 1
            continue
        while last[ids[oldest]] != oldest:
            oldest += 1
        oldest += 1
