"""Kernels of caches of several workers over the same rows (`plan.worker_caches`)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from simulator._compiled import compiled, prefetch
from simulator.caches.plan.buckets import BUCKET, FIRST, append, unlink

__all__ = ["HIT_COPY", "MISSING", "OUTDATED", "Copies", "Moved", "Seen", "Touched"]
__all__ += ["assign", "bring", "look_up", "push_old", "push_planned", "push_shared", "score"]
__all__ += ["train"]

Int64s = npt.NDArray[np.int64]
Int32s = npt.NDArray[np.int32]
Int16s = npt.NDArray[np.int16]
Int8s = npt.NDArray[np.int8]
Bools = npt.NDArray[np.bool_]

HIT_COPY, MISSING, OUTDATED = 0, 1, 2
"""What a worker finds of a row: a copy that is new enough, none, one that is too old."""
_AHEAD = 16
"""Lookups between asking for what one needs and using it."""


class Seen(NamedTuple):
    """Rows that were looked up."""

    number: Int32s
    """Of each row, from 1 on; 0: never looked up. Shape (rows,)."""
    row: Int64s
    """Of each number less 1."""
    version: Int32s
    """Updates that reached the server."""
    users: Int32s
    """Scratch: zero between calls."""
    holder: Int32s
    """The worker whose copy alone is fresh, -1: nobody's, where samples are allocated."""
    place: Int32s
    """Shape (numbers, workers): the slot, -1: none, below: one that is being looked for."""


class Copies(NamedTuple):
    """Slots of all workers; shape (workers, slots)."""

    row: Int32s
    """Number of the row less 1."""
    version: Int32s
    updates: Int32s
    """Since they were pushed last."""
    stamp: Int32s
    """Mini-batch that touched it last."""
    event: Int32s
    """Its place in what that mini-batch touched."""
    links: Int32s
    """Shape (workers, slots, 4): lists of slots, see `plan.buckets`."""
    ends: Int32s
    """Shape (workers, lists, 2): one list from the oldest to the newest (LRU), or one for every
    number of uses (LFU)."""
    taken: Int32s
    """Shape (workers,): slots that were taken."""


class Moved(NamedTuple):
    """Copies of workers, each with its row (over all tables) and its slot."""

    worker: Int16s
    row: Int64s
    slot: Int64s

    def part(self, chosen: Bools | Int32s | slice) -> Moved:
        """Some of them."""
        return Moved(self.worker[chosen], self.row[chosen], self.slot[chosen])


class Touched(NamedTuple):
    """What workers looked up in a mini-batch: a place for each row of each worker, in order of
    first lookup. `which`: the place of each lookup."""

    worker: Int16s
    number: Int32s
    slot: Int32s
    kind: Int8s
    times: Int32s
    victim: Int32s
    """Number of the row that left the slot for it, less 1; -1: none."""
    victim_updates: Int32s
    which: Int32s


@compiled
def _use(copies: Copies, worker: int, slot: int, counts: bool) -> None:
    """Make a slot the newest of its list, or where uses count of the list of one more."""
    links, ends = copies.links[worker], copies.ends[worker]
    uses = links[slot, BUCKET]
    if uses >= 0:
        unlink(links, ends, slot)
    append(links, ends, slot, max(uses, 0) + 1 if counts else 0)


@compiled
def _victim(copies: Copies, worker: int, now: int) -> int:
    """The oldest slot of the first list that has one which mini-batch `now` does not use; -1:
    none has."""
    ends = copies.ends[worker]
    for number in range(len(ends)):
        slot = ends[number, FIRST]
        if slot >= 0 and copies.stamp[worker, slot] != now:
            return int(slot)
    return -1


@compiled
def look_up(
    rows: Int64s, owners: Int16s, when: Int64s, seen: Seen, copies: Copies, out: Touched
) -> tuple[int, int]:
    """Look all `rows` up, each by its owner. `when`: this mini-batch, the bound, rows seen before,
    whether uses count. Returns places, and rows seen after it."""
    now, bound, known, counts = when
    workers, places = seen.place.shape[1], seen.place.reshape(-1)
    for k in range(len(rows)):
        if k + _AHEAD < len(rows):
            prefetch(seen.number, rows[k + _AHEAD])
        number = seen.number[rows[k]] - 1
        if number < 0:
            number = known
            known += 1
            seen.number[rows[k]] = known
            seen.row[number] = rows[k]
            seen.version[number] = 0
            seen.users[number] = 0
            seen.holder[number] = -1
            seen.place[number, :] = -1
        out.which[k] = number
    n = 0
    for k in range(len(rows)):
        if k + _AHEAD < len(rows):
            prefetch(places, out.which[k + _AHEAD] * workers + owners[k + _AHEAD])
        worker, number = owners[k], out.which[k]
        slot = seen.place[number, worker]
        if slot < -1:
            event = -2 - slot
        elif slot >= 0 and copies.stamp[worker, slot] == now:
            event = copies.event[worker, slot]
        else:
            event = n
            n += 1
            out.worker[event], out.number[event], out.slot[event] = worker, number, slot
            out.times[event], out.victim[event], out.victim_updates[event] = 0, -1, 0
            if slot < 0:
                out.kind[event] = MISSING
                seen.place[number, worker] = -2 - event
            else:
                old = seen.version[number] - copies.version[worker, slot] > bound
                out.kind[event] = OUTDATED if old else HIT_COPY
                if old:
                    copies.version[worker, slot] = seen.version[number]
                copies.stamp[worker, slot], copies.event[worker, slot] = now, event
                _use(copies, worker, slot, counts > 0)
        out.times[event] += 1
        out.which[k] = event
    return n, known


