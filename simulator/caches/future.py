"""Which batch uses each row next: what Belady needs to know, in two passes over a finite trace."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from simulator._compiled import compiled
from simulator.caches.hitmap import DenseHitMap, HashHitMap, HitMap
from simulator.caches.policy import NEVER
from simulator.errors import TraceError

__all__ = ["next_uses"]

Int64s = npt.NDArray[np.int64]

DENSE_ROWS = 1 << 26
"""Up to this many rows, a word each (512 MiB); beyond, an entry a distinct row."""


@compiled
def first_occurrences(words: Int64s, keys: Int64s, stamp: int, unique: Int64s) -> int:
    """Write the distinct `keys` in order of first occurrence; returns how many, -1 - k if bad."""
    n = 0
    for k in range(len(keys)):
        key = keys[k]
        if key < 0 or key >= len(words):
            return -1 - k
        if words[key] != stamp:
            words[key] = stamp
            unique[n] = key
            n += 1
    return n


@compiled
def look_back(words: Int64s, unique: Int64s, number: int, limit: int, found: Int64s) -> None:
    """`found[k]`: number of the batch that uses `unique[k]` next; then note its use in `number`.

    `words[key]` = -1 - (number of the next batch) once a later batch is known to use the key.
    """
    for k in range(len(unique)):
        word = words[unique[k]]
        found[k] = -1 - word if word < 0 else limit
        words[unique[k]] = -1 - number


def next_uses(batches: Iterable[Int64s], rows: int, *, first: int = 0) -> list[Int64s]:
    """For each batch, the number of the next batch that uses each of its unique ids.

    `batches`: int64 ids below `rows`; the first one has number `first`. Each result is int64, shape
    (unique ids,), in order of first occurrence; `NEVER` where no later batch uses the id. Keeps 8
    bytes for each unique id of each batch.
    """
    hit_map: HitMap = DenseHitMap(rows) if rows <= DENSE_ROWS else HashHitMap(rows)
    uniques = []
    for stamp, ids in enumerate(batches, start=1):
        keys = hit_map.keys(np.ascontiguousarray(ids, dtype=np.int64))
        unique = np.empty(len(keys), dtype=np.int64)
        n = first_occurrences(hit_map.words, keys, stamp, unique)
        if n < 0:
            raise TraceError(f"lookup {-1 - n} of batch {stamp - 1}: id outside of 0..{rows - 1}")
        uniques.append(unique[:n].copy())
    for number in range(len(uniques) - 1, -1, -1):
        found = np.empty_like(uniques[number])
        look_back(hit_map.words, uniques[number], first + number, NEVER, found)
        uniques[number] = found
    return uniques
