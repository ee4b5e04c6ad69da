"""The stages that the straw-man and ScratchPipe share: Load, Plan, Collect, Exchange, Insert,
Train (Kwon and Rhu, ISCA 2022).

Load reads the mini-batch and sends its ids to the GPU. Plan looks the unique ids up in the
Hit-Map, chooses victims, and sends the lists of missed and victim rows to the host (a copy, or
stores of its own where the software maps them). Collect
gathers missed rows from DRAM and victims from HBM. Exchange sends both over the link at once.
Insert writes fetched rows into their slots and victims into the CPU tables. Train does all
embedding work and the MLPs on the GPU. The host waits for the GPU at the end of every stage but
Load, whose copy Plan follows in stream order.

On several GPUs each has a scratchpad for its own tables and does all of that for them, side by
side with the others; the CPU gathers and scatters for each of them in a lane of its own. In Train
they exchange pooled vectors and gradients, and the all-reduce runs beside the updates.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from simulator.caches.facts import LOOKUP, MISS, UNIQUE, WRITE_BACK, BatchFacts
from simulator.caches.replays import Replay
from simulator.errors import ConfigError
from simulator.hardware.program import (
    Buffer,
    Gather,
    Move,
    Operation,
    Plan,
    Scatter,
    Stage,
    Store,
)
from simulator.hardware.topology import Topology
from simulator.systems.base import (
    Job,
    System,
    SystemGroup,
    hold_window,
    move,
    planned_replay,
    require_tables,
    synchronize,
)
from simulator.systems.groups import Group, cache_groups, groups_of, table_groups
from simulator.systems.host_cache import FETCH, Fetching, fetch_stages, fetches_ahead
from simulator.systems.mlp import mlp_step
from simulator.systems.operators import Backward, pooled_vectors
from simulator.systems.schedule import Role, Schedule
from simulator.systems.shards import Shard, Shards, side_by_side
from simulator.systems.tiers import Touched, tiered

__all__ = ["STAGES", "CachedTraining"]

STAGES: tuple[tuple[str, Role], ...] = (
    ("load", "load"),
    ("plan", "plan"),
    ("collect", "read"),
    ("exchange", "move"),
    ("insert", "write"),
    ("train", "train"),
)


class CachedTraining(System):
    """One iteration that always trains out of HBM, stage by stage."""

    group: ClassVar[SystemGroup] = "study"
    name: ClassVar[str]
    """What messages call it."""
    kind: ClassVar[type[Schedule]]

    def __init__(self, job: Job, machine: Topology) -> None:
        self.cpu = machine.only("cpu", self.name)
        self.shards = Shards.of(job, machine, self.name)
        self._job = self.shards.job
        if len(self.shards) > 1 and job.cache.scope == "global":
            raise ConfigError(
                f"{self.name} has a scratchpad on each of {len(self.shards)} GPUs, for tables "
                "of its own: cache.scope must be 'table'"
            )
        load, plan, *others = STAGES
        ahead = self._fetches(job, machine) if self.kind(()).overlaps else 1
        self.schedule = self.kind.of(load, plan, *fetch_stages(job, ahead), *others)
        if not job.tables.tier:
            require_tables(job.model, machine, self.cpu)
        held = self.schedule.distance(FETCH, "write") if job.tables.cache else 0
        own = Touched(MISS, WRITE_BACK, held)
        self.replay = tiered(self.cache_replay(), self._job, machine, self.cpu, own)
        window = hold_window(self._job, self.schedule)
        self._scratchpads = [
            _Scratchpad(machine, self.cpu, shard, _Pools(self._slots(shard), window.future), ahead)
            for shard in self.shards
        ]

    def _fetches(self, job: Job, machine: Topology) -> int:
        """Mini-batches that rows of a tier below come up for at once."""
        first, *_ = self.shards
        return fetches_ahead(job, machine, self.cpu, first.gpu, first.samples)

    def cache_replay(self) -> Replay:
        """The cache that the stages serve: by default what `cache` in the experiment asks for."""
        return planned_replay(self._job, self.schedule)

    def _slots(self, shard: Shard) -> tuple[int, ...]:
        """Slots of each pool of a GPU's scratchpad."""
        slots = self.replay.slots
        return tuple(slots) if shard.alone else tuple(slots[table] for table in shard.tables)

    @property
    def gpus(self) -> int:
        return len(self.shards)

    @property
    def placed(self) -> tuple[tuple[int, ...], ...]:
        return self.shards.placed

    def stages(self, facts: BatchFacts) -> tuple[Stage, ...]:
        return side_by_side(
            scratchpad.stages(shard.facts(facts))
            for shard, scratchpad in zip(self.shards, self._scratchpads, strict=True)
        )

    def rank_stages(self, facts: BatchFacts, rank: int) -> tuple[Stage, ...]:
        return self._scratchpads[rank].stages(facts)


_Lanes = tuple[list[Operation], list[Operation], list[Operation]]
"""Operations of a lane in the stages that read, move and write rows."""


@dataclass(frozen=True)
class _Held:
    """Tables of one dim, their cache, and its backward."""

    group: Group
    tables: Store
    cache: Store
    backward: Backward


