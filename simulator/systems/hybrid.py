"""Hybrid CPU-GPU training without a cache: all embedding work on the CPU, MLPs on the GPU.

The CPU gathers and pools, pooled vectors go to the GPU, their gradients come back, the CPU
expands, coalesces and scatters. Strictly serial (Tensor Casting, HPCA 2021, its CPU-centric
timeline). One stage an operator, so that the breakdown of an iteration can be read off.
"""

from __future__ import annotations

from simulator.hardware.work import StageWork
from simulator.systems.base import (
    SYNCHRONIZE,
    BatchCounts,
    Context,
    ReplayKind,
    copy,
    require_tables_in_dram,
)
from simulator.systems.operators import dense_bytes, pooled_bytes

__all__ = ["Hybrid"]


class Hybrid:
    """No cache: only pooled vectors and their gradients cross the link."""

    replay: ReplayKind = "none"
    pipelined = False
    gpus = 1

    def __init__(self, context: Context) -> None:
        require_tables_in_dram(context)
        self._context = context
        profile = context.profile
        self.stage_names = (
            "gather_reduce",
            "pooled_to_gpu",
            "mlp",
            "gradients_to_cpu",
            *(["expand"] if profile.expand else []),
            "sort",
            "accumulate",
            *(["scatter"] if profile.scatter else []),
        )

    def stages(self, counts: BatchCounts) -> tuple[StageWork, ...]:
        context = self._context
        model = context.model
        forward = context.cpu.gather_reduce(
            counts.lookups, counts.cpu_hit_share, counts.moved.cpu_lookups
        )
        to_gpu = copy("pooled_to_gpu", pooled_bytes(model) + dense_bytes(model), to_gpu=True)
        to_cpu = copy("gradients_to_cpu", pooled_bytes(model), to_gpu=False)
        backward = context.cpu.backward(counts.lookups, counts.unique_rows, counts.moved.cpu_unique)
        return (
            StageWork("gather_reduce", ((forward,),)),
            StageWork("pooled_to_gpu", ((to_gpu,),)),
            StageWork("mlp", ((context.mlp(),),)),
            StageWork("gradients_to_cpu", ((to_cpu, SYNCHRONIZE),)),
            *(StageWork(work.name, ((work,),)) for work in backward),
        )
