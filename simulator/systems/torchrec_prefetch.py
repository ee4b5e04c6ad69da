"""TorchRec's `PrefetchTrainPipelineSparseDist`: FBGEMM's cache, filled for the next mini-batch
while this one runs forward and the dense part of its backward.

Code: TorchRec at 376cac6 (`train_pipelines.py`), FBGEMM at 71d6f8b (`enable_prefetch`). Verified
there: LRU only; a slot has a lock counter, one more at the prefetch of a mini-batch, one less
before its backward; locked slots are no victims, and what finds no slot overflows to zero-copy, so
that a set whose ways are all locked holds nothing up (results mark caches with fewer slots than two
mini-batches have rows, `rows_per_slot`); the prefetch has a stream of its own and an eighth of the
multiprocessors; the backward of embeddings of mini-batch i waits for the prefetch of i + 1 and
looks locations up again, and that prefetch waits for the backward of i - 1. Order of one
`progress()`: copy ids of i + 2, forward i, prefetch i + 1, backward i.

Derived: with one mini-batch ahead a lock counter above zero is a stamp of the mini-batch before,
which is what the replay uses (its reference has counters). Ours: on one GPU there is no exchange of
ids; the MLPs' forward and backward are one operation.
"""

from __future__ import annotations

from typing import ClassVar

from simulator.caches.facts import BatchFacts
from simulator.caches.replays.associative import AssociativeReplay
from simulator.config.parameters import Parameters
from simulator.hardware.program import Stage
from simulator.hardware.topology import Topology
from simulator.systems.base import Consistency, Job, System, SystemGroup, synchronize
from simulator.systems.fbgemm_cached import CACHE_KEYS, Ways
from simulator.systems.schedule import After, Streams
from simulator.systems.uvm import MappedTables, SlotCost, sets_for

__all__ = ["TorchRecPrefetch", "locked_cache"]

PREFETCH_SHARE = 1 / 8
"""Of the multiprocessors (verified: `lru_cache_insert` with `prefetch_stream`)."""
LOCKED_COST = SlotCost(slot=16 + 4, row=4)
"""As of LRU, with a lock counter a slot."""


class TorchRecParameters(Parameters):
    """Of the cache under TorchRec's pipelines."""

    ways: Ways = 32
    """Slots of a set."""


def locked_cache(
    job: Job, machine: Topology, system: str
) -> tuple[AssociativeReplay, MappedTables]:
    """FBGEMM's LRU cache whose rows are locked for one mini-batch, and the tables behind it."""
    ways = job.parameters_as(TorchRecParameters).ways
    sets = sets_for(job, system, ways)
    cache = job.cache
    replay = AssociativeReplay(sets, ways, "lru", 1, cache.prefill, job.keep, cache.profile_share)
    return replay, MappedTables(job, machine, system, sum(replay.slots), LOCKED_COST)


class TorchRecPrefetch(System):
    """FBGEMM's cache, filled for the next mini-batch behind forward and dense backward."""

    group: ClassVar[SystemGroup] = "rival"
    source: ClassVar[str] = (
        "TorchRec at 376cac6, PrefetchTrainPipelineSparseDist; FBGEMM at 71d6f8b"
    )
    consistency: ClassVar[Consistency] = Consistency(
        "equal",
        "Rows of a mini-batch are locked from its prefetch to its backward, which waits for the "
        "next prefetch and updates rows where they then are; a prefetch waits for the backward "
        "before.",
    )
    unknown: ClassVar[tuple[str, ...]] = (
        "How many reads a GPU of each generation keeps in flight over its link is assumed.",
    )
    parameters: ClassVar[type[Parameters]] = TorchRecParameters
    uses: ClassVar[frozenset[str]] = CACHE_KEYS

    def __init__(self, job: Job, machine: Topology) -> None:
        self.replay, self._tables = locked_cache(job, machine, "torchrec_prefetch")
        self._ways = self.replay.ways
        self.schedule = Streams.of(
            ("ids", "load"),
            ("find", "plan"),
            ("swap", "move"),
            "forward",
            "backward",
            after=(
                After("ids", "backward", -3),
                After("find", "backward", -2),
                After("forward", "backward", -1),
                After("backward", "swap", 1),
            ),
            in_flight=3,
        )

    def stages(self, facts: BatchFacts) -> tuple[Stage, ...]:
        tables = self._tables
        done = synchronize(tables.gpu)
        return (
            Stage("ids", (tables.ids(facts),)),
            Stage("find", (tables.find(facts, self._ways),)),
            Stage("swap", tables.swap(facts, PREFETCH_SHARE)),
            Stage("forward", ((*tables.pooled_by_cache(facts), tables.mlp()),)),
            Stage("backward", ((*tables.trained_by_cache(facts), done),)),
        )
