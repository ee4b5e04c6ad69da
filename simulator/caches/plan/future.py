"""Which batch uses each row next: what Belady needs to know, one pass back over a finite trace."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from simulator._compiled import compiled
from simulator.caches.plan.hitmap import side_map
from simulator.caches.policies.base import NEVER

__all__ = ["next_uses"]

Int64s = npt.NDArray[np.int64]


@compiled
def look_back(words: Int64s, unique: Int64s, number: int, later: Int64s) -> None:
    """Write to `later[k]` which batch uses `unique[k]` next, or `NEVER`; then note its use here.

    `words[key]` = -1 - (number of the next batch) once a later batch is known to use the key.
    """
    for k in range(len(unique)):
        word = words[unique[k]]
        later[k] = -1 - word if word < 0 else NEVER
        words[unique[k]] = -1 - number


def next_uses(batches: Sequence[Int64s], rows: int, *, first: int = 0) -> list[Int64s]:
    """For each batch, the number of the next batch that uses each of its ids.

    `batches`: distinct int64 ids below `rows`; the first one has number `first`. Each result is
    int64, in the order of the ids; `NEVER` where no later batch uses the id.
    """
    hit_map = side_map(rows)
    later = [np.empty(len(ids), dtype=np.int64) for ids in batches]
    for k in range(len(batches) - 1, -1, -1):
        keys = hit_map.keys(batches[k])
        look_back(hit_map.words, keys, first + k, later[k])
    return later
