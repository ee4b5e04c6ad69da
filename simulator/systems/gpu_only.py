"""GPU-only: tables spread over the GPUs (model-parallel), MLPs data-parallel.

Whole tables go to GPUs, the largest first, each to the GPU with the least bytes so far. Every GPU
pools its tables for the whole mini-batch; an all-to-all over NVLink turns pooled vectors by table
into pooled vectors by sample; MLPs run on a share of the samples; gradients go back the same way,
and the MLPs' gradients are all-reduced (ring: 2 (n - 1) / n of their bytes leave each GPU) while
the tables are updated.

Modelled: the GPU with the most lookups (the straggler), alone; the others wait for it.
Approximated: unique ids are spread over tables as lookups are.
Ignored: imbalance in time between GPUs, topology of the links.
"""

from __future__ import annotations

import math

from simulator.config.model import ModelConfig
from simulator.errors import CapacityError, ConfigError
from simulator.hardware.work import Collective, Operation, StageWork
from simulator.systems.base import BatchCounts, Context, ReplayKind, copy
from simulator.systems.operators import (
    GRADIENT_BYTES,
    ID_BYTES,
    dense_bytes,
    mlp_weight_bytes,
)
from simulator.units import format_bytes

__all__ = ["GpuOnly", "spread_tables"]


def spread_tables(model: ModelConfig, gpus: int) -> tuple[tuple[int, ...], ...]:
    """Tables of each GPU: the largest first, to the GPU with the least bytes so far."""
    sizes = model.table_bytes
    order = sorted(range(model.tables), key=lambda table: (-sizes[table], table))
    loads = [0] * gpus
    placed: list[list[int]] = [[] for _ in range(gpus)]
    for table in order:
        gpu = loads.index(min(loads))
        loads[gpu] += sizes[table]
        placed[gpu].append(table)
    return tuple(tuple(tables) for tables in placed)


class GpuOnly:
    """All tables in HBM."""

    replay: ReplayKind = "none"
    pipelined = False

    def __init__(self, context: Context) -> None:
        platform, model = context.platform, context.model
        self._context = context
        self.gpus = context.gpus or platform.gpu.count
        if self.gpus > platform.gpu.count:
            raise ConfigError(
                f"gpu_only asks for {self.gpus} GPUs but {platform.name} has {platform.gpu.count}"
            )
        if self.gpus > 1 and platform.nvlink is None:
            raise ConfigError(f"{platform.name} has no links between its GPUs (key nvlink)")
        placed = spread_tables(model, self.gpus)
        self._require_room(placed)
        weight = [sum(model.lookups_per_table[t] for t in tables) for tables in placed]
        busiest = weight.index(max(weight))
        self._tables = placed[busiest]
        self._share = weight[busiest] / sum(weight)
        one = ("ids", "gather_reduce", "mlp", "sort_update")
        many = ("ids", "gather_reduce", "all_to_all", "mlp", "all_to_all_back", "sort_update")
        self.stage_names: tuple[str, ...] = one if self.gpus == 1 else many

    def _require_room(self, placed: tuple[tuple[int, ...], ...]) -> None:
        """Tables, MLPs with gradients, and pooled vectors of a mini-batch must fit each GPU."""
        context = self._context
        model, gpu = context.model, context.platform.gpu
        sizes = model.table_bytes
        heaviest = max(placed, key=lambda tables: sum(sizes[t] for t in tables))
        tables = sum(sizes[t] for t in heaviest)
        vectors = 2 * model.batch_size * len(heaviest) * model.dim * GRADIENT_BYTES
        need = tables + 2 * mlp_weight_bytes(model) + vectors
        if need <= gpu.memory.capacity:
            return
        fewest = math.ceil(sum(sizes) / gpu.memory.capacity)
        raise CapacityError(
            f"gpu_only: {model.rows:,} rows x {context.cached_row_bytes} B = "
            f"{format_bytes(sum(sizes))} of tables on {self.gpus} x {gpu.name}: the fullest GPU "
            f"needs {format_bytes(need)} ({len(heaviest)} tables {format_bytes(tables)} + MLPs "
            f"and pooled vectors {format_bytes(need - tables)}) but holds "
            f"{format_bytes(gpu.memory.capacity)}: name a platform with at least {fewest} such "
            "GPUs for this system, as in {name: gpu_only, platform: p3_16xlarge}"
        )

    def stages(self, counts: BatchCounts) -> tuple[StageWork, ...]:
        context = self._context
        model, gpus = context.model, self.gpus
        tables = len(self._tables)
        lookups = round(counts.lookups * self._share)
        unique = round(counts.unique_rows * self._share)
        rows = sum(model.rows_per_table[t] for t in self._tables)
        samples = -(-model.batch_size // gpus)
        pool = context.gpu.gather_reduce(lookups, counts.gpu_hit_share, tables=tables)
        update = context.gpu.backward(lookups, unique, rows, tables=tables)
        size = lookups * ID_BYTES + -(-dense_bytes(model) // gpus)
        first = StageWork("ids", ((copy("ids_to_gpu", size, to_gpu=True),),))
        pooled = StageWork("gather_reduce", ((pool,),))
        mlp = StageWork("mlp", ((context.mlp(samples, gpus),),))
        if gpus == 1:
            return first, pooled, mlp, StageWork("sort_update", (update,))
        vectors = model.batch_size * tables * model.dim * GRADIENT_BYTES
        leaving = vectors * (gpus - 1) // gpus
        reduced = 2 * mlp_weight_bytes(model) * (gpus - 1) // gpus
        reduce_mlp: tuple[Operation, ...] = (Collective("all_reduce", reduced),)
        return (
            first,
            pooled,
            StageWork("all_to_all", ((Collective("all_to_all", leaving),),)),
            mlp,
            StageWork("all_to_all_back", ((Collective("all_to_all_back", leaving),),)),
            StageWork("sort_update", (update, reduce_mlp)),
        )
