"""What a processor's own cache (CPU last level, GPU L2) catches of a stream of row lookups.

Modelled: LRU over whole rows, fully associative. Approximated: rows compete with nothing else.
Ignored: sets, lines of a row that are evicted one by one, other traffic through the cache.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from simulator._compiled import compiled, prefetch
from simulator._mix import hashed
from simulator.caches.plan.arrays import zeros
from simulator.caches.plan.words import AHEAD

__all__ = ["row_hits"]

Int64s = npt.NDArray[np.int64]
Int32s = npt.NDArray[np.int32]


def row_hits(before: Int64s, lookups: Int64s, capacity: int) -> npt.NDArray[np.bool_]:
    """Which of `lookups` an LRU cache of `capacity` rows holds that has just seen `before`.

    int64 row numbers; returns bool, shape (len(lookups),).
    """
    if capacity < 1 or not len(lookups):
        return np.zeros(len(lookups), np.bool_)
    ids = np.concatenate([before, lookups])
    table = zeros(1 << (2 * len(ids) - 1).bit_length(), np.int32)
    hits = np.empty(len(ids), np.bool_)
    mark_hits(ids, capacity, table, np.empty(len(ids), np.int32), hits)
    return hits[len(before) :]


@compiled
def mark_hits(
    ids: Int64s, capacity: int, table: Int32s, homes: Int32s, hits: npt.NDArray[np.bool_]
) -> None:
    """`table`: a power of two of zeros, at least twice as many as `ids`; the position of the last
    use of an id + 1 stands at its home there, which `homes` keeps for every position.

    An id is resident while its last use is not behind `oldest`, which walks over positions whose
    id was used again later.
    """
    mask = len(table) - 1
    oldest = 0
    resident = 0
    for now in range(len(ids)):
        if now + AHEAD < len(ids):
            prefetch(table, hashed(ids[now + AHEAD]) & mask)
        home = hashed(ids[now]) & mask
        while table[home] != 0 and ids[table[home] - 1] != ids[now]:
            home = (home + 1) & mask
        hit = table[home] > oldest
        hits[now] = hit
        homes[now] = home
        table[home] = now + 1
        if hit:
            continue
        if resident < capacity:
            resident += 1
            continue
        while table[homes[oldest]] != oldest + 1:
            oldest += 1
        oldest += 1
