"""The stages that the straw-man and ScratchPipe share: Load, Plan, Collect, Exchange, Insert,
Train (Kwon and Rhu, ISCA 2022).

Load reads the mini-batch and sends its ids to the GPU. Plan looks the unique ids up in the
Hit-Map, chooses victims, and sends the lists of missed and victim rows to the host (a copy, or
stores of its own where the software maps them). Collect
gathers missed rows from DRAM and victims from HBM. Exchange sends both over the link at once.
Insert writes fetched rows into their slots and victims into the CPU tables. Train does all
embedding work and the MLPs on the GPU. The host waits for the GPU at the end of every stage but
Load, whose copy Plan follows in stream order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from simulator.caches.facts import LOOKUP, MISS, UNIQUE, WRITE_BACK, BatchFacts
from simulator.caches.replays import Replay
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
    move,
    planned_replay,
    synchronize,
)
from simulator.systems.groups import Group, cache_groups, groups_of, table_groups
from simulator.systems.mlp import dense_bytes, mlp_step
from simulator.systems.operators import Backward, pooled_vectors
from simulator.systems.schedule import Role, Schedule

__all__ = ["STAGES", "CachedTraining"]

STAGES: tuple[tuple[str, Role], ...] = (
    ("load", "load"),
    ("plan", "plan"),
    ("collect", "read"),
    ("exchange", "move"),
    ("insert", "write"),
    ("train", "train"),
)


_Lanes = tuple[list[Operation], list[Operation], list[Operation]]
"""Operations of a lane in the stages that read, move and write rows."""


@dataclass(frozen=True)
class _Held:
    """Tables of one dim, their cache, and its backward."""

    group: Group
    tables: Store
    cache: Store
    backward: Backward


class CachedTraining(System):
    """One iteration that always trains out of HBM, stage by stage."""

    name: ClassVar[str]
    """What messages call it."""
    kind: ClassVar[type[Schedule]]

    def __init__(self, job: Job, machine: Topology) -> None:
        name = self.name
        self.cpu, self.gpu = machine.only("cpu", name), machine.first("gpu", name)
        self._job, self._machine = job, machine
        self.schedule = self.kind.of(*STAGES)
        groups = groups_of(job)
        tables = table_groups(groups, job, machine, self.cpu)
        self.replay = self.cache_replay()
        self.slots = sum(self.replay.slots)
        slots = [self._slots_of(group) for group in groups]
        caches = cache_groups(groups, machine, self.gpu, slots)
        self._dram, self._hbm = (machine.memory(p).place for p in (self.cpu, self.gpu))
        self._held = tuple(
            _Held(g, below, cache, Backward(g.job.model, machine, job.software, self.gpu, cache, n))
            for g, below, cache, n in zip(groups, tables, caches, slots, strict=True)
        )

    def _slots_of(self, group: Group) -> int:
        """Slots of the pools of a group's tables."""
        slots = self.replay.slots
        return self.slots if group.alone else sum(slots[table] for table in group.tables)

    def cache_replay(self) -> Replay:
        """The cache that the stages serve: by default what `cache` in the experiment asks for."""
        return planned_replay(self._job, self.schedule)

    def stages(self, facts: BatchFacts) -> tuple[Stage, ...]:
        done = synchronize(self.gpu)
        missed, evicted = facts[MISS].rows, facts[WRITE_BACK].rows
        software = self._job.software
        ids = facts[LOOKUP].lookups * software.id_bytes + dense_bytes(self._job.model)
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
            Stage("collect", (down[0], (*up[0], done))),
            Stage("exchange", ((*down[1], done), (*up[1], done))),
            Stage("insert", ((*down[2], done), up[2])),
            Stage("train", ((*self._train(facts), done),)),
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
        size, name = rows * group.job.entry_bytes, group.named(name)
        return Buffer(name, self._dram, size), Buffer(name, self._hbm, size)

    def _plan(self, facts: BatchFacts, lists: Buffer | None = None) -> Plan:
        lookups, unique, missed = facts[LOOKUP].lookups, facts[UNIQUE].rows, facts[MISS].rows
        return Plan("plan", self.gpu, lookups, unique, missed, self.slots, lists)

    def _train(self, facts: BatchFacts) -> tuple[Operation, ...]:
        forward = (
            pooled_vectors(
                held.group.job.model,
                self._machine,
                self.gpu,
                held.cache,
                held.group.of(facts)[LOOKUP],
            )
            for held in self._held
        )
        backward = (
            word
            for held in self._held
            for word in held.backward.operations(held.group.of(facts)[UNIQUE])
        )
        return (*forward, mlp_step(self._job.model, self.gpu), *backward)
