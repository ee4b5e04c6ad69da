"""The steps of a set-associative cache one after the other, for a mini-batch or for many of a past,
compiled.

Sets know nothing of each other. So a past, of which nobody asks what happens to its rows, is played
group of sets by group of sets: all mini-batches of a turn for one of them, whose slots stay in the
processor's caches meanwhile.
"""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import numpy as np
import numpy.typing as npt

from simulator._compiled import compiled
from simulator.caches.plan.associative_kernels import (
    Chains,
    Outcome,
    Slots,
    chain_missing,
    choose_slots,
    count_lookups,
    mark_found,
    swap,
)
from simulator.caches.plan.hashed_sets import Tags, find_sets, probe

__all__ = ["Past", "Room", "Rules", "State", "bring", "limit_of", "look_up", "part_of"]
__all__ += ["play_groups", "room_for", "take"]

Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Bytes = npt.NDArray[np.uint8]


class Rules(NamedTuple):
    """LRU, or LFU; `locked`: mini-batches before the one that is loaded whose rows may not leave
    under LRU."""

    lru: bool
    locked: int


class State(NamedTuple):
    """The slots, `counts` of the lookups of each row (LFU), the chain of each set, and rows that
    were in the cache at any time."""

    slots: Slots
    counts: Int32s
    heads: Int32s
    known: Bytes


class Room(NamedTuple):
    """Arrays for what happens to as many rows as they are long, a place a row but for `victims` and
    `freed`, which come first: see `Outcome`."""

    slots: Int64s
    hit: Bools
    fetched: Bools
    victims: Int64s
    freed: Int64s
    before: Int32s
    fresh: Int32s
    own: Int32s
    links: Int32s
    touched: Int32s


@compiled
def room_for(count: int) -> Room:
    """Room for `count` rows."""
    return Room(
        np.empty(count, np.int64),
        np.empty(count, np.bool_),
        np.empty(count, np.bool_),
        np.empty(count, np.int64),
        np.empty(count, np.int64),
        np.empty(count, np.int32),
        np.empty(count, np.int32),
        np.empty(count, np.int32),
        np.empty(count, np.int32),
        np.empty(count, np.int32),
    )


def part_of(room: Room, part: slice) -> Room:
    """The room for some of the rows."""
    return Room(*(each[part] for each in cast(tuple[Any, ...], room)))


@compiled
def look_up(rows: Tags, times: Int32s, rules: Rules, now: int, state: State, room: Room) -> None:
    """Look distinct `rows` up, looked up `times` each, in mini-batch `now`: those that are found
    get their new marks. Some of a mini-batch may be looked up beside others."""
    cache, counts, _, _ = state
    slots = room.slots[: len(rows)]
    if rules.lru:
        room.before[: len(rows)] = now
        room.fresh[: len(rows)] = now
    else:
        count_lookups(rows, times, counts, room.before, room.fresh)
    find_sets(rows, len(cache.least), room.own)
    probe(rows, room.own, room.before, cache.least, cache.tags, slots)
    for k in range(len(rows)):
        room.hit[k] = slots[k] >= 0
        room.fetched[k] = False
    mark_found(slots, room.fresh, cache.marks)


@compiled
def bring(
    rows: Tags, limit: int, state: State, room: Room, touched: Int32s, out: Outcome
) -> tuple[int, int]:
    """Bring missing `rows` into the sets that were `touched`, whose chains end; returns how many
    came in, and how many had to leave. Some sets may be seen to beside others. `limit`: see
    `choose_slots`."""
    chains = Chains(state.heads, room.links, touched)
    came = choose_slots(rows, room.fresh, limit, state.slots, chains, len(touched), out)
    return came, swap(rows, state.slots.tags, came, out)


@compiled
def limit_of(rules: Rules, now: int) -> int:
    """The highest mark of a slot that mini-batch `now` may take; -1: that depends on the row."""
    return now - 1 - rules.locked if rules.lru else -1


@compiled
def take(
    rows: Tags, times: Int32s, rules: Rules, now: int, state: State, room: Room
) -> tuple[int, int, int]:
    """Load distinct `rows`, looked up `times` each, as mini-batch `now`; returns how many came in,
    how many had to leave, and how many were missing."""
    look_up(rows, times, rules, now, state, room)
    slots = room.slots[: len(rows)]
    chains = Chains(state.heads, room.links, room.touched)
    sets, missing = chain_missing(slots, room.own, room.fresh, state.slots.least, chains)
    out = Outcome(slots, room.fetched, room.victims, room.freed)
    came, left = bring(rows, limit_of(rules, now), state, room, room.touched[:sets], out)
    return came, left, missing


class Past(NamedTuple):
    """Mini-batches one after the other: distinct rows, lookups of each, where those of each
    mini-batch begin, and, counted from there, where those of each group of sets end (`by_set`):
    shape (mini-batches, groups)."""

    rows: Tags
    times: Int32s
    begins: Int64s
    ends: Int32s


@compiled
def play_groups(
    past: Past, first: int, last: int, rules: Rules, now: int, state: State, told: Int64s
) -> None:
    """Load what groups of sets `first` to `last` - 1 have of `past`, whose mini-batches are `now`
    and those that follow; adds what `take` returns of each to `told`, shape (mini-batches, 3)."""
    batches = len(past.begins)
    most = 0
    for batch in range(batches):
        for group in range(first, last):
            begin = past.ends[batch, group - 1] if group else 0
            most = max(most, past.ends[batch, group] - begin)
    room = room_for(most)
    for group in range(first, last):
        for batch in range(batches):
            begin = past.begins[batch] + (past.ends[batch, group - 1] if group else 0)
            end = past.begins[batch] + past.ends[batch, group]
            rows = past.rows[begin:end]
            came, left, missing = take(rows, past.times[begin:end], rules, now + batch, state, room)
            for k in range(len(rows)):
                if room.fetched[k]:
                    state.known[rows[k]] = 1
            told[batch, 0] += came
            told[batch, 1] += left
            told[batch, 2] += missing
