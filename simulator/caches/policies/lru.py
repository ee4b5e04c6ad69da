"""Least recently used: the victim is the row whose last use lies furthest back.

Recency is the batch of the last use, then the order of first occurrence in that batch (the first
to occur is the least recent). Exact, without a linked list: every batch appends its keys to a queue
as one generation, and an entry whose stamp is no longer the key's newest is passed over.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from simulator._compiled import compiled, prefetch
from simulator.caches.plan.arrays import zeros
from simulator.caches.plan.base import Numbers
from simulator.caches.plan.words import AHEAD, PRELOADED, Words, slot_bits
from simulator.caches.policies.base import BatchUse, CompiledPolicy, PolicySetup, Pool

__all__ = ["LRU", "UseQueue"]

Int64s = npt.NDArray[np.int64]
Ring = npt.NDArray[np.int32]


class Generation(NamedTuple):
    """Keys that one batch used: the entries from `head` to `end` of the ring."""

    ring: Ring
    head: int
    end: int
    stamp: int


@compiled
def take_oldest(
    generation: Generation, words: Words, shift: int, chosen: Int64s, got: int
) -> tuple[int, int]:
    """Fill `chosen[got:]` with the slots of entries of a generation that are still current.

    Returns its new head and the number chosen.
    """
    ring, head, end, stamp = generation
    mask, low = len(ring) - 1, slot_bits(shift)
    while got < len(chosen) and head < end:
        prefetch(words, ring[(head + AHEAD) & mask])
        word = np.int64(words[ring[head & mask]])
        slot = word & low
        chosen[got] = slot - 1
        got += int(slot != 0) & int(word >> shift == stamp)
        head += 1
    return head, got


@compiled
def take_filled(
    slot_key: Ring, words: Words, shift: int, filled: int, chosen: Int64s, got: int
) -> tuple[int, int]:
    """As `take_oldest`, of the slots below `filled`, the last one first, whose keys no batch has
    used since they were put there; returns how many of those slots are left and the number
    chosen."""
    while got < len(chosen) and filled > 0:
        filled -= 1
        prefetch(words, slot_key[max(filled - AHEAD, 0)])
        chosen[got] = filled
        got += int(np.int64(words[slot_key[filled]]) >> shift == PRELOADED)
    return filled, got


@compiled
def keep_current(generation: Generation, words: Words, shift: int, n: int) -> int:
    """Move the entries of a generation that still count to place `n` of the ring, at most its
    head, and those after it; returns where they end.

    A key that a later, loaded batch uses again is re-appended when that batch is planned, so an
    entry counts only while its stamp is the newest.
    """
    ring, head, end, stamp = generation
    mask, low = len(ring) - 1, slot_bits(shift)
    for k in range(head, end):
        prefetch(words, ring[(k + AHEAD) & mask])
        word = np.int64(words[ring[k & mask]])
        ring[n & mask] = ring[k & mask]
        n += int(word & low != 0) & int(word >> shift == stamp)
    return n


class UseQueue:
    """Keys in order of their uses, a generation a batch; stale entries are dropped lazily.

    A ring of int32 keys of three to six entries a slot, however long the trace: as many keys as
    there are slots count at most, and as many as that come with a batch. What is stale mostly
    leaves it beside the victims, before it is full.
    """

    def __init__(self, capacity: int) -> None:
        self._ring = zeros(1 << (3 * capacity + 1024).bit_length(), np.int32)
        self._head = 0
        self._generations: deque[tuple[int, int]] = deque()
        """(stamp, end) of each, the oldest first; it begins where the one before ends."""
        self._filled = 0

    def fill(self, count: int) -> None:
        """Slots 0 .. `count` - 1 have keys before the first batch, the least recent in the last:
        a generation that needs no ring, for a slot has that key until it is chosen."""
        self._filled = count

    @property
    def _tail(self) -> int:
        return self._generations[-1][1] if self._generations else self._head

    def append(self, pool: Pool, keys: Numbers, stamp: int) -> None:
        if self._tail - self._head + len(keys) > len(self._ring):
            self._drop_stale(pool)
        if len(keys):
            begin = self._tail & (len(self._ring) - 1)
            fit = min(len(keys), len(self._ring) - begin)
            self._ring[begin : begin + fit] = keys[:fit]
            self._ring[: len(keys) - fit] = keys[fit:]  # on from the beginning
            self._generations.append((stamp, self._tail + len(keys)))

    def _drop_stale(self, pool: Pool) -> None:
        begin = n = self._head
        generations: deque[tuple[int, int]] = deque()
        for stamp, end in self._generations:
            generation = Generation(self._ring, begin, end, stamp)
            before, n = n, keep_current(generation, pool.words, pool.shift, n)
            if n > before:
                generations.append((stamp, n))
            begin = end
        self._generations = generations

    def take(self, pool: Pool, chosen: Int64s) -> int:
        """Fill `chosen` with slots of the least recent keys that are not held, oldest first.

        Returns how many there were; their keys leave the queue.
        """
        got = 0
        if self._filled:
            left = self._filled, chosen, got
            self._filled, got = take_filled(pool.slot_key, pool.words, pool.shift, *left)
        while got < len(chosen) and self._generations:
            stamp, end = self._generations[0]
            if stamp >= pool.horizon:
                break
            generation = Generation(self._ring, self._head, end, stamp)
            self._head, got = take_oldest(generation, pool.words, pool.shift, chosen, got)
            if self._head == end:
                self._generations.popleft()
        return got


class LRU(CompiledPolicy):
    """Least recently used; the policy of the ScratchPipe study."""

    name = "lru"

    def __init__(self, setup: PolicySetup) -> None:
        self._uses = UseQueue(setup.capacity)

    def preload(self, pool: Pool, keys: Numbers) -> None:
        self._uses.fill(len(keys))

    def choose(self, pool: Pool, chosen: Int64s) -> int:
        return self._uses.take(pool, chosen)

    def used(self, pool: Pool, use: BatchUse) -> None:
        self._uses.append(pool, use.keys, pool.stamp)
