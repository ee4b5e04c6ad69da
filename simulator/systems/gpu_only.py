"""GPU-only: tables spread over the GPUs (model-parallel), MLPs data-parallel.

Whole tables go to GPUs as `model.placement` says (`placement/`). Every GPU pools its tables for
the whole mini-batch; an all-to-all turns pooled vectors by table into pooled vectors by sample;
MLPs run on a share of the samples; gradients go back the same way, and the MLPs' gradients are
all-reduced while the tables are updated. GPUs may be those of several hosts. The host submits all
of it ahead and waits at the end of the iteration.

Modelled: the GPU with the most lookups (the straggler), with its own tables; the others wait for
it. What GPUs share (DRAM of the host, links with several GPUs below, network interfaces) is asked
for by all of them. Approximated: all GPUs do what the straggler does; where the samples do not
divide, all have as many as the one with the most. Ignored: imbalance in time between GPUs.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import ClassVar

from simulator.caches.facts import LOOKUP, UNIQUE, BatchFacts
from simulator.caches.replays import UniqueReplay
from simulator.errors import CapacityError, ConfigError
from simulator.hardware.collectives import host_of
from simulator.hardware.program import (
    GRADIENT_BYTES,
    Buffer,
    Exchange,
    Operation,
    Pattern,
    Stage,
    Store,
)
from simulator.hardware.topology import Topology
from simulator.systems.base import (
    Consistency,
    Job,
    System,
    SystemGroup,
    entry_sizes,
    move,
    synchronize,
)
from simulator.systems.groups import Group, groups_of
from simulator.systems.mlp import dense_bytes, mlp_step, mlp_weight_bytes
from simulator.systems.operators import Backward, pooled_bytes, pooled_vectors
from simulator.systems.placement import place_on
from simulator.systems.schedule import Serial
from simulator.units import format_bytes

__all__ = ["GpuOnly"]


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

    group: ClassVar[SystemGroup] = "baseline"
    source: ClassVar[str] = "Kwon and Rhu, ScratchPipe, ISCA 2022 (its GPU-only system)"
    consistency: ClassVar[Consistency] = Consistency(
        "equal", "One copy of every row, in HBM; a mini-batch is done before the next one starts."
    )
    uses: ClassVar[frozenset[str]] = frozenset({"gpus"})

    def __init__(self, job: Job, machine: Topology) -> None:
        self._job, self._machine = job, machine
        self.gpu = machine.first("gpu", "gpu_only")
        self.cpu = machine.only("cpu", "gpu_only", near=self.gpu)
        self._ranks = _ranks(job, machine)
        if self.gpus > 1:
            machine.groups.of(self._ranks, self.gpu)
        model = job.model
        plan = place_on(model, machine, self._ranks)
        placed = plan.whole_tables("gpu_only")
        self._require_room(placed)
        weight = [sum(job.mean_lookups[t] for t in tables) for tables in placed]
        busiest = weight.index(max(weight))
        self._tables = placed[busiest]
        own = replace(job, model=model.of_tables(self._tables))
        self._place = machine.memory(self.gpu).place
        self._groups = tuple((g, self._passes(g)) for g in groups_of(own))
        self.replay = UniqueReplay(job.keep)
        alone = ("ids", "gather_reduce", "mlp", "sort_update")
        many = ("ids", "gather_reduce", "all_to_all", "mlp", "all_to_all_back", "sort_update")
        self.schedule = Serial.of(*(alone if self.gpus == 1 else many))

    def _passes(self, group: Group) -> Backward:
        """The backward of tables of one dim, whose store it has."""
        model = group.job.model
        store = Store(
            group.named("tables"), self._place, model.row_bytes, model.state_bytes, model.tables
        )
        software = self._job.software
        return Backward(model, self._machine, software, self.gpu, store, model.rows)

    @property
    def equal_ranks(self) -> tuple[str, ...]:
        return self._ranks

    def _require_room(self, placed: tuple[tuple[int, ...], ...]) -> None:
        """Tables, MLPs with gradients, and pooled vectors of a mini-batch must fit each GPU."""
        model = self._job.model
        memory = self._machine.memory(self._ranks[0])
        name = self._machine.devices[self._ranks[0]].part.name
        sizes = model.table_bytes
        heaviest = max(placed, key=lambda tables: sum(sizes[t] for t in tables))
        tables = sum(sizes[t] for t in heaviest)
        pooled = pooled_bytes(model.of_tables(heaviest))
        need = tables + 2 * mlp_weight_bytes(model) + 2 * pooled
        if need <= memory.capacity:
            return
        fewest = math.ceil(sum(sizes) / memory.capacity)
        raise CapacityError(
            f"gpu_only: {model.rows:,} rows x {entry_sizes(model)} = "
            f"{format_bytes(sum(sizes))} of tables on {self.gpus} x {name}: the fullest GPU "
            f"needs {format_bytes(need)} ({len(heaviest)} tables {format_bytes(tables)} + MLPs "
            f"and pooled vectors {format_bytes(need - tables)}) but holds "
            f"{format_bytes(memory.capacity)}: name a platform with at least {fewest} such "
            "GPUs for this system, as in {name: gpu_only, platform: p3_16xlarge}"
        )

    def stages(self, facts: BatchFacts) -> tuple[Stage, ...]:
        job, gpus, machine = self._job, self.gpus, self._machine
        model = job.model
        dram, hbm = machine.memory(self.cpu).place, self._place
        own = facts.of_shards(self._tables)
        size = own[LOOKUP].lookups * job.software.id_bytes + -(-dense_bytes(model) // gpus)
        samples = -(-model.batch_size // gpus)
        pool, update = self._embeddings(own)
        first = Stage("ids", ((move("ids_to_gpu", dram, hbm, size),),))
        pooled = Stage("gather_reduce", (pool,))
        mlp = Stage("mlp", ((mlp_step(model, self.gpu, samples),),))
        if gpus == 1:
            return first, pooled, mlp, Stage("sort_update", (update,))
        elements = pooled_bytes(model.of_tables(self._tables)) // GRADIENT_BYTES
        vectors = elements * job.software.gpu.exchange_bytes
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

    def _embeddings(self, own: BatchFacts) -> tuple[tuple[Operation, ...], tuple[Operation, ...]]:
        """The forward and the backward of the tables of a GPU."""
        pool: list[Operation] = []
        update: list[Operation] = []
        for group, passes in self._groups:
            rows, model = group.of(own), group.job.model
            gradients = Buffer("gradients", self._place, pooled_bytes(model))
            pool.append(pooled_vectors(model, self._machine, self.gpu, passes.store, rows[LOOKUP]))
            update += passes.operations(rows[UNIQUE], gradients)
        return tuple(pool), (*update, synchronize(self.gpu))

    def _exchange(self, name: str, pattern: Pattern, size: int) -> Exchange:
        """`size`: of the whole buffer of a GPU."""
        return Exchange(name, self.gpu, self._ranks, pattern, size)
