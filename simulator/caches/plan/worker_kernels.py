"""Kernels of caches of several workers over the same rows (`plan.worker_caches`)."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from simulator._compiled import compiled, prefetch
from simulator.caches.plan.buckets import BUCKET, FIRST, append, unlink
from simulator.caches.plan.slot_table import (
    entry_of,
    first_like,
    hashed_tag,
    home_of,
    put,
    slot_of,
    take_out,
)

__all__ = ["HIT_COPY", "MISSING", "OUTDATED", "ROW", "SHARED", "USED"]
__all__ += ["Copies", "Rules", "Touched"]
__all__ += ["add", "assign", "bring", "choose_fewest", "choose_oldest", "deal", "find", "freshest"]
__all__ += ["look_up", "mark", "planned", "push_shared", "score", "stamp"]

Int64s = npt.NDArray[np.int64]
Int32s = npt.NDArray[np.int32]
Int16s = npt.NDArray[np.int16]
Int8s = npt.NDArray[np.int8]
Bools = npt.NDArray[np.bool_]
Numbers = npt.NDArray[Any]
"""Whole numbers of any size."""

HIT_COPY, MISSING, OUTDATED = 0, 1, 2
"""What a worker finds of a row: a copy that is new enough, none, one that is too old."""
ROW, VERSION, USED, UPDATES = range(4)
"""What is kept of a copy: its row, the version that it came with, how many uses its worker had made
before the last one of it, and updates since they were pushed last. Where samples are allocated a
copy has such updates if its worker holds the row (`held_by`), and nobody counts them."""
SHARED = -1
"""In the place of a version: several workers trained the row in this mini-batch."""
_AHEAD = 16
"""Rows between asking for what one needs and using it."""


class Copies(NamedTuple):
    """The cache of one worker."""

    table: Int64s
    """Slots by their rows: see `plan.slot_table`."""
    records: Numbers
    """Shape (slots, 4), or 3 where samples are allocated: see `ROW`."""
    links: Int32s
    """Where uses count: lists of slots by their number, see `plan.buckets`."""
    ends: Int32s


class Rules(NamedTuple):
    """How a worker takes a mini-batch."""

    worker: int
    bound: int
    """Updates that a copy may lack."""
    most: int
    """Updates that a worker may keep to itself."""
    counts: bool
    """Whether uses count (LFU)."""
    tells: bool
    """Whether it is known whose copy is fresh."""


class Touched(NamedTuple):
    """What a worker looks up in a mini-batch: its distinct rows in order of first lookup."""

    row: Int64s
    times: Int64s
    slot: Int32s
    kind: Int8s
    pushed: Int32s
    """Updates that go to the server once it has trained; 0: none. Where samples are allocated, 1:
    some."""
    left: Int64s
    """Rows that left its cache for them with updates, their slots and updates (1: some); shape
    (3, rows)."""


@compiled
def held_by(worker: int) -> int:
    """What stands in the place of a version while the copy of a worker alone is fresh. Nobody else
    asks for the version until that is pushed, and the copy has it."""
    return SHARED - 1 - worker


@compiled
def holder_of(version: int) -> int:
    """The worker whose copy alone is fresh, from 1 on; 0: nobody's."""
    return max(0, SHARED - version)


@compiled
def find(rows: Int64s, copies: Copies, slots: Int32s) -> None:
    """The slot of each of `rows`, -1: none."""
    table, records, flat = copies.table, copies.records, copies.records.reshape(-1)
    fields = records.shape[1]
    for k in range(len(rows) + 2 * _AHEAD):
        if k < len(rows):
            prefetch(table, home_of(rows[k], len(table)))
        near, here = k - _AHEAD, k - 2 * _AHEAD
        if 0 <= near < len(rows):
            slots[near] = first_like(table, hashed_tag(rows[near]))
            prefetch(flat, fields * max(slots[near], 0))
        if here >= 0 and slots[here] >= 0 and records[slots[here], ROW] != rows[here]:
            slots[here] = slot_of(table, records[:, ROW], rows[here])


