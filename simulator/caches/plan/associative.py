"""A set-associative cache whose rows may find no slot: FBGEMM's `lru_cache_*` and `lfu_cache_*`.

One pool of `sets` sets of `ways` slots; slot = set x ways + way. A row belongs to the set that its
hash names. Missing rows of a mini-batch go in set by set; a row that finds no slot stays where it
is (a *conflict miss*). Each rule is in plain Python in `caches.reference.associative`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from simulator._threads import map_threads
from simulator.caches.plan.arrays import zeros
from simulator.caches.plan.associative_kernels import (
    MOST,
    NEVER,
    NO_CHAIN,
    Chains,
    Outcome,
    Slots,
    chain_missing,
    choose_slots,
    count_lookups,
    drop_left,
    know_fetched,
    mark_found,
    swap,
)
from simulator.caches.plan.hashed_sets import Tags, by_set, fill, probe

__all__ = ["Algorithm", "AssociativeCache", "Loaded"]

Algorithm = Literal["lru", "lfu"]
Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Loaded:
    """One mini-batch in the cache; arrays over its distinct rows but for the victims.

    `slots`: where each row is served, -1: where it lies. `hit`: it was in the cache; `fetched`: it
    came in; `new`: those of them that were never in before.
    """

    slots: Int64s
    hit: Bools
    fetched: Bools
    victims: Int64s
    freed: Int64s
    new: Bools


class AssociativeCache:
    """The slots. `locked`: mini-batches before the one that is loaded whose rows may not leave."""

    def __init__(
        self, rows: int, sets: int, ways: int, algorithm: Algorithm = "lru", locked: int = 0
    ) -> None:
        self.ways, self.algorithm, self._locked = ways, algorithm, locked
        self.tags: Tags = np.full(sets * ways, -1, np.int32 if rows <= MOST else np.int64)
        marks = np.full(sets * ways, NEVER, np.int32)
        least = np.full(sets, 1 if algorithm == "lfu" else NEVER, np.int32)
        self._slots = Slots(self.tags, marks, least)
        self._heads = np.full(sets, NO_CHAIN, np.int32)
        self._counts = zeros(rows if algorithm == "lfu" else 0, np.int32)
        self._known = zeros(rows, np.uint8)
        self._now = locked  # so that stamps of what is filled in are below every limit
        self.resident = 0
        """Slots that hold a row."""

    def fill(self, rows: Int64s, *, all_known: bool = False) -> None:
        """Fill the empty cache with distinct `rows`, the best first, as far as their sets have
        room; these alone, or all rows, are not new any more."""
        marks = self._slots.marks
        self.resident = fill(rows, self.ways, self.tags, marks)
        if all_known:
            self._known[:] = 1
        else:
            self._known[self.tags[self.tags >= 0]] = 1
        if self.algorithm == "lfu":
            self._counts[self.tags[self.tags >= 0]] = 1
            marks[self.tags >= 0] = 1

    def slots_of(self, rows: Int64s) -> Int64s:
        """The slot of each row, -1: none."""
        highest = np.full(len(rows), MOST, np.int32)
        return self._probed(rows, highest)[0]

    def _probed(self, rows: Int64s, marks: Int32s) -> tuple[Int64s, Int32s]:
        """The slot of each row, and its set; `marks`: see `probe`."""
        slots, own = np.empty(len(rows), np.int64), np.empty(len(rows), np.int32)
        probe(rows, marks, self._slots.least, self.tags, self.ways, slots, own)
        return slots, own

    def load(self, rows: Int64s, times: Int64s) -> Loaded:
        """Load distinct `rows`, looked up `times` each: int64, shape (rows,)."""
        self._now += 1
        hit, out, came, left, _ = self._take(rows, times)
        self.resident += came - left
        new = np.empty(len(rows), np.bool_)
        know_fetched(rows, out.fetched, self._known, new)
        if self.algorithm == "lfu" and left:
            drop_left(rows, self.tags, out.slots)
        return Loaded(out.slots, hit, out.fetched, out.victims[:left], out.freed[:left], new)

    def play(self, rows: Int64s, times: Int64s, threads: int = 1) -> int:
        """Load rows of whom nobody asks what happens to them: how many were missing. Halves of the
        sets know nothing of each other, and take a thread each."""
        ordered, theirs = np.empty((2, len(rows)), np.int64)
        half = by_set(rows, times, len(self._heads), ordered, theirs)
        self._now += 1

        def take(number: int) -> tuple[int, int, int]:
            part = slice(half, None) if number else slice(half)
            own = ordered[part]
            _, out, came, left, missing = self._take(own, theirs[part])
            self._known[own[out.fetched]] = 1
            return came, left, missing

        came, left, missing = map(sum, zip(*map_threads(take, 2, threads), strict=True))
        self.resident += came - left
        return missing

    def _take(self, rows: Int64s, times: Int64s) -> tuple[Bools, Outcome, int, int, int]:
        """Which rows are in, what the others do, rows that come in, that leave, and missing
        ones."""
        lru = self.algorithm == "lru"
        before = fresh = np.full(len(rows), self._now, np.int32)
        if not lru:
            before = np.empty(len(rows), np.int32)
            count_lookups(rows, times, self._counts, before, fresh)
        slots, own = self._probed(rows, before)
        hit, fetched = slots >= 0, np.zeros(len(rows), np.bool_)
        mark_found(slots, fresh, self._slots.marks)
        out = Outcome(slots, fetched, *(np.empty(len(rows), np.int64) for _ in range(2)))
        chains = Chains(self._heads, *(np.empty(len(rows), np.int32) for _ in range(2)))
        sets, missing = chain_missing(slots, own, fresh, self._slots.least, chains)
        limit = self._now - 1 - self._locked if lru else -1
        came = choose_slots(rows, fresh, limit, self._slots, chains, sets, out)
        left = swap(rows, self.tags, came, out)
        return hit, out, came, left, missing
