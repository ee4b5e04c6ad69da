"""A set-associative cache as the accelerator keeps it: the row of every slot, and when it was used.

Which row takes which slot is the simulator's plan; where rows are, which are missed, and that no
row gives way that its mini-batch uses, the accelerator finds out for itself from the tags. On CPU
tensors the functions of this module do it, on a GPU those of `kernels_tagged`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from simulator.caches.facts import VICTIM, BatchFacts
from simulator.caches.plan.hashed_sets import set_of
from simulator.caches.replays.associative import FETCHED
from simulator.errors import InvariantError

__all__ = ["Swapped", "TaggedCache", "Tier", "insert", "locate", "probe", "swap"]

Floats = npt.NDArray[np.float32]
Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Tier:
    """Where the rows of lookups lie that may have no slot."""

    ids: Any
    """int64, of every lookup."""
    slots: Any
    """int32, of every lookup; -1: none."""
    beyond: Any
    """Rows by id, as the accelerator reaches them."""

    def entries(self, cache: Any) -> Floats:
        """The row of every lookup, shape (lookups, width); on CPU tensors."""
        ids, slots = self.ids.numpy(), self.slots.numpy()
        entries: Floats = self.beyond.numpy()[ids]
        entries[slots >= 0] = cache.numpy()[slots[slots >= 0]]
        return entries

    @contextmanager
    def in_one_table(self, cache: Any) -> Iterator[Floats]:
        """The table with what the cache has of these lookups in it, and back again; on CPU
        tensors."""
        there = self.slots.numpy() >= 0
        rows, slots = self.ids.numpy()[there], self.slots.numpy()[there]
        table: Floats = self.beyond.numpy()
        before = table[rows]
        table[rows] = cache.numpy()[slots]
        yield table
        cache.numpy()[slots] = table[rows]
        table[rows] = before


class Swapped:
    """What a mini-batch brings into a cache by the simulator's plan, set by set: rows, their slots,
    and the row that each slot had before (-1: none)."""

    def __init__(self, gpu: Any, facts: BatchFacts) -> None:
        fetched, victims = facts[FETCHED], facts[VICTIM]
        rows, slots = _known(fetched.ids), _known(fetched.slots)
        before = dict(
            zip(_known(victims.slots).tolist(), _known(victims.ids).tolist(), strict=True)
        )
        old = np.array([before.pop(slot, -1) for slot in slots.tolist()], np.int64)
        if before:
            raise InvariantError(
                f"mini-batch {facts.index}: {len(before):,} rows leave for nothing"
            )
        by_set = np.argsort(slots, kind="stable")
        self.rows, self.slots, self.old = (gpu.upload(a[by_set]) for a in (rows, slots, old))


def _known(listed: Int64s | None) -> Int64s:
    return np.empty(0, np.int64) if listed is None else listed


class TaggedCache:
    """Tags and marks of `len(resident) / ways` sets on an accelerator `gpu`. `resident`: int64, the
    row in each slot before the first of `batches` mini-batches (-1: none); `lookups`: of a
    mini-batch, at most."""

    def __init__(self, gpu: Any, resident: Int64s, ways: int, lookups: int, batches: int) -> None:
        self.ways, self.sets = ways, len(resident) // ways
        self.tags = gpu.upload(resident)
        self.marks = gpu.empty((len(resident),), "int64")
        """The mini-batch that used each slot last, counted from 1."""
        self.missed = gpu.empty((lookups,), "int64")
        self.counts = gpu.empty((batches, 2), "int32")
        """By mini-batch: rows that were missed, rows whose set had no slot to give."""

    def missed_rows(self, number: int) -> int:
        """Distinct rows of a mini-batch that no slot held. Raises `InvariantError` where its plan
        let a row go that it uses."""
        missed, short = map(int, self.counts[number].cpu())
        if short:
            raise InvariantError(f"mini-batch {number}: {short:,} rows found no slot in their sets")
        return missed


def probe(cache: TaggedCache, ids: Any, _pairs: Any, number: int) -> None:
    """Mark the slots of the rows that are there; list and count the others."""
    rows = np.unique(ids.numpy())
    slots = _slots(cache, rows)
    cache.marks[slots[slots >= 0]] = number + 1
    missed = rows[slots < 0]
    cache.missed.numpy()[: len(missed)] = missed
    cache.counts[number, 0] = len(missed)


def insert(cache: TaggedCache, swapped: Swapped, number: int) -> None:
    """Tags and marks of the rows that come in."""
    tags, marks = cache.tags.numpy(), cache.marks.numpy()
    own = swapped.slots.numpy() // cache.ways
    idle = (marks.reshape(-1, cache.ways) <= number).sum(axis=1)
    cache.counts[number, 1] += int((idle[own] == 0).sum())
    tags[swapped.slots.numpy()] = swapped.rows.numpy()
    marks[swapped.slots.numpy()] = number + 1


def locate(cache: TaggedCache, ids: Any, slots: Any) -> None:
    """The slot of every lookup, -1: none."""
    slots.numpy()[:] = _slots(cache, ids.numpy())


def swap(swapped: Swapped, rows: Any, table: Any) -> None:
    """Rows of slots out into the table, and others of the table in, in one pass."""
    slots, old = swapped.slots.numpy(), swapped.old.numpy()
    table.numpy()[old[old >= 0]] = rows.numpy()[slots[old >= 0]]
    rows.numpy()[slots] = table.numpy()[swapped.rows.numpy()]


def _slots(cache: TaggedCache, rows: Int64s) -> Int64s:
    sets = np.array([set_of(row, cache.sets) for row in rows.tolist()], np.int64)
    held = cache.tags.numpy().reshape(-1, cache.ways)[sets] == rows[:, None]
    return np.where(held.any(axis=1), sets * cache.ways + held.argmax(axis=1), -1)
