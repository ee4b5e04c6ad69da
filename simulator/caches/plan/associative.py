"""A set-associative cache whose rows may find no slot: FBGEMM's `lru_cache_*` and `lfu_cache_*`.

One pool of `sets` sets of `ways` slots; slot = set x ways + way. A row belongs to the set that its
hash names. Missing rows of a mini-batch go in set by set; a row that finds no slot stays where it
is (a *conflict miss*). Each rule is in plain Python in `caches.reference.associative`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from simulator._threads import map_threads, shares
from simulator.caches.plan.arrays import zeros
from simulator.caches.plan.associative_kernels import (
    MOST,
    NEVER,
    NO_CHAIN,
    Chains,
    Outcome,
    Slots,
    chain_missing,
    drop_left,
    know_fetched,
)
from simulator.caches.plan.associative_steps import (
    Past,
    Room,
    Rules,
    State,
    bring,
    limit_of,
    look_up,
    part_of,
    play_groups,
    room_for,
)
from simulator.caches.plan.counted_sets import fill_by_count, note_counts
from simulator.caches.plan.hashed_sets import Tags, by_set, fill, find_sets, group_bits, probe

__all__ = ["Algorithm", "AssociativeCache", "Loaded"]

Algorithm = Literal["lru", "lfu"]
Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


class Loaded(NamedTuple):
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
        self.ways, self.algorithm = ways, algorithm
        self._rules = Rules(algorithm == "lru", locked)
        self.tags: Tags = np.full(sets * ways, -1, np.int32 if rows <= MOST else np.int64)
        marks = np.full(sets * ways, NEVER, np.int32)
        least = np.full(sets, 1 if algorithm == "lfu" else NEVER, np.int32)
        self._state = State(
            Slots(self.tags, marks, least),
            zeros(rows if algorithm == "lfu" else 0, np.int32),
            np.full(sets, NO_CHAIN, np.int32),
            zeros(rows, np.uint8),
        )
        self._spare = room_for(0)
        self._now = locked  # so that stamps of what is filled in are below every limit
        self.resident = 0
        """Slots that hold a row."""

    def fill(self, rows: Int64s, *, all_known: bool = False) -> None:
        """Fill the empty cache with distinct `rows`, the best first, as far as their sets have
        room; these alone, or all rows, are not new any more."""
        marks, known = self._state.slots.marks, self._state.known
        self.resident = fill(rows, self.ways, self.tags, marks)
        if all_known:
            known[:] = 1
        else:
            known[self.tags[self.tags >= 0]] = 1
        if self.algorithm == "lfu":
            self._state.counts[self.tags[self.tags >= 0]] = 1
            marks[self.tags >= 0] = 1

    def note_counts(self, rows: Int64s, first: int, times: npt.NDArray[np.int32]) -> None:
        """Before it is filled: rows of a table were looked up so often, under LFU; `first`: its
        row 0 over all tables."""
        note_counts(rows, first, times, self._state.counts)

    def fill_by_count(self, threads: int = 1) -> None:
        """Fill the empty cache with the rows of each set that have the highest counts; no row is
        new any more."""
        (tags, marks, least), sets = self._state.slots, len(self._state.heads)
        taken = np.zeros(sets, np.int32)
        self.resident = fill_by_count(self._state.counts, self.ways, tags, marks, taken, threads)
        full = taken == self.ways
        least[full] = marks.reshape(sets, self.ways)[full].min(axis=1, initial=MOST)
        self._state.known[:] = 1

    def still_in(self, rows: Tags, loaded: Loaded) -> Int64s:
        """As `slots_of` the rows that the mini-batch before `loaded`. Where they are locked, those
        that had a slot have it, and the others may have come in since."""
        if not (self._rules.lru and self._rules.locked):
            return self.slots_of(rows)
        slots = loaded.slots.copy()
        outside = np.flatnonzero(slots < 0)
        slots[outside] = self.slots_of(rows[outside])
        return slots

    def slots_of(self, rows: Tags) -> Int64s:
        """The slot of each row, -1: none."""
        highest, own = np.full(len(rows), MOST, np.int32), np.empty(len(rows), np.int32)
        slots, least = np.empty(len(rows), np.int64), self._state.slots.least
        rows = rows.astype(self.tags.dtype, copy=False)
        find_sets(rows, len(least), own)
        probe(rows, own, highest, least, self.tags, slots)
        return slots

    def load(self, rows: Tags, times: Tags, threads: int = 1) -> Loaded:
        """Load distinct `rows`, looked up `times` each: whole numbers, shape (rows,).

        `threads` take parts of the rows, and then of the sets; what comes of it does not depend on
        how many.
        """
        self._now += 1
        rows, times = rows.astype(self.tags.dtype, copy=False), times.astype(np.int32, copy=False)
        room, state, rules = self._room(len(rows)), self._state, self._rules
        parts = shares(len(rows), threads)
        rooms = [part_of(room, part) for part in parts]

        def find(number: int) -> None:
            part = parts[number]
            look_up(rows[part], times[part], rules, self._now, state, rooms[number])

        map_threads(find, threads, threads)
        chains = Chains(state.heads, room.links, room.touched)
        sets, _ = chain_missing(room.slots, room.own, room.fresh, state.slots.least, chains)
        victims, freed = self._bring(rows, room, room.touched[:sets], threads)
        new = np.empty(len(rows), np.bool_)

        def tell(number: int) -> None:
            part, own = parts[number], rooms[number]
            know_fetched(rows[part], own.fetched, state.known, new[part])
            if not rules.lru and len(victims):
                drop_left(rows[part], self.tags, own.slots)

        map_threads(tell, threads, threads)
        return Loaded(room.slots, room.hit, room.fetched, victims, freed, new)

    def _room(self, rows: int) -> Room:
        """Room for so many rows: new for what is told of them, else used again."""
        if rows > len(self._spare.own):
            self._spare = room_for(rows)
        bools = np.empty((2, rows), np.bool_)
        return part_of(self._spare, slice(rows))._replace(
            slots=np.empty(rows, np.int64), hit=bools[0], fetched=bools[1]
        )

    def _bring(
        self, rows: Tags, room: Room, touched: Int32s, threads: int
    ) -> tuple[Int64s, Int64s]:
        """Bring missing rows into the sets that were `touched`; who had to leave, and from where,
        in the order of those sets."""
        parts, limit = shares(len(touched), threads), limit_of(self._rules, self._now)

        def bring_in(part: int) -> tuple[int, Int64s]:
            left = np.empty((2, len(rows)), np.int64)
            out = Outcome(room.slots, room.fetched, *left)
            came, gone = bring(rows, limit, self._state, room, touched[parts[part]], out)
            return came - gone, left[:, :gone]

        more, left = zip(*map_threads(bring_in, threads, threads), strict=True)
        self.resident += sum(more)
        victims, freed = np.concatenate(left, axis=1)
        return victims, freed

    def play(self, batches: Sequence[tuple[Tags, Tags]], threads: int = 1) -> list[tuple[int, int]]:
        """Load mini-batches of whom nobody asks what happens to their rows (see `load`): after each
        the slots that hold a row, and how many were missing. Halves of the sets take a thread
        each."""
        past = self._ordered(batches, threads)
        groups, now = past.ends.shape[1], self._now + 1
        self._now += len(batches)

        def play(half: int) -> Int64s:
            told = np.zeros((len(batches), 3), np.int64)
            edges = groups * half // 2, groups * (half + 1) // 2
            play_groups(past, *edges, self._rules, now, self._state, told)
            return told

        outcomes: list[tuple[int, int]] = []
        for came, left, missing in np.sum(map_threads(play, 2, threads), axis=0).tolist():
            self.resident += came - left
            outcomes.append((self.resident, missing))
        return outcomes

    def _ordered(self, batches: Sequence[tuple[Tags, Tags]], threads: int) -> Past:
        """Mini-batches, each in the order of groups of sets."""
        begins = np.cumsum([0, *(len(rows) for rows, _ in batches)])
        sets = len(self._state.heads)
        bits = group_bits(sets)
        past = Past(
            np.empty(begins[-1], self.tags.dtype),
            np.empty(begins[-1], np.int32),
            begins[:-1],
            np.empty((len(batches), ((sets - 1) >> bits) + 1), np.int32),
        )

        def order(batch: int) -> None:
            part = slice(begins[batch], begins[batch + 1])
            into = past.rows[part], past.times[part], past.ends[batch]
            by_set(*batches[batch], sets, bits, *into)

        map_threads(order, len(batches), threads)
        return past
