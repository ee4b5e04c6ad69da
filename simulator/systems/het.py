"""HET: workers cache rows of a parameter server and tolerate copies that are a bounded number of
updates old (Miao et al., VLDB 2022).

Code: HKUST-SING/herald at a91b65d, built on Hetu (cache.cc, hetu_client.cc). Verified there: each
worker has a cache of rows in its host's memory; the server counts the updates of a row; a copy that
lacks more than `bound` of them is pulled again, a row with more than `bound` updates of its own is
pushed; ids and versions of all rows of a mini-batch go to the server; workers wait for each other
(bulk-synchronous mode); the gradients of the MLPs are all-reduced; 100 is the default bound, 0 is
exact.

Ours: changes of rows that left a cache are pushed with the others at the end of the mini-batch; a
copy that is pulled anew keeps its worker's changes on top; all tables in one cache, LRU or LFU (a
mini-batch counts once, ties to the oldest, counts forgotten with the row). Left out: its third
policy (`lfuopt`); the pull of the next mini-batch begins when all have pushed, and nothing of this
one is left then.

What a read may lack: `bound` updates that the server has, and `bound` of each other worker that did
not push them yet, so `bound` x workers at most; with 0 nothing.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, ClassVar

from pydantic import Field

from simulator.caches.facts import BatchFacts
from simulator.caches.plan.associative import Algorithm
from simulator.config.parameters import Given, Parameters
from simulator.config.types import Picoseconds
from simulator.hardware.program import Stage
from simulator.hardware.topology import Topology
from simulator.systems.base import Consistency, Job, System, SystemGroup
from simulator.systems.remote import Cluster
from simulator.systems.schedule import Serial
from simulator.systems.workers import WORKER_KEYS, WORKER_KINDS, WorkerTables, worker_replay

__all__ = ["Het", "HetParameters"]


class HetParameters(Parameters):
    """Of HET."""

    bound: Annotated[int, Field(ge=0, le=2**30), Given("verified", "hetu_cache: 100")] = 100
    """Updates of a row that a copy may lack, and that a worker may keep to itself."""
    algorithm: Annotated[
        Algorithm, Given("verified", "policies of hetu_cache; which is the default: assumed")
    ] = "lru"
    """`lru`: least recently used; `lfu`: fewest mini-batches since the row came in."""
    rpc_latency: Annotated[
        Picoseconds, Given("assumed", "a request of ps-lite over ZeroMQ: tens of us")
    ] = "50 us"  # type: ignore[assignment]
    """What a request to a server takes beside its bytes."""


class Het(System):
    """Rows of a parameter server in caches of the workers, a bounded number of updates old."""

    group: ClassVar[SystemGroup] = "rival"
    source: ClassVar[str] = "Miao et al., HET, VLDB 2022; code HKUST-SING/herald at a91b65d"
    no_inference: ClassVar[str] = (
        "its caches follow the updates of other workers, and queries have none"
    )
    consistency: ClassVar[Consistency] = Consistency(
        "stale",
        "A read lacks at most bound updates that the server has and bound of each other worker; "
        "with bound 0 the tables are those of one mini-batch at a time, bit for bit.",
        sums="changes of rows, worker by worker",
    )
    unknown: ClassVar[tuple[str, ...]] = (
        "Types of hosts and GPUs, and so what its iterations take.",
        "What becomes of a worker's own changes when it pulls the row anew.",
        "What its third policy, `lfuopt`, does; how its LFU breaks ties.",
    )
    parameters: ClassVar[type[Parameters]] = HetParameters
    uses: ClassVar[frozenset[str]] = WORKER_KEYS
    shown_on: ClassVar[str] = "herald_100g"
    kinds: ClassVar[tuple[tuple[str, ...], ...]] = WORKER_KINDS

    def __init__(self, job: Job, machine: Topology) -> None:
        own = job.parameters_as(HetParameters)
        cluster = Cluster.of(job, machine, "het", own.rpc_latency, shown_on=self.shown_on)
        plain = worker_replay(job, "het", cluster)
        self.replay = replace(plain, bound=own.bound, algorithm=own.algorithm)
        self._tables = WorkerTables.of(job, machine, cluster, self.replay.capacity)
        self.schedule = Serial.of("find", "pull", "lookup", "train", "gradients", "push")

    @property
    def gpus(self) -> int:
        return len(self._tables.workers)

    def stages(self, facts: BatchFacts) -> tuple[Stage, ...]:
        return self._tables.stages(facts)
