"""RecShard: the hottest rows of each table in the HBM of its GPU, the others in host memory, read
and updated over the link (Sethi et al., ASPLOS 2022).

No code is public. Recalled: one placement before training; each table's rows, sorted by how often
they are accessed, are split between HBM and host memory (UVM, zero-copy) of one GPU; a program
picks GPU and split (`placement/recshard.py` has its formula, and what stands in its place here).
Published: over 6x the embedding throughput, over 12x better balance of load, over 87 times fewer
accesses of slow memory, on 16 GPUs.

So this is `gpu_only` whose kernels find cold rows in host memory. Beside `static_cache` with as
many hot rows the difference is who touches cold ones: the GPU over its link, not threads of the
CPU. Ours: `cache` gives the HBM for rows, over all GPUs; optimizer state lies beside its row. Left
out: features that samples lack, hashed rows that are never touched (they come last in any case).
`model.placement` is of no account: the placement is RecShard's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import ClassVar

from simulator.caches.facts import HIT, MISS, BatchFacts
from simulator.caches.replays import Replay, StaticReplay
from simulator.caches.replays.static import HIT_LOOKUP, MISS_LOOKUP
from simulator.config.sections import SIZE_KEYS
from simulator.errors import ConfigError
from simulator.hardware.program import Elsewhere, Operation, Update
from simulator.hardware.topology import Topology
from simulator.systems.base import Consistency, Job, SystemGroup, entry_sizes, require_room
from simulator.systems.gpu_only import GpuOnly, Held, Rank, Whole, require_tables_for
from simulator.systems.groups import Group
from simulator.systems.layout import Layout
from simulator.systems.mlp import mlp_weight_bytes
from simulator.systems.operators import Backward, pooled_bytes, pooled_vectors
from simulator.systems.placement import link_rate
from simulator.systems.placement.recshard import Budget, HotTable, place_rows
from simulator.systems.shards import Shard
from simulator.traces.coverage import coverages, even_coverage

__all__ = ["RecShard"]


class RecShard(GpuOnly):
    """The hottest rows of each table in HBM, the others touched over the link."""

    group: ClassVar[SystemGroup] = "rival"
    source: ClassVar[str] = "Sethi et al., RecShard, ASPLOS 2022 (no public code)"
    consistency: ClassVar[Consistency] = Consistency(
        "equal",
        "One copy of every row, in HBM or in host memory; a mini-batch is done before the next "
        "one starts.",
    )
    unknown: ClassVar[tuple[str, ...]] = (
        "Its exact program and solver, its profiled distributions, its 397 tables.",
        "How many reads a GPU of each generation keeps in flight over its link is assumed.",
    )
    name: ClassVar[str] = "recshard"
    uses: ClassVar[frozenset[str]] = frozenset(
        {*(f"cache.{key}" for key in SIZE_KEYS), "cache.profile", "gpus"}
    )

    def _placed(self) -> Layout:
        job, model = self._job, self._job.model
        if model.sharding != "table":
            raise ConfigError(
                f"recshard splits tables by rows between HBM and host memory, and puts each on one "
                f"GPU: model.sharding {model.sharding} would do nothing; set model.sharding: table"
            )
        require_tables_for(job, self.ranks, self.name)
        budget = self._budget()
        placed = place_rows(_tables(job, budget.hot_bytes), budget)
        self._hot = placed.hot
        return Layout(job, job, placed.by_gpu)

    def _budget(self) -> Budget:
        """HBM that `cache` asks for; `CapacityError` where all GPUs have less for rows."""
        job, machine, first = self._job, self._machine, self.ranks[0]
        model, memory = job.model, machine.memory(first)
        (rows,) = job.cache_size.slots([model.rows], least=0)
        size = rows * sum(model.table_bytes) // model.rows
        room = max(0, memory.capacity - 2 * mlp_weight_bytes(model) - 2 * pooled_bytes(model))
        part = machine.devices[first].part.name
        require_room(
            f"recshard: {rows:,} hot rows of {entry_sizes(model)}",
            size,
            f"{self.gpus} x {part} (less MLPs and pooled vectors)",
            room * self.gpus,
            f"lower {job.cache_size.key}",
        )
        cpu = machine.only("cpu", self.name, near=first)
        return Budget(
            size,
            self.gpus,
            room,
            memory.timing.peak_bandwidth,
            link_rate(machine, first, cpu),
        )

    def _require_room(self, machine: Topology, layout: Layout) -> None:
        """Cold rows must fit the memories of their hosts; hot ones were placed by room."""
        model = self._job.model
        cold: dict[str, int] = {}
        for gpu, tables in zip(self.ranks, layout.placed, strict=True):
            cpu = machine.only("cpu", self.name, near=gpu)
            size = sum(
                (model.rows_per_table[t] - self._hot[t]) * model.entry_bytes[t] for t in tables
            )
            cold[cpu] = cold.get(cpu, 0) + size
        for cpu, size in cold.items():
            memory = machine.memory(cpu)
            require_room(
                "recshard: cold rows",
                size,
                f"{memory.place} of {machine.name}",
                memory.capacity,
                f"raise {self._job.cache_size.key}, or use a smaller model",
            )

    def _rows(self, layout: Layout) -> Replay:
        return StaticReplay(self._hot, self._job.keep, self._job.cache.profile_share)

    def _shape(self, shard: Shard) -> tuple[object, ...]:
        return *super()._shape(shard), *sorted(self._hot[table] for table in shard.tables)

    def _rank(self, *shards: Shard) -> Rank:
        return _TieredRank(self._machine, shards, self.replay.counted, self._hot)


def _tables(job: Job, hot_bytes: int) -> list[HotTable]:
    """The tables as the placement sees them; while the trace is not open rows are alike."""
    model, share = job.model, job.cache.profile_share
    if job.trace is None:
        covered = tuple(map(even_coverage, model.rows_per_table))
    else:
        most = [hot_bytes // entry for entry in model.entry_bytes]
        covered = coverages(job.trace, most, share)
    each = zip(model.rows_per_table, model.entry_bytes, model.table_lookups, model.dim, strict=True)
    return [
        HotTable(rows, entry, model.batch_size * lookups * dim * 4, coverage)
        for (rows, entry, lookups, dim), coverage in zip(each, covered, strict=True)
    ]


class _TieredRank(Rank):
    """A GPU with the hot rows of its tables, which reaches the cold ones over the link."""

    def __init__(
        self, machine: Topology, shards: Sequence[Shard], counted: Whole, hot: Sequence[int]
    ) -> None:
        super().__init__(machine, shards, counted)
        own = [hot[table] for table in self._shards[0].tables]
        self._held = tuple(
            self._tiered(held.group, held.backward, [own[table] for table in held.group.tables])
            for held in self._held
        )

    def _tiered(self, group: Group, backward: Backward, hot: Sequence[int]) -> Held:
        """Its hot rows lie in slots, one after the other."""
        model, tables = group.job.model, backward.store
        if sum(hot) == model.rows:
            return Held(group, backward)
        cold = replace(tables, memory=self._dram, bytes=sum(model.table_bytes))
        slots = replace(tables, name=group.named("hot"), slotted=True)
        return Held(group, replace(backward, store=slots), cold)

    def _pooled(self, held: Held, rows: BatchFacts) -> Operation:
        """One kernel looks up all rows, wherever they lie."""
        if held.cold is None:
            return super()._pooled(held, rows)
        model, store = held.group.job.model, held.backward.store
        word = pooled_vectors(model, self._machine, self.gpu, store, rows[HIT_LOOKUP])
        return replace(word, elsewhere=Elsewhere(held.cold, rows[MISS_LOOKUP]))

    def _updated(self, held: Held, rows: BatchFacts) -> Iterator[Operation]:
        """One kernel updates all rows where they lie."""
        for word in super()._updated(held, rows):
            if isinstance(word, Update) and held.cold is not None:
                word = replace(word, rows=rows[HIT], elsewhere=Elsewhere(held.cold, rows[MISS]))
            yield word
