"""A replay of one's own: a cache without a replacement policy, whose slots are hashed.

A row lives in the slot that its number hashes to, or in the next one that the mini-batch leaves
free; whoever lives there must leave. `HashedReplay` says which rows hit, are fetched and are
evicted; `HashedCache` (`scratchpipe.systems`, `hashed_cache`) serves it with the straw-man's
stages, one mini-batch at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from simulator.caches import (
    COLD,
    HIT,
    LOOKUP,
    MISS,
    UNIQUE,
    VICTIM,
    WRITE_BACK,
    BatchFacts,
    Flow,
    Kept,
    Replay,
)
from simulator.errors import CapacityError
from simulator.systems import StrawMan
from simulator.traces import MiniBatch, Trace

HASH = 2_654_435_761
"""Knuth's multiplicative hash: a prime near 2**32 over the golden ratio."""

Int64s = npt.NDArray[np.int64]


class _Cache:
    """Which row each slot holds, and the slot of each row (-1: none), all tables in one count."""

    def __init__(self, rows: int, slots: int) -> None:
        self.owner = np.full(slots, -1, np.int64)
        self.slot_of = np.full(rows, -1, np.int64)
        self.known = np.zeros(rows, np.bool_)

    def load(self, ids: Int64s, offsets: Int64s, pool: range) -> dict[str, Flow]:
        """The flows of the lookups `ids` of a table, whose rows all have a slot of `pool` then."""
        rows = ids[np.sort(np.unique(ids, return_index=True)[1])]
        if len(rows) > len(pool):
            raise CapacityError(f"{len(rows):,} distinct rows for {len(pool):,} hashed slots")
        resident, hits = self.slot_of[rows] >= 0, int((self.slot_of[ids] >= 0).sum())
        missed, cold = rows[~resident], int((~self.known[rows]).sum())
        victims, freed = self._place(missed, set(self.slot_of[rows[resident]].tolist()), pool)
        self.known[rows] = True
        evicted = Flow(0, len(victims), victims, freed)  # all that were here have been trained
        return {
            LOOKUP: Flow(len(ids), len(rows), ids, self.slot_of[ids], offsets),
            UNIQUE: Flow(len(ids), len(rows), rows, self.slot_of[rows]),
            HIT: Flow(hits, int(resident.sum())),
            MISS: Flow(len(ids) - hits, len(missed), missed, self.slot_of[missed]),
            VICTIM: evicted,
            WRITE_BACK: evicted,
            COLD: Flow(0, cold),
        }

    def _place(self, missed: Int64s, taken: set[int], pool: range) -> tuple[Int64s, Int64s]:
        """Give each missed row a slot that is not taken; who had to leave, and from where."""
        left = []
        for row in missed.tolist():
            number = row * HASH % 2**32
            while (slot := pool[number % len(pool)]) in taken:
                number += 1
            taken.add(slot)
            if self.owner[slot] >= 0:
                left.append((self.owner[slot], slot))
                self.slot_of[self.owner[slot]] = -1
            self.owner[slot], self.slot_of[row] = row, slot
        pairs = np.array(left, np.int64).reshape(-1, 2)
        return pairs[:, 0], pairs[:, 1]


@dataclass(frozen=True)
class HashedReplay(Replay):
    """A shard a table, each with `capacities` slots."""

    capacities: tuple[int, ...]
    keep: Kept = ()

    @property
    def slots(self) -> tuple[int, ...]:
        return self.capacities

    @property
    def policy(self) -> str:
        return "hashed"

    def run(self, trace: Trace, batches: Iterator[MiniBatch], threads: int) -> Iterator[BatchFacts]:
        cache = _Cache(sum(trace.rows), sum(self.slots))
        rows, slots = (np.cumsum([0, *sizes]).tolist() for sizes in (trace.rows, self.slots))
        for batch in batches:
            shards = [
                cache.load(ids + rows[t], batch.offsets[t], range(slots[t], slots[t + 1]))
                for t, ids in enumerate(batch.ids)
            ]
            flows = {name: tuple(shard[name] for shard in shards) for name in shards[0]}
            facts = BatchFacts(batch.index, batch.samples, flows)
            yield facts if batch.index in self.keep else facts.without_rows()


class HashedCache(StrawMan):
    """The straw-man's stages over a cache whose slots are hashed."""

    uses: ClassVar[frozenset[str]] = frozenset({"cache.fraction", "cache.rows", "cache.bytes"})

    def cache_replay(self) -> HashedReplay:
        slots = self._job.cache_size.slots(self._job.model.rows_per_table)
        return HashedReplay(slots, self._job.keep)
