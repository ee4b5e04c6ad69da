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
from dataclasses import dataclass
from typing import ClassVar

from simulator.caches.facts import HIT, LOOKUP, MISS, BatchFacts
from simulator.caches.replays import StaticReplay
from simulator.caches.replays.static import HIT_LOOKUP, MISS_LOOKUP
from simulator.config.sections import SIZE_KEYS
from simulator.errors import ConfigError
from simulator.hardware.program import (
    Add,
    Buffer,
    Flow,
    Move,
    Operation,
    Pool,
    Split,
    Stage,
)
from simulator.hardware.topology import Topology
from simulator.systems.base import Consistency, Job, System, SystemGroup, move, synchronize
from simulator.systems.groups import Group, cache_groups, groups_of, table_groups
from simulator.systems.host_cache import Fetching, fetch_stages
from simulator.systems.mlp import mlp_step
from simulator.systems.operators import Backward, pooled_bytes, pooled_vectors
from simulator.systems.schedule import Serial
from simulator.systems.shards import Shard, Shards, side_by_side
from simulator.systems.tiers import Touched, tiered

__all__ = ["StaticCache"]


@dataclass(frozen=True)
class _Rows:
    """Pinned rows of tables of one dim, or all others, and how one processor trains them."""

    group: Group
    passes: Backward

    def pooled(self, lookups: Flow, skipped: int = 0) -> Pool:
        """Gather-reduce of their lookups; `skipped`: ids that are marked in the list of them."""
        passes = self.passes
        model, machine = passes.model, passes.machine
        return pooled_vectors(model, machine, passes.at, passes.store, lookups, skipped)


class StaticCache(System):
    """The hottest N % of rows in HBM, no replacement."""

    group: ClassVar[SystemGroup] = "baseline"
    source: ClassVar[str] = "Kwon and Rhu, ScratchPipe, ISCA 2022 (its static GPU cache)"
    consistency: ClassVar[Consistency] = Consistency(
        "equal",
        "One copy of every row: the pinned ones in HBM, all others in DRAM; a mini-batch is done "
        "before the next one starts.",
        sums="the vector of a sample: its pinned rows, then the others",
    )
    uses: ClassVar[frozenset[str]] = frozenset(
        {*(f"cache.{key}" for key in SIZE_KEYS), "cache.scope", "cache.profile", "gpus", "tables"}
    )

    def __init__(self, job: Job, machine: Topology) -> None:
        self.cpu = machine.only("cpu", "static_cache")
        self.shards = Shards.of(job, machine, "static_cache")
        job, self._machine = self.shards.job, machine
        if job.cache.scope == "global":
            raise ConfigError(
                "static_cache pins the hottest share of each table: cache.scope must be 'table'"
            )
        pinned = job.cache_size.slots(job.model.rows_per_table, least=0)
        replay = StaticReplay(pinned, job.keep, job.cache.profile_share, job.parts)
        self.replay = tiered(replay, job, machine, self.cpu, Touched(MISS, MISS))
        self._cold = _Cold(job, machine, self.cpu)
        self._pinned = [
            _Pinned(machine, self.cpu, shard, [pinned[table] for table in shard.tables])
            for shard in self.shards
        ]
        mlp = ("mlp",) if self.gpus == 1 else ("all_to_all", "mlp", "all_to_all_back")
        self.schedule = Serial.of(
            *("split", *fetch_stages(job), "forward", "combine", *mlp, "gradients", "backward")
        )

    @property
    def gpus(self) -> int:
        return len(self.shards)

    @property
    def placed(self) -> tuple[tuple[int, ...], ...]:
        return self.shards.placed

    def stages(self, facts: BatchFacts) -> tuple[Stage, ...]:
        """Hot rows on the GPUs; cold ones beside them, in the last lane of forward and backward."""
        hot = side_by_side(
            pinned.stages(shard.facts(facts))
            for shard, pinned in zip(self.shards, self._pinned, strict=True)
        )
        return self._cold.beside(hot, facts)

    def rank_stages(self, facts: BatchFacts, rank: int) -> tuple[Stage, ...]:
        cold = _Cold(self.shards.each[rank].job, self._machine, self.cpu)
        return cold.beside(self._pinned[rank].stages(facts), facts)


