"""S3-FIFO, ARC and 2Q, per lookup: policies that remember ids which they evicted ("ghosts").

Every id is in one list at most, resident or ghost: `links` has a row an id (16 bytes), and the list
it is in is the bucket. Lists run from the oldest (or least recent) to the newest. The hits
are those of libcachesim 0.3.5; a class says where it differs.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from simulator._compiled import compiled
from simulator.caches.per_lookup.base import COLD, EVICTIONS, HITS, RESIDENT, LookupCache
from simulator.caches.plan.buckets import (
    BUCKET,
    FIRST,
    MARK,
    CountedLists,
    empty_counted_lists,
    move,
)
from simulator.caches.policies.base import PolicySetup
from simulator.caches.policies.s3fifo import GHOST_SHARE, MOST_HITS, MOVE_HITS, SMALL_SHARE

__all__ = ["LookupARC", "LookupS3FIFO", "LookupTwoQ"]

Int64s = npt.NDArray[np.int64]
Int32s = npt.NDArray[np.int32]

UNSEEN, FORGOTTEN = -1, -2
"""In place of a list: never looked up; looked up, and no longer remembered as a ghost."""

SMALL, MAIN, GHOSTS = range(3)
"""Lists of 2Q and S3-FIFO; `GHOSTS`: rows that left the small one."""


class Limits(NamedTuple):
    """Most rows of the lists, and of both resident ones together (`slots`)."""

    small: int
    main: int
    ghosts: int
    slots: int


@compiled
def replay_2q(lists: CountedLists, limits: Limits, ids: Int64s, counts: Int64s) -> None:
    """Replay `ids`; small list: fetched once, main list: least recent first."""
    links, ends, sizes = lists
    evicted = GHOSTS if limits.ghosts > 0 else FORGOTTEN
    for k in range(len(ids)):
        row = ids[k]
        bucket = links[row, BUCKET]
        if SMALL <= bucket <= MAIN:
            counts[HITS] += 1
            if bucket == MAIN:
                move(links, ends, sizes, row, MAIN)
            continue
        counts[COLD] += bucket == UNSEEN
        if bucket == GHOSTS:
            move(links, ends, sizes, row, FORGOTTEN)
        if sizes[SMALL] + sizes[MAIN] == limits.slots:
            counts[EVICTIONS] += 1
            if sizes[SMALL] > limits.small or sizes[MAIN] == 0:
                if sizes[GHOSTS] == limits.ghosts and limits.ghosts > 0:
                    move(links, ends, sizes, ends[GHOSTS, FIRST], FORGOTTEN)
                move(links, ends, sizes, ends[SMALL, FIRST], evicted)
            else:
                move(links, ends, sizes, ends[MAIN, FIRST], FORGOTTEN)
        move(links, ends, sizes, row, MAIN if bucket == GHOSTS else SMALL)
    counts[RESIDENT] = sizes[SMALL] + sizes[MAIN]


@compiled
def replay_s3fifo(lists: CountedLists, limits: Limits, ids: Int64s, counts: Int64s) -> None:
    """Replay `ids`; the mark of a row: hits since it came in."""
    links, ends, sizes = lists
    evicted = GHOSTS if limits.ghosts > 0 else FORGOTTEN
    for k in range(len(ids)):
        row = ids[k]
        bucket = links[row, BUCKET]
        if SMALL <= bucket <= MAIN:
            counts[HITS] += 1
            links[row, MARK] += 1
            continue
        counts[COLD] += bucket == UNSEEN
        if bucket == GHOSTS:
            move(links, ends, sizes, row, FORGOTTEN)
        while sizes[SMALL] + sizes[MAIN] == limits.slots:
            if sizes[MAIN] > limits.main or sizes[SMALL] == 0:
                oldest = ends[MAIN, FIRST]
                hits = links[oldest, MARK]
                if hits > 0:
                    links[oldest, MARK] = min(hits, MOST_HITS) - 1
                    move(links, ends, sizes, oldest, MAIN)
                    continue
                move(links, ends, sizes, oldest, FORGOTTEN)
                counts[EVICTIONS] += 1
            else:
                while sizes[SMALL] > 0:
                    oldest = ends[SMALL, FIRST]
                    if links[oldest, MARK] < MOVE_HITS:
                        if sizes[GHOSTS] == limits.ghosts and limits.ghosts > 0:
                            move(links, ends, sizes, ends[GHOSTS, FIRST], FORGOTTEN)
                        move(links, ends, sizes, oldest, evicted)
                        counts[EVICTIONS] += 1
                        break
                    links[oldest, MARK] = 0
                    move(links, ends, sizes, oldest, MAIN)
        early = counts[EVICTIONS] == 0 and sizes[SMALL] >= limits.small
        move(links, ends, sizes, row, MAIN if bucket == GHOSTS or early else SMALL)
        links[row, MARK] = 0
    counts[RESIDENT] = sizes[SMALL] + sizes[MAIN]


T1, T2, B1, B2 = range(4)
"""Lists of ARC: rows looked up once, rows looked up again, and the ghosts of both."""


@compiled
def adapt(target: float, sizes: Int64s, bucket: int, capacity: int) -> float:
    """The new target size of T1 after a lookup of a ghost in list `bucket`."""
    if bucket == B1:
        target = min(target + max(sizes[B2] / sizes[B1], 1.0), float(capacity))
    else:
        target = max(target - max(sizes[B1] / sizes[B2], 1.0), 0.0)
    return target


@compiled
def replay_arc(
    lists: CountedLists, target: float, capacity: int, ids: Int64s, counts: Int64s
) -> float:
    """Replay `ids`; returns the new target size of T1."""
    links, ends, sizes = lists
    for k in range(len(ids)):
        row = ids[k]
        bucket = links[row, BUCKET]
        if T1 <= bucket <= T2:
            counts[HITS] += 1
            move(links, ends, sizes, row, T2)
            continue
        counts[COLD] += bucket == UNSEEN
        full = sizes[T1] + sizes[T2] == capacity
        if bucket >= B1:
            target = adapt(target, sizes, bucket, capacity)
            move(links, ends, sizes, row, FORGOTTEN)
        elif full and sizes[T1] + sizes[B1] >= capacity:
            if sizes[T1] < capacity:
                move(links, ends, sizes, ends[B1, FIRST], FORGOTTEN)
            else:
                move(links, ends, sizes, ends[T1, FIRST], FORGOTTEN)
                counts[EVICTIONS] += 1
                full = False
        elif full and sizes.sum() >= 2 * capacity:
            move(links, ends, sizes, ends[B2, FIRST], FORGOTTEN)
        if full:
            once = sizes[T1] > 0 and (
                sizes[T1] > target or (sizes[T1] == target and bucket == B2) or sizes[T2] == 0
            )
            counts[EVICTIONS] += 1
            move(links, ends, sizes, ends[T1 if once else T2, FIRST], B1 if once else B2)
        move(links, ends, sizes, row, T2 if bucket >= B1 else T1)
    counts[RESIDENT] = sizes[T1] + sizes[T2]
    return target


class LookupTwoQ(LookupCache):
    """2Q (Johnson and Shasha, VLDB 1994), the full version: in 25 %, out 50 % of the slots."""

    def __init__(self, setup: PolicySetup, rows: int) -> None:
        super().__init__(setup, rows)
        size = setup.capacity
        self._lists = empty_counted_lists(rows, 3)
        self._limits = Limits(int(size * 0.25), size, int(size * 0.5), size)

    def run(self, ids: Int64s, next_use: Int64s | None) -> None:
        replay_2q(self._lists, self._limits, ids, self.counts)


class LookupS3FIFO(LookupCache):
    """S3-FIFO (Yang et al., SOSP 2023): small 10 %, ghosts 90 % of the slots, promoted at 2 hits.

    The small list has one slot at least, also where libcachesim would refuse to cache anything (a
    tenth of the slots below 2).
    """

    def __init__(self, setup: PolicySetup, rows: int) -> None:
        super().__init__(setup, rows)
        size = setup.capacity
        small = max(1, int(size * SMALL_SHARE))
        self._lists = empty_counted_lists(rows, 3)
        self._limits = Limits(small, size - small, int(size * GHOST_SHARE), size)

    def run(self, ids: Int64s, next_use: Int64s | None) -> None:
        replay_s3fifo(self._lists, self._limits, ids, self.counts)


class LookupARC(LookupCache):
    """ARC (Megiddo and Modha, FAST 2003), the target in steps that are not rounded."""

    def __init__(self, setup: PolicySetup, rows: int) -> None:
        super().__init__(setup, rows)
        self._lists = empty_counted_lists(rows, 4)
        self._target = 0.0

    def run(self, ids: Int64s, next_use: Int64s | None) -> None:
        self._target = replay_arc(self._lists, self._target, self.capacity, ids, self.counts)