@compiled
def look_up(clock: int, rules: Rules, version: Numbers, copies: Copies, out: Touched) -> int:
    """Look all of `out.row` up, whose slots were found, and train those that are there, the first
    of them as use number `clock`; returns how many there are."""
    _, bound, most, counts, tells = rules
    records, flat, links, ends = (
        copies.records,
        copies.records.reshape(-1),
        copies.links,
        copies.ends,
    )
    begin, fields = clock, records.shape[1]
    for k in range(len(out.row)):
        if k + _AHEAD < len(out.row):
            prefetch(flat, fields * max(out.slot[k + _AHEAD], 0))
            prefetch(version, out.row[k + _AHEAD])
        row, slot = out.row[k], out.slot[k]
        out.pushed[k] = 0
        if slot < 0:
            out.kind[k] = MISSING
            continue
        if tells and version[row] < 0:
            version[row] = records[slot, VERSION]
        old = version[row] - records[slot, VERSION] > bound
        out.kind[k] = OUTDATED if old else HIT_COPY
        if old:
            records[slot, VERSION] = version[row]
        records[slot, USED] = clock
        clock += 1
        if not tells:
            records[slot, UPDATES] += 1
            updates = records[slot, UPDATES]
            if updates > most:  # its copy is as new as the worker's part
                out.pushed[k] = updates
                records[slot, VERSION] += updates
                records[slot, UPDATES] = 0
        if counts:
            uses = links[slot, BUCKET]
            unlink(links, ends, slot)
            append(links, ends, slot, uses + 1)
    return clock - begin


@compiled
def choose_oldest(
    queue: Int32s, head: int, whens: tuple[int, int], records: Numbers, victims: Int32s, got: int
) -> tuple[int, int]:
    """Fill `victims[got:]` from `queue[head:]`, slots in the order of their uses, those that were
    used since passed over. `whens`: the first use that the order does not know, and the first of
    this mini-batch. Returns how far it came, and how many there are; they count as used now."""
    sorted_at, now = whens
    flat, fields = records.reshape(-1), records.shape[1]
    while got < len(victims) and head < len(queue):
        if head + _AHEAD < len(queue):
            prefetch(flat, fields * queue[head + _AHEAD])
        slot = queue[head]
        if records[slot, USED] < sorted_at:
            records[slot, USED] = now
            victims[got] = slot
            got += 1
        head += 1
    return head, got


@compiled
def choose_fewest(now: int, copies: Copies, victims: Int32s) -> int:
    """Fill `victims` with the slots of the fewest uses, of those the oldest, that were not used
    from use number `now` on; returns how many there are."""
    got, links, ends = 0, copies.links, copies.ends
    for uses in range(len(ends)):
        while got < len(victims):
            slot = ends[uses, FIRST]
            if slot < 0 or copies.records[slot, USED] >= now:
                break
            unlink(links, ends, slot)
            victims[got] = slot
            got += 1
    return got


@compiled
def bring(
    clock: int,
    taken: int,
    rules: Rules,
    version: Numbers,
    copies: Copies,
    victims: Int32s,
    out: Touched,
) -> int:
    """A slot for each row that is missing, from `taken` on, then those of `victims`, which leave;
    trained as use number `clock` and on. Returns how many of them left with updates."""
    worker, _, most, counts, tells = rules
    table, records, links, ends = copies.table, copies.records, copies.links, copies.ends
    size, left, next_victim, far = len(table), 0, 0, 0
    for k in range(len(out.row)):
        if k + _AHEAD < len(out.row) and out.kind[k + _AHEAD] == MISSING:
            prefetch(table, home_of(out.row[k + _AHEAD], size))
            prefetch(version, out.row[k + _AHEAD])
        if out.kind[k] != MISSING:
            continue
        row, slot = out.row[k], taken
        if taken < len(records):
            taken += 1
        else:
            far = min(next_victim + _AHEAD, len(victims) - 1)
            prefetch(table, home_of(records[victims[far], ROW], size))
            slot = victims[next_victim]
            next_victim += 1
            gone = records[slot, ROW]
            if tells:
                updates = np.int64(version[gone] == held_by(worker))
            else:
                updates = np.int64(records[slot, UPDATES])
            take_out(table, hashed_tag(gone), slot)
            if updates > 0:
                out.left[0, left], out.left[1, left], out.left[2, left] = gone, slot, updates
                left += 1
        put(table, entry_of(row, slot))
        out.slot[k] = slot
        pushes = most < 1
        out.pushed[k] = 1 if pushes else 0
        records[slot, ROW], records[slot, USED] = row, clock
        records[slot, VERSION] = version[row] + out.pushed[k]
        if not tells:
            records[slot, UPDATES] = 1 - out.pushed[k]
        clock += 1
        if counts:
            append(links, ends, slot, 1)
    return left


