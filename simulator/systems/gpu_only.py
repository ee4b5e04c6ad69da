"""GPU-only: tables spread over the GPUs (model-parallel), MLPs data-parallel.

Tables, or parts of them, go to GPUs as `model.placement` and `model.sharding` say (`layout`). Every
GPU pools its tables for the whole mini-batch; an all-to-all turns pooled vectors by table into
pooled vectors by sample; MLPs run on a share of the samples; gradients go back the same way, and
the MLPs' gradients are all-reduced while the tables are updated. GPUs may be those of several
hosts. The host submits all of it ahead and waits at the end of the iteration.

Each GPU has its own lookups and samples; those that do the same are simulated once (`ranks`). The
others wait for the last of them where a stage or a collective does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from simulator.caches.facts import LOOKUP, UNIQUE, BatchFacts
from simulator.caches.replays import Replay, UniqueReplay
from simulator.errors import CapacityError, ConfigError
from simulator.hardware.collectives import host_of
from simulator.hardware.program import Buffer, Dense, Exchange, Operation, Stage, Store
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
from simulator.systems.layout import Crossing, Layout
from simulator.systems.mlp import bottom_beside, mlp_step, mlp_weight_bytes
from simulator.systems.operators import Backward, pooled_bytes, pooled_vectors
from simulator.systems.placement import place_on
from simulator.systems.ranks import MOST, folded
from simulator.systems.schedule import Ahead, Serial
from simulator.systems.shards import Shard, Shards, side_by_side
from simulator.units import format_bytes

__all__ = ["GpuOnly", "Held", "Rank", "require_tables_for"]

P3_GPUS = 8
"""Of `p3_16xlarge`, which messages name."""


def _ranks(job: Job, machine: Topology, system: str) -> tuple[str, ...]:
    """The GPUs that are used: as many as are asked for, by default all, some of which may be left
    without a table.

    Raises `ConfigError` where more are asked for than there are.
    """
    gpus, asked = machine.all("gpu"), job.gpus or 0
    if asked > len(gpus):
        raise ConfigError(f"{system} asks for {asked} GPUs but {machine.name} has {len(gpus)}")
    return gpus[: job.gpus]


def require_tables_for(job: Job, ranks: Sequence[str], system: str, otherwise: str = "") -> None:
    """Raise `ConfigError` where more GPUs are asked for than there are whole tables; `otherwise`:
    what else may be set."""
    asked, tables = job.gpus or 0, job.model.tables
    if asked > tables:
        a_host = sum(host_of(gpu) == host_of(ranks[0]) for gpu in ranks)
        most = tables // a_host * a_host or tables
        raise ConfigError(
            f"{system} puts whole tables on GPUs: {tables} tables do not reach {asked} GPUs; ask "
            f"for at most {most}, as in {{name: {system}, gpus: {most}}}{otherwise}"
        )


class GpuOnly(System):
    """All tables in HBM."""

    group: ClassVar[SystemGroup] = "baseline"
    source: ClassVar[str] = "Kwon and Rhu, ScratchPipe, ISCA 2022 (its GPU-only system)"
    consistency: ClassVar[Consistency] = Consistency(
        "equal",
        "Every row lies in HBM, and where a table has copies all of them get the same sums; a "
        "mini-batch is trained before the next one reads a row.",
        sums="of tables cut by rows the vectors, part by part; of copied ones the gradients, GPU "
        "by GPU",
    )
    uses: ClassVar[frozenset[str]] = frozenset({"gpus"})
    name: ClassVar[str] = "gpu_only"
    """What messages call it."""
    most: ClassVar[int] = MOST
    """Ranks that are simulated one by one (see `ranks`)."""
    _own_samples: bool = False
    """Whether a GPU without a table looks up rows for its samples."""

    def __init__(self, job: Job, machine: Topology) -> None:
        self._job, self._machine = job, machine
        first = machine.first("gpu", self.name)
        machine.only("cpu", self.name, near=first)
        self.ranks = _ranks(job, machine, self.name)
        """GPUs that it uses."""
        if self.gpus > 1:
            machine.groups.of(self.ranks, first)
        layout = self._placed()
        self._require_room(machine, layout)
        self._shards = Shards.spread(layout, self.ranks)
        shards = self._shards.each
        groups = folded(
            self.ranks,
            [
                (k, shard.samples) if shard.tables or self._own_samples else shard.samples
                for k, shard in enumerate(shards)
            ],
            [self._shape(shard) for shard in shards],
            self.most,
        )
        self.replay = self._rows(layout)
        self._simulated = tuple(self._rank(*(shards[k] for k in group)) for group in groups)
        alone = ("ids", "gather_reduce", "mlp", "sort_update")
        many = ("ids", "gather_reduce", "all_to_all", "mlp", "all_to_all_back", "sort_update")
        kind = Ahead if job.software.gpu.next_ids == "ahead" else Serial
        self.schedule = kind.of(*(alone if self.gpus == 1 else many))

    @property
    def gpus(self) -> int:
        return len(self.ranks)

    @property
    def equal_ranks(self) -> tuple[tuple[str, ...], ...]:
        return tuple(rank.gpus for rank in self._simulated)

    @property
    def placed(self) -> tuple[tuple[int, ...], ...]:
        return self._shards.placed

    def _placed(self) -> Layout:
        """Where its tables go."""
        plan = place_on(self._job.model, self._machine, self.ranks)
        if plan.whole:
            require_tables_for(self._job, self.ranks, self.name, ", or set model.sharding: row")
        return Layout.of(self._job, plan)

    def _rows(self, layout: Layout) -> Replay:
        """What it has to know of the rows of mini-batches."""
        return UniqueReplay(self._job.keep, layout.job.parts)

    def _rank(self, *shards: Shard) -> Rank:
        return Rank(self._machine, shards, self.replay.counted)

    def _require_room(self, machine: Topology, layout: Layout) -> None:
        """Tables, MLPs with gradients, and pooled vectors of a mini-batch must fit each GPU."""
        model, parted = self._job.model, layout.job.model
        memory = machine.memory(self.ranks[0])
        name = machine.devices[self.ranks[0]].part.name
        sizes, copies = self._sizes(layout)
        heaviest = max(layout.placed, key=lambda tables: sum(sizes[t] for t in tables))
        tables = sum(sizes[t] for t in heaviest)
        pooled = pooled_bytes(parted.of_tables(heaviest))
        need = tables + copies + 2 * mlp_weight_bytes(model) + 2 * pooled
        if need <= memory.capacity:
            return
        many = f"{len(heaviest)} table" + "s" * (len(heaviest) != 1)
        fewest, there = math.ceil(sum(sizes) / memory.capacity), len(machine.all("gpu"))
        if fewest <= self.gpus:
            remedy = "spread them more evenly (model.sharding: row or auto), lower model.batch_size"
            remedy += f" ({model.batch_size:,}), or name more GPUs"
        elif fewest <= there:
            remedy = (
                f"ask for at least {fewest} of the {there} GPUs of {machine.name} (gpus: {fewest})"
            )
        else:
            remedy = f"name a platform with at least {fewest} such GPUs for this system"
            if fewest <= P3_GPUS:
                remedy += f", as in {{name: {self.name}, platform: p3_16xlarge}}"
            else:
                remedy += ", or more hosts that a network joins (platform.hosts)"
        raise CapacityError(
            f"{self.name}: {model.rows:,} rows x {entry_sizes(model)} = "
            f"{format_bytes(sum(sizes))} of tables on {self.gpus} x {name}: the fullest GPU "
            f"needs {format_bytes(need)} ({many} {format_bytes(tables)} + "
            f"{f'copies of rows {format_bytes(copies)} + ' if copies else ''}MLPs "
            f"and pooled vectors {format_bytes(need - tables - copies)}) but holds "
            f"{format_bytes(memory.capacity)}: {remedy}"
        )

    def _sizes(self, layout: Layout) -> tuple[tuple[int, ...], int]:
        """Bytes of each table (or part) on its GPU, and of rows that every GPU has beside them."""
        return layout.job.model.table_bytes, 0

    def _shape(self, shard: Shard) -> tuple[object, ...]:
        """What is equal for shards whose tables are of equal shape."""
        model, cuts = shard.parted.model, shard.parted.parts
        each = (model.rows_per_table, model.dim, model.lookups_per_table)
        return shard.samples, *sorted(
            (cuts[t].cut if cuts else "", *(key[t] for key in each)) for t in shard.tables
        )

    def stages(self, facts: BatchFacts) -> tuple[Stage, ...]:
        return side_by_side(rank.stages(facts, rank.busiest(facts)) for rank in self._simulated)

    def rank_stages(self, facts: BatchFacts, rank: int) -> tuple[Stage, ...]:
        return self._rank(self._shards.each[rank]).stages(facts, facts)


Whole = Callable[[BatchFacts], BatchFacts]
"""Facts where rows are meant and not their pieces."""


@dataclass(frozen=True)
class Held:
    """Tables of one dim on a GPU, and their backward."""

    group: Group
    backward: Backward
    cold: Store | None = None
    """Where rows lie that are not in HBM; None: all are."""


class Rank:
    """A GPU, in place of all that do the same: `shards`, itself the first."""

    flows: ClassVar[tuple[str, str]] = (LOOKUP, UNIQUE)
    """What is looked up in its tables, and the distinct rows of it."""

    def __init__(self, machine: Topology, shards: Sequence[Shard], counted: Whole) -> None:
        self._machine, self._shards, self._counted = machine, tuple(shards), counted
        first = self._shards[0]
        self.gpu, self._job = first.gpu, first.whole
        self.gpus = tuple(shard.gpu for shard in shards)
        cpu = machine.only("cpu", "gpu_only", near=self.gpu)
        self._dram, self._hbm = (machine.memory(place).place for place in (cpu, self.gpu))
        groups = groups_of(first.job) if first.tables else ()
        self._held = tuple(Held(group, self._backward(group)) for group in groups)

    def _backward(self, group: Group) -> Backward:
        model, software = group.job.model, self._job.software
        store = Store(
            group.named("tables"), self._hbm, model.row_bytes, model.state_bytes, model.tables
        )
        return Backward(model, self._machine, software, self.gpu, store, model.rows)

    def busiest(self, facts: BatchFacts) -> BatchFacts:
        """What happens to the tables of the GPU with the most lookups."""
        each = [shard.facts(facts) for shard in self._shards[: None if self._held else 1]]
        return max(each, key=lambda own: own[LOOKUP].lookups)

    def stages(
        self, facts: BatchFacts, own: BatchFacts, crossing: Crossing | None = None
    ) -> tuple[Stage, ...]:
        """Its stages of a mini-batch; `facts`: of all tables, `own`: of its own; `crossing`: what
        this mini-batch exchanges, where that is its own."""
        shard = self._shards[0]
        shard = shard if crossing is None else replace(shard, crossing=crossing)
        first, dense, last = self._dense()
        pool, update = self._embeddings(facts, own)
        trained = (*update, *shard.of_copies(), synchronize(self.gpu))
        when = self._job.software.gpu.all_reduce
        sums, size = self._with_mlps(facts) if when == "beside_exchange" else ((), 0)
        after = last[0].name if last and when == "beside_exchange" else ""
        reduced, beside = shard.reducing(after, sums, size), ()
        if when == "beside_exchange":
            reduced, beside = (), reduced
        if when == "in_turn":
            trained, reduced = (*(word for lane in reduced for word in lane), *trained), ()
        middle: tuple[Stage, ...] = (Stage("mlp", (dense,)),)
        if not shard.alone:
            middle = (
                Stage("all_to_all", (self._to_samples(facts, shard), first)),
                *middle,
                Stage("all_to_all_back", (self._to_tables(facts, shard), last, *beside)),
            )
        return (
            Stage("ids", (self._ids(facts, own),)),
            Stage("gather_reduce", (pool,)),
            *middle,
            Stage("sort_update", (trained, *reduced)),
        )

    def _to_samples(self, facts: BatchFacts, shard: Shard) -> tuple[Operation, ...]:
        """What it exchanges until it has the vectors of its samples; `shard`: its own, with what
        crosses links in this mini-batch."""
        del facts
        return shard.to_samples()

    def _to_tables(self, facts: BatchFacts, shard: Shard) -> tuple[Operation, ...]:
        """What it exchanges until it has the gradients of its tables."""
        del facts
        return shard.to_tables()

    def _with_mlps(self, facts: BatchFacts) -> tuple[tuple[Operation, ...], int]:
        """What sums gradients of rows with copies for the all-reduce of the MLPs' gradients, and
        the bytes of it."""
        del facts
        return (), 0

    def _ids(self, facts: BatchFacts, own: BatchFacts) -> tuple[Operation, ...]:
        """Ids on their way to this GPU, with the dense features of its samples."""
        shard, software = self._shards[0], self._job.software
        if shard.alone or software.gpu.ids == "loaded":
            size = own[LOOKUP].lookups * software.id_bytes + shard.dense_bytes
            return (move("ids_to_gpu", self._dram, self._hbm, size),)
        whole, batch = self._job.model.batch_size, facts[LOOKUP].lookups
        sent = batch * software.id_bytes * shard.samples // whole
        once = self._counted(facts)[LOOKUP].lookups * software.id_bytes * shard.samples // whole
        return (
            move("ids_to_gpu", self._dram, self._hbm, once + shard.dense_bytes),
            Exchange("ids_exchange", self.gpu, shard.group, "all_to_all", sent),
        )

    def _dense(self) -> tuple[tuple[Dense, ...], tuple[Dense, ...], tuple[Dense, ...]]:
        """What of the MLPs runs beside the exchange, after it, and beside the one back."""
        shard, model = self._shards[0], self._job.model
        step = mlp_step(model, self.gpu, shard.samples)
        beside = self._job.software.gpu.bottom_mlp == "beside_exchange"
        if shard.alone or not beside or not model.bottom_widths:
            return (), (step,), ()
        first, rest, last = bottom_beside(step, model, shard.samples)
        return (first,), (rest,), (last,)

    def _embeddings(
        self, facts: BatchFacts, own: BatchFacts
    ) -> tuple[tuple[Operation, ...], tuple[Operation, ...]]:
        """The forward and the backward of its tables."""
        del facts
        pool: list[Operation] = []
        update: list[Operation] = []
        for held in self._held:
            rows = held.group.of(own)
            pool.append(self._pooled(held, rows))
            update += self._updated(held, rows)
        return tuple(pool), tuple(update)

    def _pooled(self, held: Held, rows: BatchFacts) -> Operation:
        """The forward of tables of one dim."""
        model, store = held.group.job.model, held.backward.store
        return pooled_vectors(model, self._machine, self.gpu, store, rows[self.flows[0]])

    def _updated(self, held: Held, rows: BatchFacts) -> Iterable[Operation]:
        """Their backward."""
        gradients = Buffer("gradients", self._hbm, pooled_bytes(held.group.job.model))
        return held.backward.operations(rows[self.flows[1]], gradients)
