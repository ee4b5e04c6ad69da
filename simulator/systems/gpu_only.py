"""GPU-only: tables spread over the GPUs (model-parallel), MLPs data-parallel.

Whole tables go to GPUs, the largest first, each to the GPU with the least bytes so far. Every GPU
pools its tables for the whole mini-batch; an all-to-all turns pooled vectors by table into pooled
vectors by sample; MLPs run on a share of the samples; gradients go back the same way, and the MLPs'
gradients are all-reduced while the tables are updated. GPUs may be those of several hosts. The host
submits all of it ahead and waits at the end of the iteration.

Modelled: the GPU with the most lookups (the straggler), with its own tables; the others wait for
it. What GPUs share (DRAM of the host, links with several GPUs below, network interfaces) is asked
for by all of them. Approximated: all GPUs do what the straggler does; where the samples do not
divide, all have as many as the one with the most. Ignored: imbalance in time between GPUs.
"""

from __future__ import annotations

import math
from typing import ClassVar

from simulator.caches.facts import LOOKUP, UNIQUE, BatchFacts
from simulator.caches.replays import UniqueReplay
from simulator.config.model import ModelConfig
from simulator.errors import CapacityError, ConfigError
from simulator.hardware.collectives import host_of
from simulator.hardware.program import Buffer, Exchange, Pattern, Stage, Store
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
from simulator.systems.schedule import Serial
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


def _ranks(job: Job, machine: Topology) -> tuple[str, ...]:
    """The GPUs that are used: as many as are asked for, by default all, some of which may be left
    without a table.

    Raises `ConfigError` where more are asked for than there are GPUs or tables.
    """
    gpus, tables, asked = machine.all("gpu"), job.model.tables, job.gpus or 0
    if asked > len(gpus):
        raise ConfigError(f"gpu_only asks for {asked} GPUs but {machine.name} has {len(gpus)}")
    if asked > tables:
        a_host = sum(host_of(gpu) == host_of(gpus[0]) for gpu in gpus)
        most = tables // a_host * a_host or tables
        raise ConfigError(
            f"gpu_only puts whole tables on GPUs: {tables} tables do not reach {asked} GPUs; ask "
            f"for at most {most}, as in {{name: gpu_only, gpus: {most}}}"
        )
    return gpus[: job.gpus]


class GpuOnly(System):
    """All tables in HBM."""

    uses: ClassVar[frozenset[str]] = frozenset({"gpus"})

    def __init__(self, job: Job, machine: Topology) -> None:
        self._job, self._machine = job, machine
        self.gpu = machine.first("gpu", "gpu_only")
        self.cpu = machine.only("cpu", "gpu_only", near=self.gpu)
        self._ranks = _ranks(job, machine)
        if self.gpus > 1:
            machine.groups.of(self._ranks, self.gpu)
        model = job.model
        placed = spread_tables(model, self.gpus)
        self._require_room(placed)
        weight = [sum(model.lookups_per_table[t] for t in tables) for tables in placed]
        busiest = weight.index(max(weight))
        self._tables = tables = placed[busiest]
        rows = sum(model.rows_per_table[t] for t in tables)
        place = machine.memory(self.gpu).place
        self.tables = Store("tables", place, model.row_bytes, model.state_bytes, len(tables))
        self._backward = Backward(model, machine, job.software, self.gpu, self.tables, rows)
        self.replay = UniqueReplay(job.keep)
        alone = ("ids", "gather_reduce", "mlp", "sort_update")
        many = ("ids", "gather_reduce", "all_to_all", "mlp", "all_to_all_back", "sort_update")
        self.schedule = Serial.of(*(alone if self.gpus == 1 else many))

    @property
    def equal_ranks(self) -> tuple[str, ...]:
        return self._ranks

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
        forth = self._exchange("all_to_all", "all_to_all", vectors)
        back = self._exchange("all_to_all_back", "all_to_all", vectors)
        reduce_mlp = self._exchange("all_reduce", "all_reduce", mlp_weight_bytes(model))
        return (
            first,
            pooled,
            Stage("all_to_all", ((forth,),)),
            mlp,
            Stage("all_to_all_back", ((back,),)),
            Stage("sort_update", (update, (reduce_mlp,))),
        )

    def _exchange(self, name: str, pattern: Pattern, size: int) -> Exchange:
        """`size`: of the whole buffer of a GPU."""
        return Exchange(name, self.gpu, self._ranks, pattern, size)
