"""A pipelined system whose five stages have names of their own.

ScratchPipe with Load and Plan in one stage. What each stage does with rows is its role; the hold
window, the depth and the tail follow from the roles. Named in `scratchpipe.systems` as
`five_stages`.
"""

from __future__ import annotations

from typing import ClassVar

from simulator.caches import LOOKUP, MISS, UNIQUE, WRITE_BACK, BatchFacts
from simulator.hardware import Buffer, Gather, Move, Plan, Scatter, Stage, Topology
from simulator.systems import (
    Backward,
    Job,
    Pipeline,
    System,
    cache_in,
    dense_bytes,
    mlp_step,
    move,
    planned_replay,
    pooled_vectors,
    synchronize,
    tables_in,
)


class FiveStages(System):
    """Admit, fetch, swap, settle, learn: an always-hit cache in five stages."""

    uses: ClassVar[frozenset[str]] = frozenset({"cache", "pipeline"})

    def __init__(self, job: Job, machine: Topology) -> None:
        self.cpu, self.gpu = machine.only("cpu", "five_stages"), machine.first("gpu", "five_stages")
        self._job, self._machine = job, machine
        self.schedule = Pipeline.of(
            ("admit", "plan"), ("fetch", "read"), ("swap", "move"), ("settle", "write"), "learn"
        )
        self.tables = tables_in(job, machine, self.cpu)
        self.replay = planned_replay(job, self.schedule)
        self.slots = sum(self.replay.slots)
        self.cache = cache_in(job, machine, self.gpu, self.slots)
        self.backward = Backward(job.model, machine, job.software, self.gpu, self.cache, self.slots)

    def stages(self, facts: BatchFacts) -> tuple[Stage, ...]:
        model, machine, entry = self._job.model, self._machine, self._job.entry_bytes
        dram, hbm = machine.memory(self.cpu).place, machine.memory(self.gpu).place
        done = synchronize(self.gpu)
        looked_up, missed, evicted = facts[LOOKUP], facts[MISS], facts[WRITE_BACK]
        ids = looked_up.lookups * self._job.software.id_bytes + dense_bytes(model)
        lists = (missed.rows + evicted.rows) * self._job.software.id_bytes
        plan = Plan(
            "plan", self.gpu, looked_up.lookups, facts[UNIQUE].rows, missed.rows, self.slots
        )
        below = Buffer("missed", dram, missed.rows * entry)
        above = Buffer("evicted", hbm, evicted.rows * entry)
        admit = (move("ids", dram, hbm, ids), plan, move("lists", hbm, dram, lists), done)
        fetch = (
            (Gather("fetch_missed", self.cpu, self.tables, missed, below),),
            (Gather("fetch_evicted", self.gpu, self.cache, evicted, above), done),
        )
        swap = (
            (Move("missed_down", dram, below, hbm), done),
            (Move("evicted_up", hbm, above, dram), done),
        )
        landed = Buffer(below.name, hbm, below.bytes)
        returned = Buffer(above.name, dram, above.bytes)
        settle = (
            (Scatter("settle_missed", self.gpu, landed, self.cache, missed), done),
            (Scatter("settle_evicted", self.cpu, returned, self.tables, evicted),),
        )
        learn = (
            pooled_vectors(model, machine, self.gpu, self.cache, looked_up),
            mlp_step(model, self.gpu),
            *self.backward.operations(facts[UNIQUE]),
            done,
        )
        return (
            Stage("admit", (admit,)),
            Stage("fetch", fetch),
            Stage("swap", swap),
            Stage("settle", settle),
            Stage("learn", (learn,)),
        )
