"""The stages that the straw-man and ScratchPipe share: Load, Plan, Collect, Exchange, Insert,
Train (Kwon and Rhu, ISCA 2022).

Load reads the mini-batch and sends its ids to the GPU. Plan looks the unique ids up in the
Hit-Map, chooses victims, and sends the lists of missed and victim rows to the host. Collect
gathers missed rows from DRAM and victims from HBM. Exchange sends both over the link at once.
Insert writes fetched rows into their slots and victims into the CPU tables. Train does all
embedding work and the MLPs on the GPU. The host waits for the GPU at the end of every stage but
Load, whose copy Plan follows in stream order.
"""

from __future__ import annotations

from simulator.hardware.work import Operation, StageWork
from simulator.systems.base import (
    SYNCHRONIZE,
    BatchCounts,
    Context,
    copy,
    require_cache_in_hbm,
    require_tables_in_dram,
)
from simulator.systems.operators import ID_BYTES, dense_bytes

__all__ = ["STAGES", "CachedTraining"]

STAGES = ("load", "plan", "collect", "exchange", "insert", "train")


class CachedTraining:
    """One iteration that always trains out of HBM, stage by stage."""

    stage_names: tuple[str, ...] = STAGES
    gpus = 1

    def __init__(self, context: Context) -> None:
        require_tables_in_dram(context)
        require_cache_in_hbm(context)
        self._context = context

    def stages(self, counts: BatchCounts) -> tuple[StageWork, ...]:
        context = self._context
        model, moved = context.model, counts.moved
        row = context.cached_row_bytes
        ids = counts.lookups * ID_BYTES
        lists = (counts.misses + counts.write_backs) * ID_BYTES
        plan = context.gpu.plan(counts.lookups, counts.unique_rows, counts.misses, context.slots)
        train: tuple[Operation, ...] = (
            context.gpu.gather_reduce(
                counts.lookups, counts.gpu_hit_share, slots=moved.gpu_lookups
            ),
            context.mlp(),
            *context.gpu.backward(
                counts.lookups, counts.unique_rows, context.slots, slots=moved.gpu_unique
            ),
        )
        return (
            StageWork("load", ((copy("ids_to_gpu", ids + dense_bytes(model), to_gpu=True),),)),
            StageWork("plan", ((plan, copy("lists_to_cpu", lists, to_gpu=False), SYNCHRONIZE),)),
            StageWork(
                "collect",
                (
                    (context.cpu.collect(counts.misses, moved.missed),),
                    (
                        context.gpu.gather(
                            "gather_victims", counts.write_backs, moved.victim_slots
                        ),
                        SYNCHRONIZE,
                    ),
                ),
            ),
            StageWork(
                "exchange",
                (
                    (copy("missed_rows", counts.misses * row, to_gpu=True), SYNCHRONIZE),
                    (copy("victim_rows", counts.write_backs * row, to_gpu=False), SYNCHRONIZE),
                ),
            ),
            StageWork(
                "insert",
                (
                    (
                        context.gpu.scatter("scatter_missed", counts.misses, moved.missed_slots),
                        SYNCHRONIZE,
                    ),
                    (context.cpu.insert(counts.write_backs, moved.victims),),
                ),
            ),
            StageWork("train", ((*train, SYNCHRONIZE),)),
        )
