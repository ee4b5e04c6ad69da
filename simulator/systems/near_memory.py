"""Training with all tables in a near-memory pool: what systems upon one share.

The pool gathers and reduces, pooled vectors go to the GPU, gradients of them come back, the pool
coalesces and updates. Where sums of several modules meet in the host, its cores load them from the
modules and add them up as they come. The GPU sorts the ids meanwhile ("casting", Tensor Casting,
HPCA 2021), so that nobody copies a gradient once for each lookup. Lanes of one stage stream:
instructions in, rows out of memory, sums out. Most such pools were published for inference: how
they train is ours.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Annotated, ClassVar, Literal

from simulator.caches.facts import LOOKUP, UNIQUE, BatchFacts
from simulator.caches.nodes import NodeCache
from simulator.caches.replays.nodes import NodesReplay
from simulator.config.parameters import Given, Parameters
from simulator.hardware.program import (
    GRADIENT_BYTES,
    POSITION_BYTES,
    Accumulate,
    Add,
    Buffer,
    Flow,
    Move,
    Operation,
    Pool,
    Sort,
    Stage,
    Update,
)
from simulator.hardware.topology import Topology
from simulator.systems.base import (
    Consistency,
    Job,
    System,
    SystemGroup,
    move,
    require_tables,
    synchronize,
    tables_in,
)
from simulator.systems.groups import groups_of
from simulator.systems.mlp import dense_bytes, mlp_step
from simulator.systems.operators import pooled_bytes
from simulator.systems.pools import PoolTables, pool_of
from simulator.systems.schedule import Schedule, Serial

__all__ = ["OURS", "NearMemorySystem", "PoolParameters", "UpdatePasses"]

UpdatePasses = Literal["fused", "in_two_passes"]
OURS = "Training is our extension: the paper is about inference."
"""What is unknown of all that were published without training."""


class PoolParameters(Parameters):
    """Of systems upon a near-memory pool."""

    update: Annotated[
        UpdatePasses, Given("derived", "sums of a row's gradients need not leave the adder")
    ] = "fused"
    """Sums of gradients stay in the adder until the row is read and written (`fused`), or go
    through a region of the pool's memory (`in_two_passes`)."""