@dataclass(frozen=True, slots=True)
class _Pools:
    """Slots of each pool of a scratchpad, and mini-batches ahead whose rows keep theirs."""

    slots: tuple[int, ...]
    ahead: int


class _Scratchpad:
    """The scratchpad of one GPU, and the stages that serve it and train out of it."""

    def __init__(
        self, machine: Topology, cpu: str, shard: Shard, pools: _Pools, ahead: int
    ) -> None:
        job = shard.job
        self._machine, self._shard, self._software = machine, shard, job.software
        self.cpu, self.gpu, slots = cpu, shard.gpu, pools.slots
        self.slots, self._held_ahead = sum(slots), pools.ahead
        self._dram, self._hbm = (machine.memory(p).place for p in (cpu, self.gpu))
        groups = groups_of(job)
        tables = table_groups(groups, job, machine, cpu)
        self._fetching = Fetching.of(
            job, machine, cpu, list(zip(groups, tables, strict=True)), ahead
        )
        counts = [self.slots if g.alone else sum(slots[t] for t in g.tables) for g in groups]
        caches = cache_groups(groups, machine, self.gpu, counts, shard.whose)
        self._held = tuple(
            _Held(g, below, cache, Backward(g.job.model, machine, job.software, self.gpu, cache, n))
            for g, below, cache, n in zip(groups, tables, caches, counts, strict=True)
        )

    def stages(self, facts: BatchFacts) -> tuple[Stage, ...]:
        """Its stages of a mini-batch; `facts`: of its tables."""
        done = synchronize(self.gpu)
        missed, evicted = facts[MISS].rows, facts[WRITE_BACK].rows
        software = self._software
        ids = facts[LOOKUP].lookups * software.id_bytes + self._shard.dense_bytes
        lists = (missed + evicted) * software.id_bytes
        plan: tuple[Operation, ...] = (
            self._plan(facts),
            move("lists_to_cpu", self._hbm, self._dram, lists),
            done,
        )
        if software.lists == "mapped":
            plan = (self._plan(facts, Buffer("lists_to_cpu", self._dram, lists)), done)
        down, up = ([tuple(words) for words in lanes] for lanes in self._swaps(facts))
        return (
            Stage("load", ((move("ids_to_gpu", self._dram, self._hbm, ids),),)),
            Stage("plan", (plan,)),
            *self._fetching.stages(facts),
            Stage("collect", (down[0], (*up[0], done))),
            Stage("exchange", ((*down[1], done), (*up[1], done))),
            Stage("insert", ((*down[2], done), up[2])),
            Stage("train", self._train(facts)),
        )

    def _swaps(self, facts: BatchFacts) -> tuple[_Lanes, _Lanes]:
        """Missed rows on their way down to the GPU, victims on theirs up: what reads them, what
        moves them, what writes them."""
        down: _Lanes = ([], [], [])
        up: _Lanes = ([], [], [])
        for held in self._held:
            group = held.group
            own = group.of(facts)
            missed, evicted = own[MISS], own[WRITE_BACK]
            fetched_below, fetched = self._staged(group, "missed_rows", missed.rows)
            victims_below, victims = self._staged(group, "victim_rows", evicted.rows)
            down[0].append(Gather("gather", self.cpu, held.tables, missed, fetched_below))
            down[1].append(Move("missed_rows", self._dram, fetched_below, self._hbm))
            down[2].append(Scatter("scatter_missed", self.gpu, fetched, held.cache, missed))
            up[0].append(Gather("gather_victims", self.gpu, held.cache, evicted, victims))
            up[1].append(Move("victim_rows", self._hbm, victims, self._dram))
            up[2].append(Scatter("row_scatter", self.cpu, victims_below, held.tables, evicted))
        return down, up

    def _staged(self, group: Group, name: str, rows: int) -> tuple[Buffer, Buffer]:
        """The staging buffers of `rows` rows in DRAM and in HBM."""
        size, name = rows * group.job.entry_bytes, self._shard.own(group.named(name))
        return Buffer(name, self._dram, size), Buffer(name, self._hbm, size)

    def _plan(self, facts: BatchFacts, lists: Buffer | None = None) -> Plan:
        lookups, unique, missed = facts[LOOKUP].lookups, facts[UNIQUE].rows, facts[MISS].rows
        slots, ahead = self.slots, self._held_ahead
        return Plan("plan", self.gpu, lookups, unique, missed, slots, lists, ahead)

    def _train(self, facts: BatchFacts) -> tuple[tuple[Operation, ...], ...]:
        shard = self._shard
        forward: list[Operation] = []
        backward: list[Operation] = []
        for held in self._held:
            own, model = held.group.of(facts), held.group.job.model
            pool = pooled_vectors(model, self._machine, self.gpu, held.cache, own[LOOKUP])
            forward.append(pool)
            backward += held.backward.operations(own[UNIQUE])
        mlp = mlp_step(shard.whole.model, self.gpu, shard.samples)
        lane = (
            *forward,
            *shard.to_samples(),
            mlp,
            *shard.to_tables(),
            *backward,
            synchronize(self.gpu),
        )
        return (lane, *shard.reducing(after=mlp.name))
