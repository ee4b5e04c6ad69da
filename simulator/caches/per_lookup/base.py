"""Replay one lookup at a time: classic cache semantics, no window, a row is cached when it misses.

A `LookupCache` is a compiled loop over chunks of ids, so that a trace of any length streams through
state that grows with rows and slots only. Hits, cold misses and evictions do not depend on how the
trace is cut into chunks. A policy without one (from outside) is replayed by its per-batch planner,
one lookup a batch: the same meaning, slower.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import import_module

import numpy as np
import numpy.typing as npt

from simulator._compiled import compiled
from simulator.caches.plan.base import Window
from simulator.caches.plan.scratchpad import PoolPlanner
from simulator.caches.policies.base import NEVER, PolicySetup, policy_class
from simulator.errors import TraceError

__all__ = ["LookupCache", "LookupCounts", "lookup_cache", "replay_lookups"]

Int64s = npt.NDArray[np.int64]

CHUNK = 1 << 20
"""Lookups a chunk: 8 MiB of ids."""

HITS, COLD, EVICTIONS, RESIDENT = range(4)
"""Positions in the counters that kernels add to; `RESIDENT`: rows in the cache by now."""

BUILT_IN = {
    "lru": "lru:LookupLRU",
    "lfu": "lfu:LookupLFU",
    "fifo": "queue:LookupFIFO",
    "clock": "queue:LookupClock",
    "random": "queue:LookupRandom",
    "static_hot": "queue:LookupStaticHot",
    "belady": "belady:LookupBelady",
    "belady_bypass": "belady:LookupBeladyBypass",
    "sieve": "sieve:LookupSieve",
    "s3fifo": "ghost_lists:LookupS3FIFO",
    "arc": "ghost_lists:LookupARC",
    "2q": "ghost_lists:LookupTwoQ",
    "lru_k": "lruk:LookupLRUK",
    "tinylfu": "tinylfu:LookupTinyLFU",
}


@dataclass(frozen=True, slots=True)
class LookupCounts:
    """What a replay counted. hits + misses = lookups; cold misses = distinct ids."""

    lookups: int
    hits: int
    cold_misses: int
    evictions: int
    resident_rows: int

    @property
    def misses(self) -> int:
        return self.lookups - self.hits


class LookupCache(ABC):
    """A cache of `setup.capacity` slots over ids 0 .. rows - 1, fed in chunks."""

    needs_next_use = False
    """Whether `feed` wants the position of each lookup's next occurrence (-1: none)."""

    def __init__(self, setup: PolicySetup, rows: int) -> None:
        self.capacity = setup.capacity
        self.rows = rows
        self.lookups = 0
        self.counts = np.zeros(4, dtype=np.int64)

    def feed(self, ids: Int64s, next_use: Int64s | None = None) -> None:
        """Replay `ids`, int64, shape (lookups,); `TraceError` for one outside of the rows."""
        ids = np.ascontiguousarray(ids, dtype=np.int64)
        if len(ids) and (ids.min() < 0 or ids.max() >= self.rows):
            bad = int(np.flatnonzero((ids < 0) | (ids >= self.rows))[0])
            raise TraceError(
                f"lookup {self.lookups + bad}: id {ids[bad]} outside of 0..{self.rows - 1}"
            )
        self.run(ids, next_use)
        self.lookups += len(ids)

    @abstractmethod
    def run(self, ids: Int64s, next_use: Int64s | None) -> None:
        """Replay checked ids and add to `counts`."""

    def result(self) -> LookupCounts:
        hits, cold, evictions, resident = (int(count) for count in self.counts)
        return LookupCounts(self.lookups, hits, cold, evictions, resident)


class PlannedLookups(LookupCache):
    """Any policy, by its planner: one lookup a batch and the window (0, 0)."""

    def __init__(self, policy: str, setup: PolicySetup, rows: int) -> None:
        super().__init__(setup, rows)
        capacity = min(setup.capacity, rows)
        self.needs_next_use = policy_class(policy).needs_future
        self._planner = PoolPlanner(
            policy, rows, capacity, Window(0, 0), seed=setup.seed, hottest=setup.hottest
        )

    def run(self, ids: Int64s, next_use: Int64s | None) -> None:
        for k in range(len(ids)):
            later = None
            if next_use is not None:
                later = np.array([NEVER if next_use[k] < 0 else next_use[k]], dtype=np.int64)
            self._planner.load(ids[k : k + 1], later)
            plan = self._planner.plan()
            self.counts[HITS] += plan.lookup_hits
            self.counts[COLD] += plan.cold_misses
            self.counts[EVICTIONS] += len(plan.victims.rows)
            self.counts[RESIDENT] = plan.resident_rows


def lookup_cache(policy: str, setup: PolicySetup, rows: int) -> LookupCache:
    """The per-lookup cache of `policy`; `UsageError` names the known policies."""
    if policy in BUILT_IN:
        module, name = BUILT_IN[policy].split(":")
        make: Callable[[PolicySetup, int], LookupCache]
        make = getattr(import_module(f"simulator.caches.per_lookup.{module}"), name)
        return make(setup, rows)
    return PlannedLookups(policy, setup, rows)


@compiled
def previous_pass(last: Int64s, ids: Int64s, start: int, next_use: Int64s) -> None:
    """Walk `ids` (positions start, start + 1, ...) backwards; `last[id]` - 1: next occurrence."""
    for k in range(len(ids) - 1, -1, -1):
        next_use[k] = last[ids[k]] - 1
        last[ids[k]] = start + k + 1


def replay_lookups(
    policy: str,
    ids: Int64s | Iterable[Int64s],
    capacity: int,
    rows: int,
    *,
    seed: int = 0,
    hottest: Int64s | None = None,
) -> LookupCounts:
    """Replay ids (an array, or chunks of them) below `rows` in a cache of `capacity` slots.

    Belady needs the whole trace: it keeps the ids and 8 bytes more for each lookup. All others
    stream. `hottest` (hottest first) is for static_hot.
    """
    cache = lookup_cache(policy, PolicySetup(capacity, seed, hottest), rows)
    chunks = _cut(ids) if isinstance(ids, np.ndarray) else ids
    if not cache.needs_next_use:
        for chunk in chunks:
            cache.feed(chunk)
        return cache.result()
    pieces = list(chunks)
    for piece, later in zip(pieces, next_positions(pieces, rows), strict=True):
        cache.feed(piece, later)
    return cache.result()


def next_positions(pieces: list[Int64s], rows: int) -> list[Int64s]:
    """For each lookup the position of the same id's next one (-1: none), piece by piece."""
    last = np.zeros(rows, dtype=np.int64)
    start = sum(len(piece) for piece in pieces)
    positions = []
    for piece in reversed(pieces):
        if len(piece) and (piece.min() < 0 or piece.max() >= rows):
            raise TraceError(f"ids outside of 0..{rows - 1}")
        start -= len(piece)
        later = np.empty(len(piece), dtype=np.int64)
        previous_pass(last, np.ascontiguousarray(piece, dtype=np.int64), start, later)
        positions.append(later)
    return positions[::-1]


def _cut(ids: Int64s) -> Iterable[Int64s]:
    return (ids[start : start + CHUNK] for start in range(0, len(ids), CHUNK))
