"""A set-associative cache whose rows may find no slot: FBGEMM's `lru_cache_*` and `lfu_cache_*`.

One pool of `sets` sets of `ways` slots; slot = set x ways + way. A row belongs to the set that its
hash names. Missing rows of a mini-batch go in set by set; a row that finds no slot stays where it
is (a *conflict miss*). Each rule is in plain Python in `caches.reference.associative`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from simulator._compiled import compiled
from simulator.caches.plan.arrays import zeros

__all__ = ["Algorithm", "AssociativeCache", "Loaded", "set_of"]

Algorithm = Literal["lru", "lfu"]
Int64s = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

_FIRST, _SECOND = np.uint64(0xFF51AFD7ED558CCD), np.uint64(0xC4CEB9FE1A85EC53)
_U33 = np.uint64(33)
NEVER = -(1 << 62)
"""Stamp of a free slot: older than any row."""


@compiled
def set_of(row: int, sets: int) -> int:
    """The set of a row: the finaliser of MurmurHash3 (64 bits), modulo the sets."""
    h = np.uint64(row)
    h = (h ^ (h >> _U33)) * _FIRST
    h = (h ^ (h >> _U33)) * _SECOND
    return np.int64((h ^ (h >> _U33)) % np.uint64(sets))  # type: ignore[return-value]


@compiled
def probe(rows: Int64s, tags: Int64s, ways: int, slots: Int64s) -> None:
    """Write the slot of each of `rows`, -1 where it has none; `tags`: row of each slot."""
    sets = len(tags) // ways
    for k in range(len(rows)):
        first = set_of(rows[k], sets) * ways
        slots[k] = -1
        for slot in range(first, first + ways):
            if tags[slot] == rows[k]:
                slots[k] = slot
                break


class Chains(NamedTuple):
    """Positions of missing rows, chained by their set: `heads` (a set each, -1: none), `links` (a
    position each), and the sets that have a chain."""

    heads: Int64s
    links: Int64s
    touched: Int64s


class Outcome(NamedTuple):
    """What a load does: of each row its slot and whether it came in; rows that leave, and from
    where."""

    slots: Int64s
    fetched: Bools
    victims: Int64s
    freed: Int64s


@compiled
def chain_missing(rows: Int64s, slots: Int64s, ways: int, chains: Chains) -> int:
    """Chain the positions of rows without a slot by their set; returns how many sets have some."""
    heads, links, touched = chains
    sets = len(heads)
    count = 0
    for k in range(len(rows)):
        if slots[k] < 0:
            own = set_of(rows[k], sets)
            if heads[own] < 0:
                touched[count] = own
                count += 1
            links[k] = heads[own]
            heads[own] = k
    return count


@compiled
def in_order(keys: Int64s, ties: Int64s, order: Int64s, count: int) -> None:
    """Sort `order[:count]` by key, then tie; both by what it names; few of them."""
    for k in range(1, count):
        moved = order[k]
        at = k
        while at > 0:
            left = order[at - 1]
            if keys[left] < keys[moved]:
                break
            if keys[left] == keys[moved] and ties[left] < ties[moved]:
                break
            order[at] = left
            at -= 1
        order[at] = moved


@compiled
def unchained(own: int, chains: Chains, wanting: Int64s) -> int:
    """Write the positions chained at set `own` to `wanting`, which ends the chain; how many."""
    heads, links, _ = chains
    count = 0
    k = heads[own]
    while k >= 0:
        wanting[count] = k
        count += 1
        k = links[k]
    heads[own] = -1
    return count


@compiled
def insert(
    rows: Int64s,
    ranks: Int64s,
    tags: Int64s,
    marks: Int64s,
    limit: int,
    chains: Chains,
    sets: int,
    out: Outcome,
) -> int:
    """Give missing rows the slots of their set with the lowest mark; returns how many had a row.

    `ranks`: rows go in by rising rank, then number. `marks`: of slots. A row may have a slot whose
    mark is at most `limit` (LRU), or, where `limit` is negative, at most its own negated rank
    (LFU: its count). `sets`: that have a chain.
    """
    ways = len(tags) // len(chains.heads)
    wanting = np.empty(len(rows), np.int64)
    left = 0
    for t in range(sets):
        own = chains.touched[t]
        count = unchained(own, chains, wanting)
        in_order(ranks, rows, wanting, count)
        slot = -1
        for n in range(min(count, ways)):
            slot = next_lowest(marks, own * ways, ways, slot)
            k = wanting[n]
            if marks[slot] > (limit if limit >= 0 else -ranks[k]):
                break
            if tags[slot] >= 0:
                out.victims[left] = tags[slot]
                out.freed[left] = slot
                left += 1
            tags[slot] = rows[k]
            out.slots[k] = slot
            out.fetched[k] = True
    return left


@compiled
def next_lowest(marks: Int64s, first: int, ways: int, last: int) -> int:
    """Of the slots of a set the one with the lowest mark after slot `last` (-1: of all), the lower
    slot where marks are equal."""
    best = -1
    for slot in range(first, first + ways):
        if last >= 0 and (
            marks[slot] < marks[last] or (marks[slot] == marks[last] and slot <= last)
        ):
            continue
        if best < 0 or marks[slot] < marks[best]:
            best = slot
    return best


@compiled
def place(rows: Int64s, ways: int, tags: Int64s, marks: Int64s) -> None:
    """Put each of `rows` into a free slot of its set, where there is one, its mark the lower the
    later it stands."""
    sets = len(tags) // ways
    for k in range(len(rows)):
        first = set_of(rows[k], sets) * ways
        for slot in range(first, first + ways):
            if tags[slot] == rows[k]:
                break
            if tags[slot] < 0:
                tags[slot] = rows[k]
                marks[slot] = -1 - k
                break


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
        self.tags = np.full(sets * ways, -1, np.int64)
        self._stamps = np.full(sets * ways, NEVER, np.int64)  # under LFU counts of their rows
        self._heads = np.full(sets, -1, np.int64)
        self._counts = zeros(rows if algorithm == "lfu" else 0)
        self._known = np.zeros(rows, np.uint8)
        self._now = locked  # so that stamps of what is filled in are below every limit

    @property
    def resident(self) -> int:
        """Slots that hold a row."""
        return int((self.tags >= 0).sum())

    def fill(self, rows: Int64s) -> None:
        """Fill the empty cache with `rows`, the best first, as far as their sets have room."""
        place(rows, self.ways, self.tags, self._stamps)
        held = self.tags[self.tags >= 0]
        if self.algorithm == "lfu":
            self._counts[held] = 1
            self._stamps[self.tags >= 0] = 1
        self._known[held] = 1

    def know_all(self) -> None:
        """No row is new any more."""
        self._known[:] = 1

    def slots_of(self, rows: Int64s) -> Int64s:
        """The slot of each row, -1: none."""
        slots = np.empty(len(rows), np.int64)
        probe(rows, self.tags, self.ways, slots)
        return slots

    def load(self, rows: Int64s, times: Int64s) -> Loaded:
        """Load distinct `rows`, looked up `times` each: int64, shape (rows,)."""
        self._now += 1
        slots = self.slots_of(rows)
        hit = slots >= 0
        if self.algorithm == "lru":
            self._stamps[slots[hit]] = self._now
            ranks, marks = np.zeros(len(rows), np.int64), self._stamps
            limit = self._now - 1 - self._locked
        else:
            self._counts[rows] += times
            ranks, marks, limit = -self._counts[rows], self._stamps, -1
            marks[slots[hit]] = -ranks[hit]
        fetched = np.zeros(len(rows), np.bool_)
        out = Outcome(slots, fetched, *(np.empty(len(rows), np.int64) for _ in range(2)))
        chains = Chains(self._heads, *(np.empty(len(rows), np.int64) for _ in range(2)))
        sets = chain_missing(rows, slots, self.ways, chains)
        left = insert(rows, ranks, self.tags, marks, limit, chains, sets, out)
        if self.algorithm == "lru":
            marks[slots[fetched]] = self._now
        else:
            marks[slots[fetched]] = -ranks[fetched]
            slots = self.slots_of(rows)  # rows of this mini-batch may be victims, too
        new = fetched & (self._known[rows] == 0)
        self._known[rows[fetched]] = 1
        return Loaded(slots, hit, fetched, out.victims[:left], out.freed[:left], new)
