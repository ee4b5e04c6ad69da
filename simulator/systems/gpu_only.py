"""GPU-only: tables spread over the GPUs (model-parallel), MLPs data-parallel.

Whole tables go to GPUs as `model.placement` says (`placement/`). Every GPU pools its tables for the
whole mini-batch; an all-to-all over NVLink turns pooled vectors by table into pooled vectors by
sample; MLPs run on a share of the samples; gradients go back the same way, and the MLPs' gradients
are all-reduced (ring: 2 (n - 1) / n of their bytes leave each GPU) while the tables are updated.
The host submits all of it ahead and waits at the end of the iteration.

Modelled: the GPU with the most lookups (the straggler), with its own tables; the others wait for
it. What GPUs share (DRAM of the host, links with several GPUs below) is asked for by all of them.
Approximated: all GPUs do what the straggler does.
Ignored: imbalance in time between GPUs, topology of the links.
"""

from __future__ import annotations

import math
from typing import ClassVar, Literal

from simulator.caches.facts import LOOKUP, UNIQUE, BatchFacts
from simulator.caches.replays import UniqueReplay
from simulator.errors import CapacityError, ConfigError
from simulator.hardware.program import Buffer, Exchange, Stage, Store
from simulator.hardware.topology import Topology
from simulator.systems.base import Job, System, move, synchronize
from simulator.systems.operators import (
    Backward,
    dense_bytes,
    mlp_step,
    mlp_weight_bytes,
    pooled_bytes,
    pooled_vectors,
)
from simulator.systems.placement import gpus_of, place
from simulator.systems.schedule import Serial
from simulator.units import format_bytes

__all__ = ["GpuOnly"]


class GpuOnly(System):
    """All tables in HBM."""

    uses: ClassVar[frozenset[str]] = frozenset({"gpus"})

    def __init__(self, job: Job, machine: Topology) -> None:
        self._job, self._machine = job, machine
        self.cpu = machine.only("cpu", "gpu_only")
        machine.first("gpu", "gpu_only")
        self._ranks = machine.all("gpu")[: job.gpus]
        if (job.gpus or 0) > len(self._ranks):
            raise ConfigError(
                f"gpu_only asks for {job.gpus} GPUs but {machine.name} has {len(self._ranks)}"
            )
        if self.gpus > 1:
            machine.joining(self._ranks)
        model = job.model
        self._require_tables(model.tables)
        plan = place(model, gpus_of(machine, self._ranks))
        placed = plan.whole_tables("gpu_only")
        self._require_room(placed)
        weight = [sum(model.lookups_per_table[t] for t in tables) for tables in placed]
        busiest = weight.index(max(weight))
        self.gpu = self._ranks[0]
        self._tables = tables = placed[busiest]
        rows = sum(model.rows_per_table[t] for t in tables)
        memory = machine.memory(self.gpu).place
        self.tables = Store("tables", memory, model.row_bytes, model.state_bytes, len(tables))
        self._backward = Backward(model, machine, job.software, self.gpu, self.tables, rows)
        self.replay = UniqueReplay(job.keep)
        alone = ("ids", "gather_reduce", "mlp", "sort_update")
        many = ("ids", "gather_reduce", "all_to_all", "mlp", "all_to_all_back", "sort_update")
        self.schedule = Serial.of(*(alone if self.gpus == 1 else many))

    @property
    def equal_ranks(self) -> tuple[str, ...]:
        return self._ranks

    def _require_tables(self, tables: int) -> None:
        if self.gpus > tables:
            raise ConfigError(
                f"gpu_only: {self.gpus} GPUs for {tables} tables: a GPU without a table has "
                f"nothing to pool; ask for fewer, as in {{name: gpu_only, gpus: {tables}}}"
            )

    def _require_room(self, placed: tuple[tuple[int, ...], ...]) -> None:
        """Tables, MLPs with gradients, and pooled vectors of a mini-batch must fit each GPU."""
        job, model = self._job, self._job.model
        memory = self._machine.memory(self._ranks[0])
        name = self._machine.devices[self._ranks[0]].part.name
        sizes = model.table_bytes
        heaviest = max(placed, key=lambda tables: sum(sizes[t] for t in tables))
        tables = sum(sizes[t] for t in heaviest)
        need = tables + 2 * mlp_weight_bytes(model) + 2 * pooled_bytes(model, len(heaviest))
        if need <= memory.capacity:
            return
        fewest = math.ceil(sum(sizes) / memory.capacity)
        raise CapacityError(
            f"gpu_only: {model.rows:,} rows x {job.entry_bytes} B = "
            f"{format_bytes(sum(sizes))} of tables on {self.gpus} x {name}: the fullest GPU "
            f"needs {format_bytes(need)} ({len(heaviest)} tables {format_bytes(tables)} + MLPs "
            f"and pooled vectors {format_bytes(need - tables)}) but holds "
            f"{format_bytes(memory.capacity)}: name a platform with at least {fewest} such "
            "GPUs for this system, as in {name: gpu_only, platform: p3_16xlarge}"
        )

    def stages(self, facts: BatchFacts) -> tuple[Stage, ...]:
        job, gpus, machine = self._job, self.gpus, self._machine
        model = job.model
        dram, hbm = machine.memory(self.cpu).place, self.tables.memory
        own = facts.of_shards(self._tables)
        lookups, trained = own[LOOKUP], own[UNIQUE]
        size = lookups.lookups * job.software.id_bytes + -(-dense_bytes(model) // gpus)
        samples = -(-model.batch_size // gpus)
        pool = pooled_vectors(model, machine, self.gpu, self.tables, lookups)
        vectors = pooled_bytes(model, self.tables.tables)
        update = self._backward.operations(trained, Buffer("gradients", hbm, vectors))
        update = (*update, synchronize(self.gpu))
        first = Stage("ids", ((move("ids_to_gpu", dram, hbm, size),),))
        pooled = Stage("gather_reduce", ((pool,),))
        mlp = Stage("mlp", ((mlp_step(model, self.gpu, samples),),))
        if gpus == 1:
            return first, pooled, mlp, Stage("sort_update", (update,))
        leaving = vectors * (gpus - 1) // gpus
        reduced = 2 * mlp_weight_bytes(model) * (gpus - 1) // gpus
        forth = self._exchange("all_to_all", "all_to_all", leaving)
        back = self._exchange("all_to_all_back", "all_to_all", leaving)
        reduce_mlp = self._exchange("all_reduce", "all_reduce", reduced)
        return (
            first,
            pooled,
            Stage("all_to_all", ((forth,),)),
            mlp,
            Stage("all_to_all_back", ((back,),)),
            Stage("sort_update", (update, (reduce_mlp,))),
        )

    def _exchange(
        self, name: str, pattern: Literal["all_to_all", "all_reduce"], size: int
    ) -> Exchange:
        return Exchange(name, self.gpu, self._ranks, pattern, size)
