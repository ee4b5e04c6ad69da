"""Caches of several workers over the same rows, with versions: what HET and Herald keep.

Each worker has an LRU cache of its own. A server counts the updates of each row that reached it
(its *version*); a copy has the version that it came with and the updates that its worker made
since. All rows of a mini-batch are looked for before the first victim is chosen, so that none of
them is one.

Rows are numbered anew as they are first looked up: memory grows with the rows that were seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from simulator._compiled import compiled, prefetch
from simulator.errors import CapacityError

__all__ = ["HIT_COPY", "MISSING", "OUTDATED", "Moved", "Touched", "WorkerCaches"]

Int64s = npt.NDArray[np.int64]
Int32s = npt.NDArray[np.int32]
Int16s = npt.NDArray[np.int16]
Int8s = npt.NDArray[np.int8]
Bools = npt.NDArray[np.bool_]
Array = npt.NDArray[Any]

HIT_COPY, MISSING, OUTDATED = 0, 1, 2
"""What a worker finds of a row: a copy that is new enough, none, one that is too old."""
_FIRST = 1024
"""Rows that there is room for at first."""
_AHEAD = 16
"""Lookups between asking for what one needs and using it."""


class _Seen(NamedTuple):
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


class _Copies(NamedTuple):
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
    older: Int32s
    newer: Int32s
    ends: Int32s
    """Shape (workers, 3): the oldest slot, the newest one (-1: none), slots that were taken."""


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
def _use(copies: _Copies, worker: int, slot: int, known: bool) -> None:
    """Make a slot the newest; `known`: it has a place in the order."""
    older, newer, ends = copies.older[worker], copies.newer[worker], copies.ends[worker]
    if known:
        if ends[1] == slot:
            return
        before, after = older[slot], newer[slot]
        if before >= 0:
            newer[before] = after
        else:
            ends[0] = after
        older[after] = before
    older[slot], newer[slot] = ends[1], -1
    if ends[1] >= 0:
        newer[ends[1]] = slot
    else:
        ends[0] = slot
    ends[1] = slot


@compiled
def _look_up(
    rows: Int64s, owners: Int16s, when: Int64s, seen: _Seen, copies: _Copies, out: Touched
) -> tuple[int, int]:
    """Look all `rows` up, each by its owner. `when`: this mini-batch, the bound, rows seen before.
    Returns places, and rows seen after it."""
    now, bound, known = when
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
                _use(copies, worker, slot, True)
        out.times[event] += 1
        out.which[k] = event
    return n, known


@compiled
def _bring(n: int, now: int, seen: _Seen, copies: _Copies, out: Touched) -> int:
    """A slot for each of `n` rows that is missing, if need be that of the oldest row. Returns -1,
    or the worker whose slots are all taken by this mini-batch."""
    slots = copies.row.shape[1]
    for event in range(n):
        if out.kind[event] != MISSING:
            continue
        worker, number = out.worker[event], out.number[event]
        ends = copies.ends[worker]
        taken = ends[2] == slots
        slot = ends[0] if taken else ends[2]
        if taken:
            if copies.stamp[worker, slot] == now:
                return int(worker)
            victim = copies.row[worker, slot]
            out.victim[event] = victim
            out.victim_updates[event] = copies.updates[worker, slot]
            seen.place[victim, worker] = -1
            if seen.holder[victim] == worker:
                seen.holder[victim] = -1
        else:
            ends[2] += 1
        seen.place[number, worker] = slot
        out.slot[event] = slot
        copies.row[worker, slot], copies.updates[worker, slot] = number, 0
        copies.version[worker, slot] = seen.version[number]
        copies.stamp[worker, slot], copies.event[worker, slot] = now, event
        _use(copies, worker, slot, taken)
    return -1


@compiled
def _train(n: int, seen: _Seen, copies: _Copies, out: Touched) -> None:
    """Each worker updates its rows; changes of victims reach the server."""
    for event in range(n):
        copies.updates[out.worker[event], out.slot[event]] += 1
        if out.victim[event] >= 0:
            seen.version[out.victim[event]] += out.victim_updates[event]


@compiled
def _push_old(
    n: int, bound: int, seen: _Seen, copies: _Copies, out: Touched, pushed: Bools
) -> None:
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
def _push_shared(n: int, seen: _Seen, copies: _Copies, out: Touched, pushed: Bools) -> None:
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
def _push_planned(rows: Int64s, owners: Int16s, seen: _Seen, copies: _Copies, out: Moved) -> int:
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
def _score(rows: Int64s, samples: Int32s, seen: _Seen, scores: Int32s) -> None:
    """Count for each sample the lookups whose rows are fresh at each worker."""
    for k in range(len(rows)):
        if k + _AHEAD < len(rows):
            prefetch(seen.number, rows[k + _AHEAD])
        number = seen.number[rows[k]] - 1
        if number >= 0 and seen.holder[number] >= 0:
            scores[samples[k], seen.holder[number]] += 1


@compiled
def _assign(scores: Int32s, room: Int64s, first: int, owners: Int16s) -> None:
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


@dataclass
class Lookups:
    """Lookups of a mini-batch: rows over all tables, table by table, and the sample of each."""

    rows: Int64s
    samples: Int32s


class WorkerCaches:
    """LRU caches of `slots` rows for each of `workers`, empty at first."""

    def __init__(self, rows: int, workers: int, slots: int) -> None:
        self.workers, self.slots = workers, slots
        self._seen = _Seen(
            np.zeros(rows, np.int32),
            np.zeros(_FIRST, np.int64),
            np.zeros(_FIRST, np.int32),
            np.zeros(_FIRST, np.int32),
            np.zeros(_FIRST, np.int32),
            np.zeros((_FIRST, workers), np.int32),
        )
        row, version, updates, stamp, event, older, newer = (
            np.zeros((workers, slots), np.int32) for _ in range(7)
        )
        ends = np.zeros((workers, 3), np.int32)
        ends[:, :2] = -1
        self._copies = _Copies(row, version, updates, stamp, event, older, newer, ends)
        self._known = self._now = 0

    def touch(self, lookups: Lookups, owners: Int16s, bound: int) -> Touched:
        """All workers look their rows up, get those that are missing or more than `bound` updates
        old, and train them. `owners`: of each sample.

        Raises `CapacityError` where a worker has less slots than rows.
        """
        rows, each = lookups.rows, owners[lookups.samples]
        self._make_room(len(rows))
        self._now += 1
        out = _untouched(len(rows))
        when = np.array([self._now, bound, self._known])
        n, self._known = _look_up(rows, each, when, self._seen, self._copies, out)
        full = _bring(n, self._now, self._seen, self._copies, out)
        if full >= 0:
            need = int((out.worker[:n] == full).sum())
            raise CapacityError(
                f"worker {full} looks up {need:,} rows in a mini-batch, but its cache has "
                f"{self.slots:,} slots: raise the size of the cache, or lower model.batch_size"
            )
        _train(n, self._seen, self._copies, out)
        return _first(out, n)

    def rows_of(self, numbers: Int32s) -> Int64s:
        """Rows over all tables."""
        return self._seen.row[numbers]

    def push_old(self, touched: Touched, bound: int) -> Moved:
        """Rows that a mini-batch trained go to the server where they have more than `bound` updates
        that are not there."""
        pushed = np.empty(len(touched.worker), np.bool_)
        _push_old(len(pushed), bound, self._seen, self._copies, touched, pushed)
        return self._moved(touched, pushed)

    def push_shared(self, touched: Touched) -> Moved:
        """Rows that several workers trained in a mini-batch go to the server."""
        pushed = np.empty(len(touched.worker), np.bool_)
        _push_shared(len(pushed), self._seen, self._copies, touched, pushed)
        return self._moved(touched, pushed)

    def push_planned(self, lookups: Lookups, owners: Int16s) -> Moved:
        """Rows that are fresh at one worker, and that another looks up in the coming mini-batch."""
        most = len(lookups.rows)
        out = Moved(np.empty(most, np.int16), np.empty(most, np.int64), np.empty(most, np.int64))
        n = _push_planned(lookups.rows, owners[lookups.samples], self._seen, self._copies, out)
        return out.part(slice(n))

    def assigned(self, lookups: Lookups, room: Sequence[int], batch: int) -> Int16s:
        """The worker of each sample: of those that have room the one with most of its rows."""
        samples = sum(room)
        scores = np.zeros((samples, self.workers), np.int32)
        _score(lookups.rows, lookups.samples, self._seen, scores)
        owners = np.empty(samples, np.int16)
        _assign(scores, np.array(room, np.int64), batch % self.workers, owners)
        return owners

    def _moved(self, touched: Touched, chosen: Bools) -> Moved:
        rows = self.rows_of(touched.number[chosen])
        return Moved(touched.worker[chosen], rows, touched.slot[chosen].astype(np.int64))

    def _make_room(self, more: int) -> None:
        """Room for rows that were never seen."""
        have, need = len(self._seen.row), self._known + more
        if need > have:
            size = max(need, 2 * have)
            number, *fields = self._seen
            grown: list[Any] = [_grown(field, size) for field in fields]
            self._seen = _Seen(number, *grown)


def _untouched(size: int) -> Touched:
    """Room for as many places."""
    worker, kind = np.empty(size, np.int16), np.empty(size, np.int8)
    number, slot, times, victim, updates, which = np.empty((6, size), np.int32)
    return Touched(worker, number, slot, kind, times, victim, updates, which)


def _first(touched: Touched, n: int) -> Touched:
    """The first `n` places, all lookups."""
    worker, number, slot, kind, times, victim, updates, which = touched
    return Touched(
        worker[:n], number[:n], slot[:n], kind[:n], times[:n], victim[:n], updates[:n], which
    )


def _grown(field: Any, size: int) -> Array:
    grown = np.empty((size, *field.shape[1:]), field.dtype)
    grown[: len(field)] = field
    return grown
