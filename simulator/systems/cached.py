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
from simulator.systems.operators import Backward, dense_bytes, mlp_step, pooled_vectors
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
        self.tables = tables_in(job, machine, self.cpu)
        self.replay = self.cache_replay()
        self.slots = sum(self.replay.slots)
        self.cache = cache_in(job, machine, self.gpu, self.slots)
        self._dram, self._hbm = (machine.memory(p).place for p in (self.cpu, self.gpu))
        self._backward = Backward(
            job.model, machine, job.software, self.gpu, self.cache, self.slots
        )

    def cache_replay(self) -> Replay:
        """The cache that the stages serve: by default what `cache` in the experiment asks for."""
        return planned_replay(self._job, self.schedule)

    def stages(self, facts: BatchFacts) -> tuple[Stage, ...]:
        done = synchronize(self.gpu)
        missed, evicted = facts[MISS].rows, facts[WRITE_BACK].rows
        fetched_below, fetched = self._staged("missed_rows", missed)
        victims_below, victims = self._staged("victim_rows", evicted)
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
            Stage("train", ((*self._train(facts), done),)),
        )

    def _staged(self, name: str, rows: int) -> tuple[Buffer, Buffer]:
        """The staging buffers of `rows` rows in DRAM and in HBM."""
        size = rows * self._job.entry_bytes
        return Buffer(name, self._dram, size), Buffer(name, self._hbm, size)

    def _plan(self, facts: BatchFacts, lists: Buffer | None = None) -> Plan:
        lookups, unique, missed = facts[LOOKUP].lookups, facts[UNIQUE].rows, facts[MISS].rows
        return Plan("plan", self.gpu, lookups, unique, missed, self.slots, lists)

    def _train(self, facts: BatchFacts) -> tuple[Operation, ...]:
        model = self._job.model
        forward = pooled_vectors(model, self._machine, self.gpu, self.cache, facts[LOOKUP])
        return (
            forward,
            mlp_step(model, self.gpu),
            *self._backward.operations(facts[UNIQUE]),
        )
