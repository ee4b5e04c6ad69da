"""Static GPU cache: the hottest rows pinned in HBM, everything else trained on the CPU.

The pinned rows are the hottest by profile of the trace (`cache.profile`) and never change; CPU and
GPU copies are disjoint, so nothing is written back. The GPU splits the ids into hot and cold; it
pools and trains hot rows while the CPU pools and trains cold ones; partial sums and gradients cross
the link. The list of cold ids is as the software makes it: those alone, or all with the hot ones
marked.

On several GPUs each pins the hottest rows of its own tables and gets the partial sums of those; the
CPU pools and trains the cold rows of all tables. Pooled vectors and gradients are exchanged before
and after the MLPs, and the all-reduce runs beside the backward.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from simulator.caches.facts import HIT, LOOKUP, MISS, BatchFacts
from simulator.caches.replays import StaticReplay
from simulator.caches.replays.static import HIT_LOOKUP, MISS_LOOKUP
from simulator.config.experiment import SIZE_KEYS
from simulator.errors import ConfigError
from simulator.hardware.program import Add, Buffer, Move, Operation, Split, Stage, Store
from simulator.hardware.topology import Topology
from simulator.systems.base import Job, System, move, synchronize
from simulator.systems.groups import cache_groups, groups_of, table_groups
from simulator.systems.mlp import mlp_step
from simulator.systems.operators import Backward, pooled_bytes, pooled_vectors
from simulator.systems.schedule import Serial
from simulator.systems.shards import Shard, Shards, side_by_side

__all__ = ["StaticCache"]


class StaticCache(System):
    """The hottest N % of rows in HBM, no replacement."""

    uses: ClassVar[frozenset[str]] = frozenset(
        {*(f"cache.{key}" for key in SIZE_KEYS), "cache.scope", "cache.profile", "gpus"}
    )

    def __init__(self, job: Job, machine: Topology) -> None:
        self.cpu = machine.only("cpu", "static_cache")
        self.shards = Shards.of(job, machine, "static_cache")
        self._job, self._machine = job, machine
        if job.cache.scope == "global":
            raise ConfigError(
                "static_cache pins the hottest share of each table: cache.scope must be 'table'"
            )
        model = job.model
        pinned = job.cache_size.slots(model.rows_per_table, least=0)
        self.replay = StaticReplay(pinned, job.keep, job.cache.profile_share)
        groups = groups_of(job)
        stores = table_groups(groups, job, machine, self.cpu)
        self._cold = tuple(
            (g, _backward(g.job, machine, self.cpu, store, max(g.job.model.rows_per_table)))
            for g, store in zip(groups, stores, strict=True)
        )
        self._pinned = [
            _Pinned(job, machine, self.cpu, shard, [pinned[table] for table in shard.tables])
            for shard in self.shards
        ]
        mlp = ("mlp",) if self.gpus == 1 else ("all_to_all", "mlp", "all_to_all_back")
        self.schedule = Serial.of("split", "forward", "combine", *mlp, "gradients", "backward")

    @property
    def gpus(self) -> int:
        return len(self.shards)

    def stages(self, facts: BatchFacts) -> tuple[Stage, ...]:
        """Hot rows on the GPUs; cold ones beside them, in the last lane of forward and backward."""
        pooled: list[Operation] = []
        trained: list[Operation] = []
        for group, cold in self._cold:
            own = group.of(facts)
            holes, rows = _holes(self._job, own), own[MISS_LOOKUP]
            model, machine = group.job.model, self._machine
            pooled.append(pooled_vectors(model, machine, self.cpu, cold.store, rows, holes))
            trained += cold.operations(own[MISS], skipped=holes)
        beside = {"forward": tuple(pooled), "backward": tuple(trained)}
        hot = side_by_side(pinned.stages(facts) for pinned in self._pinned)
        return tuple(
            Stage(s.name, (*s.lanes, beside[s.name])) if s.name in beside else s for s in hot
        )


def _backward(job: Job, machine: Topology, at: str, store: Store, rows: int) -> Backward:
    """The backward at `at` of tables of one dim, of which an id can name `rows` rows."""
    return Backward(job.model, machine, job.software, at, store, rows)


def _holes(job: Job, facts: BatchFacts) -> int:
    """Ids of hot rows that stand in the list of cold ones, marked."""
    if job.software.cold_list != "holes":
        return 0
    return facts[LOOKUP].lookups - facts[MISS].lookups


class _Pinned:
    """The pinned rows of one GPU, and what it does with them and with its samples."""

    def __init__(
        self, job: Job, machine: Topology, cpu: str, shard: Shard, pinned: Sequence[int]
    ) -> None:
        self._job, self._machine, self._shard = job, machine, shard
        self.gpu = shard.gpu
        self._dram, self._hbm = (machine.memory(p).place for p in (cpu, self.gpu))
        groups = groups_of(shard.job)
        slots = [sum(pinned[table] for table in group.tables) for group in groups]
        caches = cache_groups(groups, machine, self.gpu, slots, tables=shard.counted)
        self._hot = tuple(
            (group, _backward(group.job, machine, self.gpu, cache, max(1, count)))
            for group, cache, count in zip(groups, caches, slots, strict=True)
        )

    def stages(self, facts: BatchFacts) -> tuple[Stage, ...]:
        """Its stages of a mini-batch; `facts`: of all tables."""
        model, shard = self._job.model, self._shard
        facts, pooled = shard.facts(facts), pooled_bytes(shard.job.model)
        sums, gradients = (Buffer(n, self._hbm, pooled) for n in ("pooled", "gradients"))
        done = synchronize(self.gpu)
        pool: list[Operation] = []
        train: list[Operation] = []
        for group, hot in self._hot:
            own = group.of(facts)
            rows, tables = own[HIT_LOOKUP], group.job.model
            pool.append(pooled_vectors(tables, self._machine, self.gpu, hot.store, rows))
            train += hot.operations(own[HIT])
        back: tuple[Operation, ...] = (
            Move("gradients_to_cpu", self._hbm, gradients, self._dram),
            done,
        )
        combine = (
            move("partial_sums", self._dram, self._hbm, pooled + shard.dense_bytes),
            Add("add_partial_sums", self.gpu, (sums, sums), sums),
        )
        return (
            Stage("split", ((*self._split(facts), done),)),
            Stage("forward", (tuple(pool),)),
            Stage("combine", (combine,)),
            *shard.exchange("all_to_all"),
            Stage("mlp", ((mlp_step(model, self.gpu, shard.samples),),)),
            *shard.exchange("all_to_all_back"),
            Stage("gradients", (back,)),
            Stage("backward", (tuple(train), *shard.reducing())),
        )

    def _split(self, facts: BatchFacts) -> tuple[Operation, ...]:
        """Ids to the GPU, those of cold rows back."""
        software, dram, hbm = self._job.software, self._dram, self._hbm
        lookups = facts[LOOKUP].lookups
        ids = move("ids_to_gpu", dram, hbm, lookups * software.id_bytes)
        back = (facts[MISS].lookups + _holes(self._job, facts)) * software.id_bytes
        if software.lists == "mapped":
            return ids, Split("split", self.gpu, lookups, Buffer("cold_ids_to_cpu", dram, back))
        return ids, Split("split", self.gpu, lookups), move("cold_ids_to_cpu", hbm, dram, back)
