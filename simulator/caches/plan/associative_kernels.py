"""The steps of a set-associative cache, compiled: LRU and LFU take the same.

`probe` of `hashed_sets` (the slot of every row), `mark_found`, `chain_missing`, `choose_slots`
(those with the lowest marks of a set), `swap`. A mark is a stamp of the mini-batch (LRU) or the
count of the row's lookups (LFU). Counts only grow, and so does the lowest of a set: a bound of it
(`least`) tells of rows that they are not in, and that they may not come in, without a look at their
set. All state is in 32 bits but for rows of 2**31 on, a mini-batch touches a row's count once, and
memory is asked for ahead of its use.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from simulator._compiled import compiled, prefetch
from simulator.caches.plan.hashed_sets import AHEAD, Tags, ask_for_set, first_slot

__all__ = [
    "MOST",
    "NEVER",
    "NO_CHAIN",
    "Chains",
    "Outcome",
    "Slots",
    "chain_missing",
    "choose_slots",
    "count_lookups",
    "drop_left",
    "know_fetched",
    "mark_found",
    "swap",
]

Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Bytes = npt.NDArray[np.uint8]

MOST = (1 << 31) - 1
"""The highest mark; counts stay there."""
NEVER = -MOST - 1
"""Mark of a free slot: older than any row."""
NO_CHAIN, _END = -1, -2
"""Of a set without a chain, and after the last position of a chain."""
_WAY_BITS = 31
_WAY = (1 << _WAY_BITS) - 1
"""Of a place, which way it is of; marks are in the bits above."""
_TAKEN = 1 << 62
"""Above the place of any slot."""


class Slots(NamedTuple):
    """The row and the mark of each slot, and of each set a mark that none of its rows is below."""

    tags: Tags
    marks: Int32s
    least: Int32s


class Chains(NamedTuple):
    """Positions of missing rows, chained by their set: `heads` (a set each), `links` (a
    position each), and the sets that have a chain."""

    heads: Int32s
    links: Int32s
    touched: Int32s


class Outcome(NamedTuple):
    """What a load does: of each row its slot and whether it came in; rows that leave, and from
    where."""

    slots: Int64s
    fetched: Bools
    victims: Int64s
    freed: Int64s


@compiled
def count_lookups(rows: Tags, times: Int32s, counts: Int32s, before: Int32s, fresh: Int32s) -> None:
    """Add the lookups of a mini-batch to the `counts` of its rows: as they were `before`, and are
    then."""
    for k in range(len(rows)):
        if k + AHEAD < len(rows):
            prefetch(counts, rows[k + AHEAD])
        before[k] = counts[rows[k]]
        counts[rows[k]] = fresh[k] = min(np.int64(before[k]) + times[k], MOST)


@compiled
def mark_found(slots: Int64s, fresh: Int32s, marks: Int32s) -> None:
    """Give slots of rows that were found their `fresh` marks."""
    for k in range(len(slots)):
        if k + AHEAD < len(slots):
            prefetch(marks, slots[k + AHEAD])
        if slots[k] >= 0:
            marks[slots[k]] = fresh[k]


@compiled
def chain_missing(
    slots: Int64s, own: Int32s, fresh: Int32s, least: Int32s, chains: Chains
) -> tuple[int, int]:
    """Chain the positions of rows without a slot that may get one by their set; returns how many
    sets have rows without, in the order of the first of them, and how many rows have none."""
    heads, links, touched = chains
    count = 0
    missing = 0
    for k in range(len(slots)):
        missing += int(slots[k] < 0)
        if slots[k] < 0 and heads[own[k]] == NO_CHAIN:
            heads[own[k]] = _END
            touched[count] = own[k]
            count += 1
        if slots[k] < 0 and fresh[k] >= least[own[k]]:
            links[k] = heads[own[k]]
            heads[own[k]] = k
    return count, missing


@compiled
def in_order(rows: Tags, fresh: Int32s, order: Int32s, count: int) -> None:
    """Sort positions `order[:count]` by falling mark, then by row; few of them."""
    for n in range(1, count):
        moved = order[n]
        at = n
        while at > 0:
            left = order[at - 1]
            if fresh[left] > fresh[moved]:
                break
            if fresh[left] == fresh[moved] and rows[left] < rows[moved]:
                break
            order[at] = left
            at -= 1
        order[at] = moved


@compiled
def unchained(own: int, chains: Chains, wanting: Int32s) -> int:
    """Write the positions chained at set `own` to `wanting`, which ends the chain; how many."""
    heads, links, _ = chains
    count = 0
    k = heads[own]
    while k >= 0:
        wanting[count] = k
        count += 1
        k = links[k]
    heads[own] = NO_CHAIN
    return count


@compiled
def rank_slots(marks: Int32s, own: int, places: Int64s) -> None:
    """Write the places of the slots of a set in the order of their marks, the lower slot first
    where those are equal: mark x 2**31 + way."""
    first = first_slot(own, len(places))
    for way in range(len(places)):
        places[np.uint64(way)] = (np.int64(marks[first + np.uint64(way)]) << _WAY_BITS) | way


@compiled
def lowest(places: Int64s) -> int:
    """The lowest of `places`."""
    least: int = places[0]
    for way in range(len(places)):
        least = min(least, places[np.uint64(way)])
    return least


@compiled
def lowest_mark(marks: Int32s, own: int, ways: int) -> np.int32:
    """The lowest mark of a set."""
    first = first_slot(own, ways)
    least = marks[first]
    for way in range(ways):
        least = min(least, marks[first + np.uint64(way)])
    return least  # type: ignore[no-any-return]


@compiled
def lowest_place(marks: Int32s, own: int, ways: int) -> int:
    """The lowest place of a slot of a set (`rank_slots`)."""
    first = first_slot(own, ways)
    least = np.int64(_TAKEN)
    for way in range(ways):
        least = min(least, (np.int64(marks[first + np.uint64(way)]) << _WAY_BITS) | way)
    return least  # type: ignore[return-value]


@compiled
def choose_slots(
    rows: Tags, fresh: Int32s, limit: int, cache: Slots, chains: Chains, sets: int, out: Outcome
) -> int:
    """Give missing rows the slots of their set with the lowest marks, and those slots the `fresh`
    marks; returns how many rows come in: `out.freed` has their slots, `out.victims` their
    positions.

    Rows go in by falling `fresh` mark, then by number. A row may have a slot whose mark is at most
    `limit`, or, where `limit` is negative, at most its own. `sets`: that have a chain.
    """
    tags, marks, least = cache
    ways = len(tags) // len(least)
    wanting, places = np.empty(len(rows), np.int32), np.empty(ways, np.int64)
    came = 0
    for t in range(sets):
        if t + AHEAD < sets:
            ask_for_set(marks, chains.touched[t + AHEAD], ways)
        own = chains.touched[t]
        count = unchained(own, chains, wanting)
        if count == 0:
            continue
        if limit >= 0 or count == 1:  # slots that were given are beyond the limit
            in_order(rows, fresh, wanting, count)
            for n in range(min(count, ways)):
                k, place = wanting[n], lowest_place(marks, own, ways)
                if place >> _WAY_BITS > (limit if limit >= 0 else fresh[k]):
                    break
                slot = own * ways + (place & _WAY)
                marks[slot] = fresh[k]
                out.freed[came], out.victims[came] = slot, k
                came += 1
        else:
            in_order(rows, fresh, wanting, count)
            rank_slots(marks, own, places)
            for n in range(min(count, ways)):
                place = lowest(places)
                mark, way = place >> _WAY_BITS, place & _WAY
                k = wanting[n]
                if mark > (limit if limit >= 0 else fresh[k]):
                    break
                marks[own * ways + way] = fresh[k]
                places[way] = _TAKEN
                out.freed[came], out.victims[came] = own * ways + way, k
                came += 1
        if limit < 0:
            bound = lowest_mark(marks, own, ways)
            least[own] = max(bound, least[own])  # free slots have no mark
    return came


@compiled
def swap(rows: Tags, tags: Tags, came: int, out: Outcome) -> int:
    """Put the rows that `choose_slots` chose into their slots; returns how many had to leave."""
    left = 0
    for n in range(came):
        if n + AHEAD < came:
            prefetch(tags, out.freed[n + AHEAD])
        slot, k = out.freed[n], out.victims[n]
        out.slots[k] = slot
        out.fetched[k] = True
        out.victims[left] = tags[slot]
        out.freed[left] = slot
        left += int(tags[slot] >= 0)
        tags[slot] = rows[k]
    return left


@compiled
def know_fetched(rows: Tags, fetched: Bools, known: Bytes, new: Bools) -> None:
    """`new`: rows that came in for the first time; all that came in are `known` then."""
    for k in range(len(rows)):
        if k + AHEAD < len(rows) and fetched[k + AHEAD]:
            prefetch(known, rows[k + AHEAD])
        new[k] = fetched[k] and not known[rows[k]]
        if fetched[k]:
            known[rows[k]] = 1


@compiled
def drop_left(rows: Tags, tags: Tags, slots: Int64s) -> None:
    """Take the slots of rows that were found and then had to leave in the same load."""
    for k in range(len(rows)):
        if k + AHEAD < len(rows):
            prefetch(tags, slots[k + AHEAD])
        if slots[k] >= 0 and tags[slots[k]] != rows[k]:
            slots[k] = -1
