"""TorchRec's `TrainPipelineSemiSync`: embeddings of the next mini-batch are looked up before this
one has updated its rows.

Code: TorchRec at 376cac6 (`train_pipelines.py`). Verified there: the embeddings of mini-batch i + 1
are looked up while the dense part of i runs, before the backward of i: a row that both train is
read without the update of i (staleness 1); gradients are added to the row as it is then, so that no
update is lost.

Ours: the tables are those of `torchrec_prefetch` (a cache in HBM, filled one mini-batch ahead, with
locks); the source says nothing of this pipeline over cached tables. Its exchange of embeddings,
which the staleness hides, is nothing on one GPU: what it hides here is the lookup.
"""

from __future__ import annotations

from typing import ClassVar

from simulator.caches.facts import BatchFacts
from simulator.config.parameters import Parameters
from simulator.hardware.program import Stage
from simulator.hardware.topology import Topology
from simulator.systems.base import Consistency, Job, System, SystemGroup, synchronize
from simulator.systems.fbgemm_cached import CACHE_KEYS
from simulator.systems.schedule import After, Streams
from simulator.systems.torchrec_prefetch import PREFETCH_SHARE, TorchRecParameters, locked_cache

__all__ = ["TorchRecSemiSync"]


class TorchRecSemiSync(System):
    """Lookups one mini-batch ahead of the updates: hidden, and stale by one mini-batch."""

    group: ClassVar[SystemGroup] = "rival"
    source: ClassVar[str] = "TorchRec at 376cac6, TrainPipelineSemiSync; FBGEMM at 71d6f8b"
    no_inference: ClassVar[str] = (
        "it hides lookups behind updates that come later, and queries have no updates"
    )
    consistency: ClassVar[Consistency] = Consistency(
        "stale",
        "Mini-batch i reads rows as updated up to i - 2: at most one mini-batch behind; gradients "
        "go to the row as it is, so that no update is lost.",
    )
    unknown: ClassVar[tuple[str, ...]] = (
        "Whether the pipeline runs over cached tables; here it does, over locked slots.",
        "How many reads a GPU of each generation keeps in flight over its link is assumed.",
    )
    parameters: ClassVar[type[Parameters]] = TorchRecParameters
    uses: ClassVar[frozenset[str]] = CACHE_KEYS

    def __init__(self, job: Job, machine: Topology) -> None:
        self.replay, self._tables = locked_cache(job, machine, "torchrec_semi_sync")
        self._ways = self.replay.ways
        self.schedule = Streams.of(
            ("ids", "load"),
            ("find", "plan"),
            ("swap", "move"),
            ("lookup", "train"),
            ("mlp", "train"),
            "backward",
            after=(
                After("ids", "backward", -3),
                After("find", "backward", -2),
                After("mlp", "backward", -1),
                After("backward", "lookup", 1),
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
            Stage("lookup", (tables.pooled_by_cache(facts),)),
            Stage("mlp", ((tables.mlp(),),)),
            Stage("backward", ((*tables.trained_by_cache(facts), done),)),
        )