class NearMemorySystem(System):
    """All tables in a near-memory pool; a mini-batch is done before the next one starts."""

    group: ClassVar[SystemGroup] = "rival"
    consistency: ClassVar[Consistency | None] = Consistency(
        "equal",
        "One copy of every row, in the pool; a mini-batch is done before the next one starts.",
        sums="vectors, node by node where nodes have rows of their own",
    )
    parameters: ClassVar[type[Parameters]] = PoolParameters
    uses: ClassVar[frozenset[str]] = frozenset()
    for_gradients: ClassVar[tuple[str, ...]] = ("sort", "list_to_pool")
    refused: ClassVar[Mapping[str, str]] = {
        "gpus": "its pool answers one GPU; who splits instructions and gradients of several among "
        "them, and in which order their updates reach a row, no source of such pools says"
    }
    name: ClassVar[str]
    """What messages call it."""
    keys: ClassVar[dict[str, str]] = {}
    """What the part must have."""
    told_by: ClassVar[Literal["cpu", "gpu"]] = "cpu"
    """Who sends the pool its instructions."""

    def __init__(self, job: Job, machine: Topology) -> None:
        self._job, self._machine = job, machine
        self.near = pool_of(machine, self.name, self.shown_on, **self.keys)
        self.gpu = machine.first("gpu", self.name)
        self.cpu = machine.only("cpu", self.name, near=self.gpu)
        self._dram, self._hbm = (machine.memory(place).place for place in (self.cpu, self.gpu))
        require_tables(job.model, machine, self.near.dram)
        self._tables = tuple(
            PoolTables(g, tables_in(g.job, machine, self.near.dram, name=g.named("tables")))
            for g in groups_of(job)
        )
        self.replay = self._rows()
        own = job.parameters_as(self.parameters)
        self.fused = not isinstance(own, PoolParameters) or own.update == "fused"
        self.schedule = self._schedule()

    def _rows(self) -> NodesReplay:
        """What has to be known of the rows of mini-batches."""
        part = self.near.part
        sizes = [dim * GRADIENT_BYTES for dim in self._job.model.dim]
        homes = tuple(part.homes_of(table, size) for table, size in enumerate(sizes))
        cached = part.cached_rows(max(sizes))
        return NodesReplay(self._job.keep, homes=homes, cache=self._cache(cached))

    def _cache(self, rows: int) -> NodeCache | None:
        """The cache of a node that holds so many rows."""
        return NodeCache(rows) if rows else None

    @property
    def _by_host(self) -> bool:
        """Whether the host adds up sums of several modules."""
        return self.near.part.sums_meet == "host"

    @property
    def _first(self) -> tuple[str, ...]:
        """Stages up to the pooled vectors on the GPU."""
        names = ("ids",) if self.told_by == "gpu" else ()
        return (*names, "gather_reduce", *(("pooled_to_gpu",) if self._by_host else ()))

    @property
    def _last(self) -> tuple[str, ...]:
        """Stages that train rows."""
        return ("update",) if self.fused else ("accumulate", "scatter")

    def _schedule(self) -> Schedule:
        return Serial.of(*self._first, "mlp", "gradients_to_pool", *self._last)

    def stages(self, facts: BatchFacts) -> tuple[Stage, ...]:
        return (
            *self._forward(facts),
            Stage("mlp", ((mlp_step(self._job.model, self.gpu),),)),
            self._gradients(facts),
            *self._trained(facts),
        )

    # forward

    def _forward(self, facts: BatchFacts) -> Iterator[Stage]:
        """From ids to pooled vectors on the GPU."""
        if self.told_by == "gpu":
            yield Stage("ids", ((self._ids(facts),),))
        pooled = self._pooled(facts, LOOKUP, "gather_reduce")
        out = self._added(pooled) if self._by_host else self._sent(pooled)
        lanes = (pooled, (out,), self._instructions(facts), self._cast(facts))
        yield Stage("gather_reduce", tuple(filter(None, lanes)))
        if self._by_host:
            size = pooled_bytes(self._job.model)
            yield Stage("pooled_to_gpu", ((move("pooled_to_gpu", self._dram, self._hbm, size),),))

    def _ids(self, facts: BatchFacts) -> Move:
        """Ids and dense features on their way to the GPU."""
        size = facts[LOOKUP].lookups * self._job.software.id_bytes + dense_bytes(self._job.model)
        return move("ids_to_gpu", self._dram, self._hbm, size)

    def _instructions(self, facts: BatchFacts) -> tuple[Operation, ...]:
        """What the nodes are told; where the host sends every DRAM command, nothing beside."""
        bus, rows = self.near.part.instructions, facts[LOOKUP]
        if bus is None:
            return ()
        asked = rows.lookups if rows.nodes is None else sum(rows.nodes.asked)
        source = self._hbm if self.told_by == "gpu" else self._dram
        return (move("instructions", source, self.near.buffers, bus.bytes_for(asked)),)

    def _pooled(self, facts: BatchFacts, flow: str, name: str) -> tuple[Pool, ...]:
        """Sums of the lookups of a flow, an operation for tables of each dim."""
        return tuple(self._pool(own, own.group.of(facts)[flow], name) for own in self._tables)

    def _pool(self, tables: PoolTables, rows: Flow, name: str) -> Pool:
        model, size = tables.group.job.model, tables.pooled
        if self._by_host and rows.nodes is not None and rows.nodes.vectors:
            size = round(size * rows.nodes.modules / rows.nodes.vectors)
        longest = max(map(max, model.lookups_per_table)) if rows.longest is None else rows.longest
        into = Buffer(tables.group.named("sums"), self.near.buffers, size)
        name = tables.group.named("gather_reduce")
        return Pool(
            name, self.near.name, tables.store, rows, into, longest, features=model.features
        )

    def _sent(self, pooled: tuple[Pool, ...]) -> Move:
        """Pooled vectors on their way out of the pool while it still reads."""
        size = sum(p.into.bytes for p in pooled)
        return move("pooled_to_gpu", self.near.buffers, self._hbm, size)

    def _cast(self, facts: BatchFacts) -> tuple[Operation, ...]:
        """Ids sorted on the GPU, and the list of them to the pool."""
        software = self._job.software
        words: list[Operation] = [] if self.told_by == "gpu" else [self._ids(facts)]
        for tables in self._tables:
            group = tables.group
            rows, model = group.of(facts)[LOOKUP], group.job.model
            largest, pair = max(model.rows_per_table), software.id_bytes + POSITION_BYTES
            words += (
                Sort(group.named("sort"), self.gpu, rows, model.tables, largest, model.rows),
                move(
                    group.named("list_to_pool"), self._hbm, self.near.buffers, rows.lookups * pair
                ),
            )
        return (*words, synchronize(self.gpu))

    def _added(self, pooled: tuple[Pool, ...]) -> Add:
        """The host loads what several modules have summed, and adds it up while they still read."""
        sums = tuple(replace(p.into, held=0.0) for p in pooled)
        into = Buffer("pooled", self._dram, pooled_bytes(self._job.model))
        return Add("add_sums", self.cpu, sums, into)

    # backward

    def _gradients(self, facts: BatchFacts) -> Stage:
        """Gradients of pooled vectors on their way into the pool, once or to every channel by a
        host, and into the memory of every node that has a row of their vector."""
        once = pooled_bytes(self._job.model)
        moves: list[Operation] = []
        source, size = self._hbm, once
        if self._by_host:
            moves += (
                move("gradients_to_cpu", self._hbm, self._dram, once),
                synchronize(self.gpu),
            )
            source, size = self._dram, self._copied(facts, "channels")
        moves.append(move("gradients_to_pool", source, self.near.buffers, size))
        if not self._by_host:
            moves.append(synchronize(self.gpu))
        kept = move(
            "gradients_to_nodes", self.near.buffers, self.near.dram, self._copied(facts, "homes")
        )
        return Stage("gradients_to_pool", (tuple(moves), (kept,)))

    def _copied(self, facts: BatchFacts, places: Literal["homes", "channels"]) -> int:
        """Bytes of pooled vectors, each as often as there are `places` with a row of it."""
        size = 0.0
        for own in self._tables:
            spread = own.group.of(facts)[LOOKUP].nodes
            told = spread is not None and spread.vectors
            share = getattr(spread, places) / spread.vectors if spread is not None and told else 1
            size += own.pooled * share
        return round(size)

    def _trained(self, facts: BatchFacts) -> Iterator[Stage]:
        """Rows, trained: a stage a pass, tables of unlike dim one after the other."""
        passes = [list(self._passes(t, t.group.of(facts)[UNIQUE])) for t in self._tables]
        for name, words in zip(self._last, zip(*passes, strict=True), strict=True):
            yield Stage(name, (words,))

    def _passes(self, tables: PoolTables, rows: Flow) -> Iterator[Operation]:
        model, named = tables.group.job.model, tables.group.named
        size = model.width * GRADIENT_BYTES
        if not self.fused:
            yield Accumulate(
                named("accumulate"), self.near.name, rows=rows, source=self._vectors(tables),
                gradient_bytes=size, expanded=False, tables=model.tables,
            )  # fmt: skip
        yield self._update(tables, rows, self._last[-1])

    def _update(self, tables: PoolTables, rows: Flow, name: str) -> Update:
        """`rows`, updated."""
        model, named = tables.group.job.model, tables.group.named
        return Update(
            named(name), self.near.name, tables.store, rows, self._vectors(tables),
            model.width * GRADIENT_BYTES, coalesce=self.fused, expanded=False,
            optimizer=model.optimizer,
        )  # fmt: skip

    def _vectors(self, tables: PoolTables) -> Buffer:
        """Gradients of its pooled vectors, each once."""
        return Buffer("gradients", self.near.dram, tables.pooled)
