"""S3-FIFO, ARC and 2Q, per lookup: policies that remember ids which they evicted ("ghosts").

Every id is in one list at most, resident or ghost: `links` has a row an id (16 bytes), and the list
it is in is the bucket. Lists run from the oldest (or least recent) to the newest. The hits
are those of libcachesim 0.3.5; a class says where it differs.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from simulator._compiled import compiled
from simulator.caches.per_lookup.base import LookupCache
from simulator.caches.plan.buckets import Ends, Links, append, empty_ends, empty_links, unlink
from simulator.caches.policies.base import PolicySetup

__all__ = ["LookupARC", "LookupS3FIFO", "LookupTwoQ"]

Int64s = npt.NDArray[np.int64]
Sizes = npt.NDArray[np.int64]

NOWHERE, SEEN = -1, -2
"""In place of a list: never seen; seen, and no longer remembered as a ghost."""


@compiled
def move(links: Links, ends: Ends, sizes: Sizes, row: int, to: int) -> None:
    """Put `row` at the end of list `to` (below 0: in none), out of the one it is in."""
    source = links[row, 2]
    if source >= 0:
        unlink(links, ends, row)
        sizes[source] -= 1
    if to >= 0:
        append(links, ends, row, to)
        sizes[to] += 1
    else:
        links[row, 2] = to


@compiled
def replay_2q(
    links: Links, ends: Ends, sizes: Sizes, limits: Sizes, ids: Int64s, counts: Int64s
) -> None:
    """Lists: 0 in (fetched once), 1 main (least recent first), 2 out (ghosts of `in`)."""
    for k in range(len(ids)):
        row = ids[k]
        where = links[row, 2]
        if 0 <= where <= 1:
            counts[0] += 1
            if where == 1:
                move(links, ends, sizes, row, 1)
            continue
        counts[1] += where == NOWHERE
        ghost = where == 2
        if ghost:
            move(links, ends, sizes, row, SEEN)
        if sizes[0] + sizes[1] == limits[3]:
            counts[2] += 1
            if sizes[0] > limits[0] or sizes[1] == 0:
                if sizes[2] == limits[2] and limits[2] > 0:
                    move(links, ends, sizes, ends[2, 0], SEEN)
                move(links, ends, sizes, ends[0, 0], 2 if limits[2] > 0 else SEEN)
            else:
                move(links, ends, sizes, ends[1, 0], SEEN)
        move(links, ends, sizes, row, 1 if ghost else 0)
    counts[3] = sizes[0] + sizes[1]


@compiled
def replay_s3fifo(
    links: Links, ends: Ends, sizes: Sizes, limits: Sizes, ids: Int64s, counts: Int64s
) -> None:
    """Lists: 0 small, 1 main, 2 ghosts of small. Column 3 of `links`: hits since it came in."""
    for k in range(len(ids)):
        row = ids[k]
        where = links[row, 2]
        if 0 <= where <= 1:
            counts[0] += 1
            links[row, 3] += 1
            continue
        counts[1] += where == NOWHERE
        ghost = where == 2
        if ghost:
            move(links, ends, sizes, row, SEEN)
        while sizes[0] + sizes[1] == limits[3]:
            if sizes[1] > limits[1] or sizes[0] == 0:
                oldest = ends[1, 0]
                if links[oldest, 3] > 0:
                    links[oldest, 3] = min(links[oldest, 3], 3) - 1
                    move(links, ends, sizes, oldest, 1)
                    continue
                move(links, ends, sizes, oldest, SEEN)
            else:
                oldest = ends[0, 0]
                if links[oldest, 3] >= 2:
                    links[oldest, 3] = 0
                    move(links, ends, sizes, oldest, 1)
                    # Eviction stays with the small list until a row leaves it for good.
                    while sizes[0] > 0 and links[ends[0, 0], 3] >= 2:
                        links[ends[0, 0], 3] = 0
                        move(links, ends, sizes, ends[0, 0], 1)
                    if sizes[0] == 0:
                        continue
                    oldest = ends[0, 0]
                if sizes[2] == limits[2] and limits[2] > 0:
                    move(links, ends, sizes, ends[2, 0], SEEN)
                move(links, ends, sizes, oldest, 2 if limits[2] > 0 else SEEN)
            counts[2] += 1
        early = counts[2] == 0 and sizes[0] >= limits[0]
        move(links, ends, sizes, row, 1 if ghost or early else 0)
        links[row, 3] = 0
    counts[3] = sizes[0] + sizes[1]


@compiled
def replay_arc(
    links: Links,
    ends: Ends,
    sizes: Sizes,
    target: float,
    capacity: int,
    ids: Int64s,
    counts: Int64s,
) -> float:
    """Lists: 0 T1 (seen once), 1 T2 (seen again), 2 B1, 3 B2 (their ghosts).

    Returns the new target size of T1.
    """
    for k in range(len(ids)):
        row = ids[k]
        where = links[row, 2]
        if 0 <= where <= 1:
            counts[0] += 1
            move(links, ends, sizes, row, 1)
            continue
        counts[1] += where == NOWHERE
        full = sizes[0] + sizes[1] == capacity
        if where >= 2:
            if where == 2:
                target = min(target + max(sizes[3] / sizes[2], 1.0), float(capacity))
            else:
                target = max(target - max(sizes[2] / sizes[3], 1.0), 0.0)
            move(links, ends, sizes, row, SEEN)
        elif full and sizes[0] + sizes[2] >= capacity:
            if sizes[0] < capacity:
                move(links, ends, sizes, ends[2, 0], SEEN)
            else:
                move(links, ends, sizes, ends[0, 0], SEEN)
                counts[2] += 1
                full = False
        elif full and sizes[0] + sizes[1] + sizes[2] + sizes[3] >= 2 * capacity:
            move(links, ends, sizes, ends[3, 0], SEEN)
        if full:
            first = sizes[0] > 0 and (
                sizes[0] > target or (sizes[0] == target and where == 3) or sizes[1] == 0
            )
            counts[2] += 1
            move(links, ends, sizes, ends[0 if first else 1, 0], 2 if first else 3)
        move(links, ends, sizes, row, 1 if where >= 2 else 0)
    counts[3] = sizes[0] + sizes[1]
    return target


class _Listed(LookupCache):
    """An id in one of four lists."""

    def __init__(self, setup: PolicySetup, rows: int) -> None:
        super().__init__(setup, rows)
        self.links = empty_links(rows)
        self.ends = empty_ends(4)
        self.sizes = np.zeros(4, dtype=np.int64)


class LookupTwoQ(_Listed):
    """2Q (Johnson and Shasha, VLDB 1994), the full version: in 25 %, out 50 % of the slots."""

    def __init__(self, setup: PolicySetup, rows: int) -> None:
        super().__init__(setup, rows)
        size = setup.capacity
        self._limits = np.array([int(size * 0.25), 0, int(size * 0.5), size], dtype=np.int64)

    def run(self, ids: Int64s, next_use: Int64s | None) -> None:
        replay_2q(self.links, self.ends, self.sizes, self._limits, ids, self.counts)


class LookupS3FIFO(_Listed):
    """S3-FIFO (Yang et al., SOSP 2023): small 10 %, ghosts 90 % of the slots, promoted at 2 hits.

    The small list has one slot at least, also where libcachesim would refuse to cache anything (a
    tenth of the slots below 2).
    """

    def __init__(self, setup: PolicySetup, rows: int) -> None:
        super().__init__(setup, rows)
        size = setup.capacity
        small = max(1, int(size * 0.1))
        self._limits = np.array([small, size - small, int(size * 0.9), size], dtype=np.int64)

    def run(self, ids: Int64s, next_use: Int64s | None) -> None:
        replay_s3fifo(self.links, self.ends, self.sizes, self._limits, ids, self.counts)


class LookupARC(_Listed):
    """ARC (Megiddo and Modha, FAST 2003), the target in steps that are not rounded."""

    def __init__(self, setup: PolicySetup, rows: int) -> None:
        super().__init__(setup, rows)
        self._target = 0.0

    def run(self, ids: Int64s, next_use: Int64s | None) -> None:
        self._target = replay_arc(
            self.links, self.ends, self.sizes, self._target, self.capacity, ids, self.counts
        )
