"""Static GPU cache: the hottest rows pinned in HBM, everything else trained on the CPU.

The pinned rows are the hottest by profile of the trace and never change; CPU and GPU copies are
disjoint, so nothing is written back. The GPU splits the ids into hot and cold; it pools and
trains hot rows while the CPU pools and trains cold ones; partial sums and gradients cross the link.
"""

from __future__ import annotations

from simulator.hardware.work import Access, GpuWork, StageWork
from simulator.systems.base import (
    SYNCHRONIZE,
    BatchCounts,
    Context,
    ReplayKind,
    copy,
    require_cache_in_hbm,
    require_tables_in_dram,
)
from simulator.systems.operators import ID_BYTES, dense_bytes, pooled_bytes

__all__ = ["StaticCache"]


class StaticCache:
    """The hottest N % of rows in HBM, no replacement."""

    replay: ReplayKind = "static"
    pipelined = False
    gpus = 1
    stage_names: tuple[str, ...] = ("split", "forward", "combine", "mlp", "gradients", "backward")

    def __init__(self, context: Context) -> None:
        require_tables_in_dram(context)
        require_cache_in_hbm(context)
        self._context = context

    def stages(self, counts: BatchCounts) -> tuple[StageWork, ...]:
        context = self._context
        model = context.model
        hot, cold = counts.lookup_hits, counts.lookups - counts.lookup_hits
        pooled = pooled_bytes(model)
        split = GpuWork(
            name="split",
            kernels=2,
            accesses=(
                Access(counts.lookups, ID_BYTES, random=False),
                Access(counts.lookups, ID_BYTES, random=False, write=True),
            ),
            probes=counts.lookups,
        )
        add = GpuWork(
            name="add_partial_sums",
            kernels=1,
            accesses=(
                Access(2, pooled, random=False),
                Access(1, pooled, random=False, write=True),
            ),
        )
        pool_hot = context.gpu.gather_reduce(
            hot, counts.gpu_hit_share, slots=counts.moved.gpu_lookups
        )
        pool_cold = context.cpu.gather_reduce(cold, counts.cpu_hit_share, counts.moved.cpu_lookups)
        train_hot = context.gpu.backward(
            hot, counts.unique_hits, max(1, context.slots), slots=counts.moved.gpu_unique
        )
        train_cold = context.cpu.backward(cold, counts.misses, counts.moved.cpu_unique)
        return (
            StageWork(
                "split",
                (
                    (
                        copy("ids_to_gpu", counts.lookups * ID_BYTES, to_gpu=True),
                        split,
                        copy("cold_ids_to_cpu", cold * ID_BYTES, to_gpu=False),
                        SYNCHRONIZE,
                    ),
                ),
            ),
            StageWork("forward", ((pool_hot,), (pool_cold,))),
            StageWork(
                "combine",
                ((copy("partial_sums", pooled + dense_bytes(model), to_gpu=True), add),),
            ),
            StageWork("mlp", ((context.mlp(),),)),
            StageWork(
                "gradients", ((copy("gradients_to_cpu", pooled, to_gpu=False), SYNCHRONIZE),)
            ),
            StageWork("backward", (train_hot, train_cold)),
        )