@compiled
def add(version: Numbers, rows: Int64s, updates: Numbers) -> None:
    """The server adds `updates` of distinct or repeated `rows`."""
    for k in range(len(rows)):
        if k + _AHEAD < len(rows):
            prefetch(version, rows[k + _AHEAD])
        version[rows[k]] += updates[k]


@compiled
def stamp(version: Numbers, rows: Int64s, now: int) -> None:
    """The server gets updates of `rows` in mini-batch `now`."""
    for k in range(len(rows)):
        if k + _AHEAD < len(rows):
            prefetch(version, rows[k + _AHEAD])
        version[rows[k]] = now


@compiled
def mark(rows: Int64s, worker: int, version: Numbers) -> None:
    """Note that a worker has trained `rows`, which nobody held before the first of them did."""
    for k in range(len(rows)):
        if k + _AHEAD < len(rows):
            prefetch(version, rows[k + _AHEAD])
        version[rows[k]] = held_by(worker) if version[rows[k]] >= 0 else SHARED


@compiled
def push_shared(rows: Int64s, version: Numbers, pushed: Int32s) -> None:
    """Push rows that several workers trained; all of their copies are old after it."""
    for k in range(len(rows)):
        if k + _AHEAD < len(rows):
            prefetch(version, rows[k + _AHEAD])
        pushed[k] = int(version[rows[k]] == SHARED)


@compiled
def freshest(ids: Int64s, base: int, version: Numbers, out: Numbers) -> None:
    """Whose copy of each of a table's rows is fresh."""
    for k in range(len(ids)):
        if k + _AHEAD < len(ids):
            prefetch(version, ids[k + _AHEAD] + base)
        out[k] = holder_of(version[ids[k] + base])


@compiled
def score(holders: Numbers, edges: Int64s, scores: Int32s) -> None:
    """Count for each sample the lookups of a table whose rows are fresh at each worker."""
    for sample in range(len(edges) - 1):
        for k in range(edges[sample], edges[sample + 1]):
            if holders[k] > 0:
                scores[sample, holders[k] - 1] += 1


@compiled
def assign(scores: Int32s, room: Int64s, first: int, owners: Int16s) -> None:
    """Give each sample in order to the worker with room that has the highest score; ties from
    worker (sample + `first`) modulo workers on."""
    workers = len(room)
    for sample in range(len(scores)):
        best = -1
        for step in range(workers):
            worker = (sample + first + step) % workers
            if room[worker] and (best < 0 or scores[sample, worker] > scores[sample, best]):
                best = worker
        owners[sample] = best
        room[best] -= 1


@compiled
def planned(
    ids: Int64s,
    base: int,
    edges: Int64s,
    owners: Int16s,
    holders: Numbers,
    version: Numbers,
    out: Int64s,
) -> int:
    """Rows of a table that are fresh at one worker and that another looks up next, which nobody
    holds after it: those workers and rows, shape (2, lookups). Returns how many there are."""
    n = 0
    for sample in range(len(edges) - 1):
        for k in range(edges[sample], edges[sample + 1]):
            if holders[k] > 0 and holders[k] - 1 != owners[sample]:
                row = ids[k] + base
                if version[row] < 0:  # the first such lookup
                    out[0, n], out[1, n] = holders[k] - 1, row
                    n += 1
                    version[row] = 0  # until it is pushed
    return n


@compiled
def deal(ids: Int64s, base: int, edges: Int64s, owners: Int16s, ends: Int64s, out: Int64s) -> None:
    """Write the rows of a table to `out`, those of a worker from its place in `ends` on, which
    moves on."""
    for sample in range(len(edges) - 1):
        at = ends[owners[sample]]
        for k in range(edges[sample], edges[sample + 1]):
            out[at] = ids[k] + base
            at += 1
        ends[owners[sample]] = at
