"""Hybrid CPU-GPU training without a cache: all embedding work on the CPU, MLPs on the GPU.

The CPU gathers and pools, pooled vectors go to the GPU, their gradients come back, the CPU
expands, coalesces and scatters. Strictly serial (Tensor Casting, HPCA 2021, its CPU-centric
timeline). One stage an operator, so that the breakdown of an iteration can be read off; tables of
unlike dim take turns in it.

On several GPUs the CPU does the same for all tables; each GPU gets the pooled vectors of its share
of the samples, and the MLPs' gradients are all-reduced while those of the vectors go back.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from simulator.caches.facts import LOOKUP, UNIQUE, BatchFacts
from simulator.caches.replays import UniqueReplay
from simulator.errors import ConfigError
from simulator.hardware.program import Buffer, Move, Operation, Stage
from simulator.hardware.topology import Topology
from simulator.systems.base import Consistency, Job, System, SystemGroup, move, synchronize
from simulator.systems.groups import groups_of, table_groups
from simulator.systems.host_cache import Fetching, fetch_stages
from simulator.systems.mlp import mlp_step
from simulator.systems.operators import Backward, pooled_bytes, pooled_vectors
from simulator.systems.schedule import Serial
from simulator.systems.shards import Shard, Shards, side_by_side
from simulator.systems.tiers import Touched, tiered

__all__ = ["Hybrid"]


class Hybrid(System):
    """No cache: only pooled vectors and their gradients cross the link."""

    group: ClassVar[SystemGroup] = "baseline"
    source: ClassVar[str] = (
        "Kwon, Lee and Rhu, Tensor Casting, HPCA 2021 (its CPU-centric baseline)"
    )
    consistency: ClassVar[Consistency] = Consistency(
        "equal", "One copy of every row, in DRAM; a mini-batch is done before the next one starts."
    )
    uses: ClassVar[frozenset[str]] = frozenset({"gpus", "tables"})

    def __init__(self, job: Job, machine: Topology) -> None:
        self.cpu = machine.only("cpu", "hybrid")
        self.shards = Shards.of(job, machine, "hybrid", tables=False)
        if self.gpus > 1 and job.model.sharding != "table":
            raise ConfigError(
                f"hybrid trains all tables on the CPU: model.sharding {job.model.sharding} would "
                "do nothing; set model.sharding: table, or gpus: 1"
            )
        self._job, self._machine = job, machine
        self._groups = groups_of(job)
        stores = table_groups(self._groups, job, machine, self.cpu)
        self._tables = tuple(zip(self._groups, stores, strict=True))
        self._fetching = Fetching.of(job, machine, self.cpu, self._tables)
        own = Touched(UNIQUE, UNIQUE)
        self.replay = tiered(UniqueReplay(job.keep), job, machine, self.cpu, own)
        self._backward = tuple(
            Backward(
                g.job.model, machine, job.software, self.cpu, s, max(g.job.model.rows_per_table)
            )
            for g, s in self._tables
        )
        passes = self._backward[0].names
        self.schedule = Serial.of(
            *fetch_stages(job),
            *("gather_reduce", "pooled_to_gpu", "mlp", "gradients_to_cpu"),
            *passes,
        )

    @property
    def gpus(self) -> int:
        return len(self.shards)

    @property
    def placed(self) -> tuple[tuple[int, ...], ...]:
        """All of them: the CPU's work is that of all processes."""
        return (tuple(range(self._job.model.tables)),) * self.gpus

    def stages(self, facts: BatchFacts) -> tuple[Stage, ...]:
        return self._stages(facts, self.shards)

    def rank_stages(self, facts: BatchFacts, rank: int) -> tuple[Stage, ...]:
        return self._stages(facts, [self.shards.each[rank]])

    def _stages(self, facts: BatchFacts, shards: Iterable[Shard]) -> tuple[Stage, ...]:
        """The work of the CPU for all samples, and that of some GPUs."""
        forward = tuple(
            pooled_vectors(g.job.model, self._machine, self.cpu, store, g.of(facts)[LOOKUP])
            for g, store in self._tables
        )
        backward = (
            passes.operations(g.of(facts)[UNIQUE])
            for g, passes in zip(self._groups, self._backward, strict=True)
        )
        return (
            *self._fetching.stages(facts),
            Stage("gather_reduce", (forward,)),
            *side_by_side(self._mlps(shard) for shard in shards),
            *(Stage(words[0].name, (words,)) for words in zip(*backward, strict=True)),
        )

    def _mlps(self, shard: Shard) -> tuple[Stage, ...]:
        """What one GPU does with its samples."""
        model, machine = self._job.model, self._machine
        dram, hbm = machine.memory(self.cpu).place, machine.memory(shard.gpu).place
        pooled = pooled_bytes(model) * shard.samples // model.batch_size
        gradients = Buffer("gradients", hbm, pooled)
        back: tuple[Operation, ...] = (
            Move("gradients_to_cpu", hbm, gradients, dram),
            synchronize(shard.gpu),
        )
        return (
            Stage(
                "pooled_to_gpu",
                ((move("pooled_to_gpu", dram, hbm, pooled + shard.dense_bytes),),),
            ),
            Stage("mlp", ((mlp_step(model, shard.gpu, shard.samples),),)),
            Stage("gradients_to_cpu", (back, *shard.reducing())),
        )
