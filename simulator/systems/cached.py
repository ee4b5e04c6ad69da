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
)
from simulator.hardware.topology import Topology
from simulator.systems.base import (
    Job,
    System,
    cache_in,
    move,
    planned_replay,
    synchronize,
    tables_in,
)
from simulator.systems.operators import Backward, mlp_step, pooled_bytes, pooled_vectors
from simulator.systems.schedule import Role, Schedule
from simulator.systems.shards import Shard, Shards, side_by_side

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

    name: ClassVar[str]
    """What messages call it."""
    kind: ClassVar[type[Schedule]]

    def __init__(self, job: Job, machine: Topology) -> None:
        self.cpu, self._job = machine.only("cpu", self.name), job
        self.shards = Shards.of(job, machine, self.name)
        if len(self.shards) > 1 and job.cache.scope == "global":
            raise ConfigError(
                f"{self.name} has a scratchpad on each of {len(self.shards)} GPUs, for whole "
                "tables: cache.scope must be 'table'"
            )
        self.schedule = self.kind.of(*STAGES)
        tables_in(job, machine, self.cpu)
        self.replay = self.cache_replay()
        self._scratchpads = [
            _Scratchpad(job, machine, self.cpu, shard, self._slots(shard)) for shard in self.shards
        ]

    def cache_replay(self) -> Replay:
        """The cache that the stages serve: by default what `cache` in the experiment asks for."""
        return planned_replay(self._job, self.schedule)

    def _slots(self, shard: Shard) -> int:
        """Slots of a GPU's scratchpad."""
        slots = self.replay.slots
        return sum(slots) if shard.alone else sum(slots[table] for table in shard.tables)

    @property
    def gpus(self) -> int:
        return len(self.shards)

    def stages(self, facts: BatchFacts) -> tuple[Stage, ...]:
        return side_by_side(scratchpad.stages(facts) for scratchpad in self._scratchpads)


class _Scratchpad:
    """The scratchpad of one GPU, and the stages that serve it and train out of it."""

    def __init__(self, job: Job, machine: Topology, cpu: str, shard: Shard, slots: int) -> None:
        self._job, self._machine, self._shard = job, machine, shard
        self.cpu, self.gpu, self.slots = cpu, shard.gpu, slots
        self.tables = tables_in(job, machine, cpu, shard.tables)
        tables = None if shard.alone else len(shard.tables)
        self.cache = cache_in(job, machine, self.gpu, slots, tables)
        self._dram, self._hbm = (machine.memory(p).place for p in (cpu, self.gpu))
        self._backward = Backward(job.model, machine, job.software, self.gpu, self.cache, slots)

    def stages(self, facts: BatchFacts) -> tuple[Stage, ...]:
        """Its stages of a mini-batch; `facts`: of all tables."""
        facts, done = self._shard.facts(facts), synchronize(self.gpu)
        missed, evicted = facts[MISS].rows, facts[WRITE_BACK].rows
        fetched_below, fetched = self._staged("missed_rows", missed)
        victims_below, victims = self._staged("victim_rows", evicted)
        software = self._job.software
        ids = facts[LOOKUP].lookups * software.id_bytes + self._shard.dense_bytes
        lists = (missed + evicted) * software.id_bytes
        plan: tuple[Operation, ...] = (
            self._plan(facts),
            move("lists_to_cpu", self._hbm, self._dram, lists),
            done,
        )
        if software.lists == "mapped":
            plan = (self._plan(facts, Buffer("lists_to_cpu", self._dram, lists)), done)
        collect = (
            (Gather("gather", self.cpu, self.tables, facts[MISS], fetched_below),),
            (Gather("gather_victims", self.gpu, self.cache, facts[WRITE_BACK], victims), done),
        )
        exchange = (
            (Move("missed_rows", self._dram, fetched_below, self._hbm), done),
            (Move("victim_rows", self._hbm, victims, self._dram), done),
        )
        insert = (
            (Scatter("scatter_missed", self.gpu, fetched, self.cache, facts[MISS]), done),
            (Scatter("row_scatter", self.cpu, victims_below, self.tables, facts[WRITE_BACK]),),
        )
        return (
            Stage("load", ((move("ids_to_gpu", self._dram, self._hbm, ids),),)),
            Stage("plan", (plan,)),
            Stage("collect", collect),
            Stage("exchange", exchange),
            Stage("insert", insert),
            Stage("train", self._train(facts)),
        )

    def _staged(self, name: str, rows: int) -> tuple[Buffer, Buffer]:
        """The staging buffers of `rows` rows in DRAM and in HBM."""
        name, size = self._shard.own(name), rows * self._job.entry_bytes
        return Buffer(name, self._dram, size), Buffer(name, self._hbm, size)

    def _plan(self, facts: BatchFacts, lists: Buffer | None = None) -> Plan:
        lookups, unique, missed = facts[LOOKUP].lookups, facts[UNIQUE].rows, facts[MISS].rows
        return Plan("plan", self.gpu, lookups, unique, missed, self.slots, lists)

    def _train(self, facts: BatchFacts) -> tuple[tuple[Operation, ...], ...]:
        model, shard = self._job.model, self._shard
        forward = pooled_vectors(model, self._machine, self.gpu, self.cache, facts[LOOKUP])
        mlp = mlp_step(model, self.gpu, shard.samples)
        gradients = Buffer("gradients", self._hbm, pooled_bytes(model, self.cache.tables))
        lane = (
            forward,
            *shard.all_to_all("all_to_all"),
            mlp,
            *shard.all_to_all("all_to_all_back"),
            *self._backward.operations(facts[UNIQUE], gradients),
            synchronize(self.gpu),
        )
        return (lane, *shard.reducing(after=mlp.name))