class _Cold:
    """All rows that no GPU has pinned, of the tables of a job, on the CPU."""

    def __init__(self, job: Job, machine: Topology, cpu: str) -> None:
        self._job = job
        groups = groups_of(job)
        tables = table_groups(groups, job, machine, cpu)
        self._fetching = Fetching.of(job, machine, cpu, list(zip(groups, tables, strict=True)))
        self._rows = tuple(
            _Rows(g, Backward(g.job.model, machine, job.software, cpu, store, _longest(g)))
            for g, store in zip(groups, tables, strict=True)
        )

    def beside(self, hot: Sequence[Stage], facts: BatchFacts) -> tuple[Stage, ...]:
        """The stages of hot rows with a lane for cold ones in forward and backward, which are
        fetched after the split; `facts`: of the tables of its job."""
        pool: list[Operation] = []
        train: list[Operation] = []
        for rows in self._rows:
            own, passes = rows.group.of(facts), rows.passes
            holes = _holes(self._job, own)
            pool.append(rows.pooled(own[MISS_LOOKUP], holes))
            train += passes.operations(own[MISS], skipped=holes)
        lanes = {"forward": tuple(pool), "backward": tuple(train)}
        split, *others = (
            Stage(s.name, (*s.lanes, lanes[s.name])) if s.name in lanes else s for s in hot
        )
        return (split, *self._fetching.stages(facts), *others)


def _longest(group: Group) -> int:
    """Rows of its largest table."""
    return max(group.job.model.rows_per_table)


def _holes(job: Job, facts: BatchFacts) -> int:
    """Ids of hot rows that stand in the list of cold ones, marked."""
    if job.software.cold_list != "holes":
        return 0
    return facts[LOOKUP].lookups - facts[MISS].lookups


class _Pinned:
    """The pinned rows of one GPU, and what it does with them and with its samples."""

    def __init__(self, machine: Topology, cpu: str, shard: Shard, pinned: Sequence[int]) -> None:
        self._job, self._shard = shard.job, shard
        self.gpu = shard.gpu
        self._dram, self._hbm = (machine.memory(p).place for p in (cpu, self.gpu))
        groups, software = groups_of(self._job), self._job.software
        slots = [sum(pinned[table] for table in group.tables) for group in groups]
        caches = cache_groups(groups, machine, self.gpu, slots, shard.whose)
        self._hot = tuple(
            _Rows(g, Backward(g.job.model, machine, software, self.gpu, cache, max(1, count)))
            for g, cache, count in zip(groups, caches, slots, strict=True)
        )

    def stages(self, facts: BatchFacts) -> tuple[Stage, ...]:
        """Its stages of a mini-batch; `facts`: of its tables."""
        shard, pooled = self._shard, pooled_bytes(self._job.model)
        sums, gradients = (Buffer(n, self._hbm, pooled) for n in ("pooled", "gradients"))
        done = synchronize(self.gpu)
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
            Stage("forward", (self._forward(facts),)),
            Stage("combine", (combine,)),
            *shard.exchange("all_to_all"),
            Stage("mlp", ((mlp_step(shard.whole.model, self.gpu, shard.samples),),)),
            *shard.exchange("all_to_all_back"),
            Stage("gradients", (back,)),
            Stage("backward", (self._trained(facts), *shard.reducing())),
        )

    def _with(self, facts: BatchFacts) -> list[tuple[_Rows, BatchFacts]]:
        """Its rows by group, each with the facts of its group."""
        return [(rows, rows.group.of(facts)) for rows in self._hot]

    def _forward(self, facts: BatchFacts) -> tuple[Operation, ...]:
        """Its rows, pooled."""
        return tuple(
            rows.pooled(f[HIT_LOOKUP], f[MISS_LOOKUP].lookups) for rows, f in self._with(facts)
        )

    def _trained(self, facts: BatchFacts) -> tuple[Operation, ...]:
        """Its rows, trained."""
        return tuple(
            word
            for rows, f in self._with(facts)
            for word in rows.passes.operations(f[HIT], skipped=f[MISS_LOOKUP].lookups)
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
