"""Hybrid CPU-GPU training without a cache: all embedding work on the CPU, MLPs on the GPU.

The CPU gathers and pools, pooled vectors go to the GPU, their gradients come back, the CPU
expands, coalesces and scatters. Strictly serial (Tensor Casting, HPCA 2021, its CPU-centric
timeline). One stage an operator, so that the breakdown of an iteration can be read off.
"""

from __future__ import annotations

from typing import ClassVar

from simulator.caches.facts import LOOKUP, UNIQUE, BatchFacts
from simulator.caches.replays import UniqueReplay
from simulator.hardware.program import Stage
from simulator.hardware.topology import Topology
from simulator.systems.base import Job, System, move, synchronize, tables_in
from simulator.systems.operators import (
    Backward,
    dense_bytes,
    mlp_step,
    pooled_bytes,
    pooled_vectors,
)
from simulator.systems.schedule import Serial

__all__ = ["Hybrid"]


class Hybrid(System):
    """No cache: only pooled vectors and their gradients cross the link."""

    uses: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, job: Job, machine: Topology) -> None:
        self.cpu, self.gpu = machine.only("cpu", "hybrid"), machine.first("gpu", "hybrid")
        self._job, self._machine = job, machine
        self.tables = tables_in(job, machine, self.cpu)
        self.replay = UniqueReplay(job.keep)
        rows = max(job.model.rows_per_table)
        self._backward = Backward(job.model, machine, job.software, self.cpu, self.tables, rows)
        self.schedule = Serial.of(
            "gather_reduce", "pooled_to_gpu", "mlp", "gradients_to_cpu", *self._backward.names
        )

    def stages(self, facts: BatchFacts) -> tuple[Stage, ...]:
        model, machine = self._job.model, self._machine
        dram, hbm = machine.memory(self.cpu).place, machine.memory(self.gpu).place
        pooled, dense = pooled_bytes(model), dense_bytes(model)
        forward = pooled_vectors(model, machine, self.cpu, self.tables, facts[LOOKUP])
        return (
            Stage("gather_reduce", ((forward,),)),
            Stage("pooled_to_gpu", ((move("pooled_to_gpu", dram, hbm, pooled + dense),),)),
            Stage("mlp", ((mlp_step(model, self.gpu),),)),
            Stage(
                "gradients_to_cpu",
                ((move("gradients_to_cpu", hbm, dram, pooled), synchronize(self.gpu)),),
            ),
            *(Stage(word.name, ((word,),)) for word in self._backward.operations(facts[UNIQUE])),
        )
