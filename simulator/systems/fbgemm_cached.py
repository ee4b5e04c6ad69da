"""FBGEMM with `EmbeddingLocation.MANAGED_CACHING`: a set-associative cache in HBM before tables in
host memory, filled at the beginning of the forward.

Code: FBGEMM at 71d6f8b (`lru_cache_populate.cu`, `lfu_cache_populate.cu`). Verified there: one
cache for all cached tables, as wide as the widest row; 32 ways (a warp); the set of a row by
MurmurHash3's finaliser; LRU by a stamp a mini-batch, LFU by counts of lookups that eviction does
not forget; victims are always written back (no dirty bit), and both directions are zero-copy by one
warp a set; a row that finds no slot is read and updated over the link (a conflict miss), so that a
cache of fewer slots than a mini-batch has rows works, slower: results mark it (`rows_per_slot`).
Beside the cache HBM holds 4 B a row of the tables, and 16 B (LRU) or 8 B (LFU, and 8 B a row) a
slot. Row-wise optimizer state lies in HBM, full-size state in host memory, never cached.

Reconstructed: kernels that look rows up read a whole set of tags. Ours: the MLPs.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from simulator.caches.facts import BatchFacts
from simulator.caches.plan.associative import Algorithm
from simulator.caches.replays.associative import AssociativeReplay
from simulator.config.parameters import Given, Parameters
from simulator.config.sections import SIZE_KEYS
from simulator.hardware.program import Stage
from simulator.hardware.topology import Topology
from simulator.systems.base import Consistency, Job, System, SystemGroup, synchronize
from simulator.systems.schedule import Serial
from simulator.systems.uvm import MappedTables, SlotCost, sets_for

__all__ = ["CACHE_KEYS", "COSTS", "FbgemmCached", "FbgemmParameters", "Ways"]

CACHE_KEYS = frozenset({*(f"cache.{key}" for key in SIZE_KEYS), "cache.prefill", "cache.profile"})
Ways = Annotated[
    int, Field(ge=1, le=1024), Given("verified", "lru_cache_populate.cu: a warp, DEFAULT_ASSOC")
]
COSTS = {"lru": SlotCost(slot=16, row=4), "lfu": SlotCost(slot=8, row=12)}
"""Bytes beside the rows, by algorithm."""


class FbgemmParameters(Parameters):
    """Of FBGEMM's cache."""

    algorithm: Annotated[Algorithm, Given("verified", "CacheAlgorithm.LRU is the default")] = "lru"
    """Who leaves a set: the row that was used longest ago, or that was looked up least."""
    ways: Ways = 32
    """Slots of a set."""


class FbgemmCached(System):
    """A 32-way cache in HBM before tables in host memory; conflict misses go over the link."""

    group: ClassVar[SystemGroup] = "rival"
    source: ClassVar[str] = "FBGEMM at 71d6f8b, tables MANAGED_CACHING"
    consistency: ClassVar[Consistency] = Consistency(
        "equal",
        "Victims are in their tables, and missed rows in the cache or read where they lie, before "
        "the forward; each row is updated where it is.",
    )
    unknown: ClassVar[tuple[str, ...]] = (
        "How many reads a GPU of each generation keeps in flight over its link is assumed.",
    )
    parameters: ClassVar[type[Parameters]] = FbgemmParameters
    uses: ClassVar[frozenset[str]] = CACHE_KEYS

    def __init__(self, job: Job, machine: Topology) -> None:
        own = job.parameters_as(FbgemmParameters)
        sets = sets_for(job, "fbgemm_cached", own.ways)
        cache = job.cache
        self._ways = own.ways
        self.replay = AssociativeReplay(
            sets,
            own.ways,
            own.algorithm,
            prefill=cache.prefill,
            keep=job.keep,
            profile=cache.profile_share,
        )
        slots, cost = sum(self.replay.slots), COSTS[own.algorithm]
        self._tables = MappedTables(job, machine, "fbgemm_cached", slots, cost)
        self.schedule = Serial.of("ids", "find", "swap", "forward", "mlp", "backward")

    def stages(self, facts: BatchFacts) -> tuple[Stage, ...]:
        tables = self._tables
        done = synchronize(tables.gpu)
        return (
            Stage("ids", (tables.ids(facts),)),
            Stage("find", (tables.find(facts, self._ways),)),
            Stage("swap", tables.swap(facts, 1.0)),
            Stage("forward", (tables.pooled_by_cache(facts),)),
            Stage("mlp", ((tables.mlp(),),)),
            Stage("backward", ((*tables.trained_by_cache(facts), done),)),
        )