@compiled
def bring(n: int, when: Int64s, seen: Seen, copies: Copies, out: Touched) -> int:
    """A slot for each of `n` rows that is missing, if need be that of a victim. Returns -1, or the
    worker whose slots are all taken by this mini-batch."""
    now, slots, counts = when[0], copies.row.shape[1], when[3] > 0
    for event in range(n):
        if out.kind[event] != MISSING:
            continue
        worker, number = out.worker[event], out.number[event]
        if copies.taken[worker] < slots:
            slot = copies.taken[worker]
            copies.taken[worker] += 1
            copies.links[worker, slot, :] = -1
        else:
            slot = _victim(copies, worker, now)
            if slot < 0:
                return int(worker)
            unlink(copies.links[worker], copies.ends[worker], slot)
            victim = copies.row[worker, slot]
            out.victim[event] = victim
            out.victim_updates[event] = copies.updates[worker, slot]
            seen.place[victim, worker] = -1
            if seen.holder[victim] == worker:
                seen.holder[victim] = -1
        seen.place[number, worker] = slot
        out.slot[event] = slot
        copies.row[worker, slot], copies.updates[worker, slot] = number, 0
        copies.version[worker, slot] = seen.version[number]
        copies.stamp[worker, slot], copies.event[worker, slot] = now, event
        _use(copies, worker, slot, counts)
    return -1


@compiled
def train(n: int, seen: Seen, copies: Copies, out: Touched) -> None:
    """Each worker updates its rows; changes of victims reach the server."""
    for event in range(n):
        copies.updates[out.worker[event], out.slot[event]] += 1
        if out.victim[event] >= 0:
            seen.version[out.victim[event]] += out.victim_updates[event]


@compiled
def push_old(n: int, bound: int, seen: Seen, copies: Copies, out: Touched, pushed: Bools) -> None:
    """Push rows with more than `bound` updates; their copies are as new as the worker's part."""
    for event in range(n):
        worker, slot = out.worker[event], out.slot[event]
        updates = copies.updates[worker, slot]
        pushed[event] = updates > bound
        if updates > bound:
            seen.version[out.number[event]] += updates
            copies.version[worker, slot] += updates
            copies.updates[worker, slot] = 0


@compiled
def push_shared(n: int, seen: Seen, copies: Copies, out: Touched, pushed: Bools) -> None:
    """Push rows that several workers trained; all of their copies are old after it."""
    for event in range(n):
        seen.users[out.number[event]] += 1
    for event in range(n):
        worker, slot, number = out.worker[event], out.slot[event], out.number[event]
        pushed[event] = seen.users[number] > 1
        seen.holder[number] = -1 if pushed[event] else worker
        if pushed[event]:
            seen.version[number] += copies.updates[worker, slot]
            copies.updates[worker, slot] = 0
    for event in range(n):
        seen.users[out.number[event]] = 0


@compiled
def push_planned(rows: Int64s, owners: Int16s, seen: Seen, copies: Copies, out: Moved) -> int:
    """Push fresh rows that others than their worker look up next; those are old after it."""
    n = 0
    for k in range(len(rows)):
        if k + _AHEAD < len(rows):
            prefetch(seen.number, rows[k + _AHEAD])
        number = seen.number[rows[k]] - 1
        worker = -1 if number < 0 else seen.holder[number]
        if worker < 0 or worker == owners[k]:
            continue
        slot = seen.place[number, worker]
        out.worker[n], out.row[n], out.slot[n] = worker, rows[k], slot
        n += 1
        seen.holder[number] = -1
        seen.version[number] += copies.updates[worker, slot]
        copies.updates[worker, slot] = 0
    return n


@compiled
def score(rows: Int64s, samples: Int32s, seen: Seen, scores: Int32s) -> None:
    """Count for each sample the lookups whose rows are fresh at each worker."""
    for k in range(len(rows)):
        if k + _AHEAD < len(rows):
            prefetch(seen.number, rows[k + _AHEAD])
        number = seen.number[rows[k]] - 1
        if number >= 0 and seen.holder[number] >= 0:
            scores[samples[k], seen.holder[number]] += 1


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
