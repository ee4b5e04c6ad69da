"""Hybrid CPU-GPU training without a cache: all embedding work on the CPU, MLPs on the GPU.

The CPU gathers and pools, pooled vectors go to the GPU, their gradients come back, the CPU
expands, coalesces and scatters. Strictly serial (Tensor Casting, HPCA 2021, its CPU-centric
timeline). One stage an operator, so that the breakdown of an iteration can be read off; tables of
unlike dim take turns in it.
"""

from __future__ import annotations

from typing import ClassVar

from simulator.caches.facts import LOOKUP, UNIQUE, BatchFacts
from simulator.caches.replays import UniqueReplay
from simulator.hardware.program import Buffer, Move, Stage
from simulator.hardware.topology import Topology
from simulator.systems.base import Job, System, move, synchronize
from simulator.systems.groups import groups_of, table_groups
from simulator.systems.mlp import dense_bytes, mlp_step
from simulator.systems.operators import Backward, pooled_bytes, pooled_vectors
from simulator.systems.schedule import Serial

__all__ = ["Hybrid"]


class Hybrid(System):
    """No cache: only pooled vectors and their gradients cross the link."""

    uses: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, job: Job, machine: Topology) -> None:
        self.cpu, self.gpu = machine.only("cpu", "hybrid"), machine.first("gpu", "hybrid")
        self._job, self._machine = job, machine
        self._groups = groups_of(job)
        stores = table_groups(self._groups, job, machine, self.cpu)
        self._tables = tuple(zip(self._groups, stores, strict=True))
        self.replay = UniqueReplay(job.keep)
        self._backward = tuple(
            Backward(
                g.job.model, machine, job.software, self.cpu, s, max(g.job.model.rows_per_table)
            )
            for g, s in self._tables
        )
        passes = self._backward[0].names
        self.schedule = Serial.of(
            "gather_reduce", "pooled_to_gpu", "mlp", "gradients_to_cpu", *passes
        )

    def stages(self, facts: BatchFacts) -> tuple[Stage, ...]:
        model, machine = self._job.model, self._machine
        dram, hbm = machine.memory(self.cpu).place, machine.memory(self.gpu).place
        pooled, dense = pooled_bytes(model), dense_bytes(model)
        forward = tuple(
            pooled_vectors(g.job.model, machine, self.cpu, store, g.of(facts)[LOOKUP])
            for g, store in self._tables
        )
        backward = (
            passes.operations(g.of(facts)[UNIQUE])
            for g, passes in zip(self._groups, self._backward, strict=True)
        )
        return (
            Stage("gather_reduce", (forward,)),
            Stage("pooled_to_gpu", ((move("pooled_to_gpu", dram, hbm, pooled + dense),),)),
            Stage("mlp", ((mlp_step(model, self.gpu),),)),
            Stage(
                "gradients_to_cpu",
                (
                    (
                        Move("gradients_to_cpu", hbm, Buffer("gradients", hbm, pooled), dram),
                        synchronize(self.gpu),
                    ),
                ),
            ),
            *(Stage(words[0].name, (words,)) for words in zip(*backward, strict=True)),
        )
