"""S3-FIFO, ARC and 2Q, per lookup: policies that remember ids which they evicted ("ghosts").

Every id is in one queue at most (`queues`), resident or ghost. Queues run from the oldest (or least
recent) to the newest. The hits are those of libcachesim 0.3.5; a class says where it differs.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from simulator._compiled import compiled, inner_kernel, prefetch
from simulator.caches.per_lookup.base import COLD, EVICTIONS, HITS, RESIDENT, LookupCache
from simulator.caches.per_lookup.queues import (
    AHEAD,
    FORGOTTEN,
    SIZE,
    UNSEEN,
    Queues,
    Words,
    empty_queues,
    pop,
    push,
    queue_bits,
)
from simulator.caches.policies.base import PolicySetup
from simulator.caches.policies.s3fifo import GHOST_SHARE, MOST_HITS, MOVE_HITS, SMALL_SHARE

__all__ = ["LookupARC", "LookupS3FIFO", "LookupTwoQ"]

Int64s = npt.NDArray[np.int64]
Int32s = npt.NDArray[np.int32]

SMALL, MAIN, GHOSTS = range(3)
"""Queues of 2Q and S3-FIFO; `GHOSTS`: rows that left the small one."""

HIT_MASK = 3
"""Bits of a word that count hits; `MOST_HITS` fills them."""


class Limits(NamedTuple):
    """Most rows of the queues, and of both resident ones together (`slots`)."""

    small: int
    main: int
    ghosts: int
    slots: int


@inner_kernel
def remember(words: Words, rings: Int32s, spans: Int64s, row: int, ghosts: int) -> None:
    """Make `row` a ghost, the oldest of `ghosts` being forgotten for it."""
    if ghosts == 0:
        words[row] = FORGOTTEN
        return
    if spans[GHOSTS, SIZE] == ghosts:
        words[pop(words, rings, spans, GHOSTS)] = FORGOTTEN
    push(words, rings, spans, row, GHOSTS)


@compiled
def replay_2q(queues: Queues, limits: Limits, ids: Int64s, counts: Int64s) -> None:
    """Replay `ids`; small queue: fetched once, main queue: least recent first."""
    words, rings, spans = queues
    bits = queue_bits(rings, spans)
    last = len(ids) - 1
    hits = 0
    for k in range(len(ids)):
        prefetch(words, ids[min(k + AHEAD, last)])
        row = np.uint64(ids[k])
        word = words[row]
        queue = word >> bits
        if queue == SMALL:
            hits += 1
            continue
        if queue == MAIN:
            hits += 1
            spans[MAIN, SIZE] -= 1
            push(words, rings, spans, row, MAIN)
            continue
        counts[COLD] += word == UNSEEN
        if queue == GHOSTS:
            spans[GHOSTS, SIZE] -= 1
            words[row] = FORGOTTEN
        if spans[SMALL, SIZE] + spans[MAIN, SIZE] == limits.slots:
            counts[EVICTIONS] += 1
            if spans[SMALL, SIZE] > limits.small or spans[MAIN, SIZE] == 0:
                remember(words, rings, spans, pop(words, rings, spans, SMALL), limits.ghosts)
            else:
                words[pop(words, rings, spans, MAIN)] = FORGOTTEN
        push(words, rings, spans, row, MAIN if queue == GHOSTS else SMALL)
    counts[HITS] += hits
    counts[RESIDENT] = spans[SMALL, SIZE] + spans[MAIN, SIZE]


@inner_kernel
def make_room(words: Words, rings: Int32s, spans: Int64s, limits: Limits) -> None:
    """Evict a row of S3-FIFO; rows that were hit move on, or stay for a hit less."""
    while True:
        if spans[MAIN, SIZE] > limits.main or spans[SMALL, SIZE] == 0:
            oldest = pop(words, rings, spans, MAIN)
            hits = words[oldest] & HIT_MASK
            if hits == 0:
                words[oldest] = FORGOTTEN
                return
            push(words, rings, spans, oldest, MAIN)
            words[oldest] += hits - 1
            continue
        while spans[SMALL, SIZE] > 0:
            oldest = pop(words, rings, spans, SMALL)
            if words[oldest] & HIT_MASK < MOVE_HITS:
                remember(words, rings, spans, oldest, limits.ghosts)
                return
            push(words, rings, spans, oldest, MAIN)


@compiled
def replay_s3fifo(queues: Queues, limits: Limits, ids: Int64s, counts: Int64s) -> None:
    """Replay `ids`; the mark of a row: hits since it came in, up to `MOST_HITS`."""
    words, rings, spans = queues
    bits = queue_bits(rings, spans)
    last = len(ids) - 1
    hits = 0
    for k in range(len(ids)):
        prefetch(words, ids[min(k + AHEAD, last)])
        row = np.uint64(ids[k])
        word = words[row]
        queue = word >> bits
        if SMALL <= queue <= MAIN:
            hits += 1
            words[row] = word + (word & HIT_MASK < MOST_HITS)
            continue
        counts[COLD] += word == UNSEEN
        if queue == GHOSTS:
            spans[GHOSTS, SIZE] -= 1
            words[row] = FORGOTTEN
        if spans[SMALL, SIZE] + spans[MAIN, SIZE] == limits.slots:
            make_room(words, rings, spans, limits)
            counts[EVICTIONS] += 1
        early = counts[EVICTIONS] == 0 and spans[SMALL, SIZE] >= limits.small
        push(words, rings, spans, row, MAIN if queue == GHOSTS or early else SMALL)
    counts[HITS] += hits
    counts[RESIDENT] = spans[SMALL, SIZE] + spans[MAIN, SIZE]


T1, T2, B1, B2 = range(4)
"""Queues of ARC: rows looked up once, rows looked up again, and the ghosts of both."""


@inner_kernel
def adapt(target: float, spans: Int64s, queue: int, capacity: int) -> float:
    """The new target size of T1 after a lookup of a ghost in `queue`."""
    once, again = int(spans[B1, SIZE]), int(spans[B2, SIZE])
    if queue == B1:
        return min(target + max(again / once, 1.0), float(capacity))
    return max(target - max(once / again, 1.0), 0.0)


@compiled
def replay_arc(queues: Queues, target: float, capacity: int, ids: Int64s, counts: Int64s) -> float:
    """Replay `ids`; returns the new target size of T1."""
    words, rings, spans = queues
    bits = queue_bits(rings, spans)
    last = len(ids) - 1
    hits = 0
    for k in range(len(ids)):
        prefetch(words, ids[min(k + AHEAD, last)])
        row = np.uint64(ids[k])
        word = words[row]
        queue = word >> bits
        if T1 <= queue <= T2:
            hits += 1
            spans[queue, SIZE] -= 1
            push(words, rings, spans, row, T2)
            continue
        counts[COLD] += word == UNSEEN
        full = spans[T1, SIZE] + spans[T2, SIZE] == capacity
        if queue >= B1:
            target = adapt(target, spans, queue, capacity)
            spans[queue, SIZE] -= 1
            words[row] = FORGOTTEN
        elif full and spans[T1, SIZE] + spans[B1, SIZE] >= capacity:
            if spans[T1, SIZE] < capacity:
                words[pop(words, rings, spans, B1)] = FORGOTTEN
            else:
                words[pop(words, rings, spans, T1)] = FORGOTTEN
                counts[EVICTIONS] += 1
                full = False
        elif full and spans[B1, SIZE] + spans[B2, SIZE] >= capacity:
            words[pop(words, rings, spans, B2)] = FORGOTTEN
        if full:
            once = spans[T1, SIZE]
            at_target = once == target and queue == B2
            first = once > 0 and (once > target or at_target or spans[T2, SIZE] == 0)
            counts[EVICTIONS] += 1
            evicted = pop(words, rings, spans, T1 if first else T2)
            push(words, rings, spans, evicted, B1 if first else B2)
        push(words, rings, spans, row, T2 if queue >= B1 else T1)
    counts[HITS] += hits
    counts[RESIDENT] = spans[T1, SIZE] + spans[T2, SIZE]
    return target


class LookupTwoQ(LookupCache):
    """2Q (Johnson and Shasha, VLDB 1994), the full version: in 25 %, out 50 % of the slots."""

    def __init__(self, setup: PolicySetup, rows: int) -> None:
        super().__init__(setup, rows)
        size = setup.capacity
        self._queues = empty_queues(rows, 3, size)
        self._limits = Limits(int(size * 0.25), size, int(size * 0.5), size)

    def run(self, ids: Int64s, next_use: Int64s | None) -> None:
        replay_2q(self._queues, self._limits, ids, self.counts)


class LookupS3FIFO(LookupCache):
    """S3-FIFO (Yang et al., SOSP 2023): small 10 %, ghosts 90 % of the slots, promoted at 2 hits.

    The small list has one slot at least, also where libcachesim would refuse to cache anything (a
    tenth of the slots below 2).
    """

    def __init__(self, setup: PolicySetup, rows: int) -> None:
        super().__init__(setup, rows)
        size = setup.capacity
        small = max(1, int(size * SMALL_SHARE))
        self._queues = empty_queues(rows, 3, size)
        self._limits = Limits(small, size - small, int(size * GHOST_SHARE), size)

    def run(self, ids: Int64s, next_use: Int64s | None) -> None:
        replay_s3fifo(self._queues, self._limits, ids, self.counts)


class LookupARC(LookupCache):
    """ARC (Megiddo and Modha, FAST 2003), the target in steps that are not rounded."""

    def __init__(self, setup: PolicySetup, rows: int) -> None:
        super().__init__(setup, rows)
        self._queues = empty_queues(rows, 4, 2 * setup.capacity)
        self._target = 0.0

    def run(self, ids: Int64s, next_use: Int64s | None) -> None:
        self._target = replay_arc(self._queues, self._target, self.capacity, ids, self.counts)
