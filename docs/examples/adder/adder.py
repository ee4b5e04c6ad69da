"""An adder inside a memory: rows are summed where they lie, only pooled vectors leave.

Two things in one file. `AdderMemory` is a kind of part (named in `scratchpipe.parts` as
`adder_memory`): DRAM whose ranks are read at once by adders on the module, so that a pooled gather
runs at `ranks` times the rate of its bus. `AdderHybrid` is hybrid training whose forward runs there
(`scratchpipe.systems`, `adder_hybrid`); the CPU trains the rows over the module's bus.

Modelled: internal reads at ranks x the bus's rate for rows of that size, one addition a lookup and
element. Ignored: the bus of instructions, imbalance between ranks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from simulator.caches.facts import LOOKUP, UNIQUE, BatchFacts
from simulator.caches.replays import UniqueReplay
from simulator.config.machine import Part
from simulator.config.operators import OperatorProfile
from simulator.hardware.access import Access
from simulator.hardware.demand import Demand, Resource, Service
from simulator.hardware.devices.base import Processor, Reach, Setup
from simulator.hardware.devices.dram import Dram
from simulator.hardware.memory import Memory
from simulator.hardware.program import Operation, Pool, Stage
from simulator.hardware.topology import Topology
from simulator.systems import Job, Serial, System
from simulator.systems.base import move, synchronize, tables_in
from simulator.systems.operators import (
    Backward,
    dense_bytes,
    mlp_step,
    pooled_bytes,
    pooled_vectors,
)
from simulator.units import PS_PER_S


class AdderMemory(Part):
    """DRAM modules with an adder a rank."""

    kind: Literal["adder_memory"]
    memory: Dram
    ranks: Annotated[int, Field(gt=0)]
    """Ranks that are read at once."""
    additions: Annotated[float, Field(gt=0)]
    """fp32 additions per second of all adders together."""

    def device(self, name: str, setup: Setup, members: tuple[str, ...]) -> AdderDevice:
        return AdderDevice(name, self, setup, members)


class AdderDevice(Processor):
    """The modules on their machine."""

    part: AdderMemory
    rules: ClassVar[Mapping[type[Operation], str]] = {Pool: "_pool"}

    def prepare(self, setup: Setup) -> None:
        dram = self.part.memory
        place = f"{self.name}.dram"
        self.dram = Memory(place, self.name, "dram", dram.usable, setup.timing(dram))

    @property
    def memories(self) -> tuple[Memory, ...]:
        return (self.dram,)

    @property
    def resources(self) -> tuple[Resource, ...]:
        return (self.dram.resource, Resource(f"{self.name}.adders", self.name, "other"))

    def _pool(self, word: Pool, software: OperatorProfile, reach: Reach) -> Demand:
        rows, size = word.rows, word.reads.row_bytes
        pieces = word.reads.pieces(rows)
        inside = self.dram.service([Access(self.dram.place, rows.lookups, size, pieces=pieces)])
        adding_ps = rows.lookups * (size // 4) * PS_PER_S / self.part.additions
        services = {
            self.dram.place: inside.scaled(1.0 / self.part.ranks),
            f"{self.name}.adders": Service(read_ps=adding_ps),
        }
        return Demand(word.name, services)


class AdderHybrid(System):
    """Hybrid training that pools inside the memory."""

    uses: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, job: Job, machine: Topology) -> None:
        name = "adder_hybrid"
        self.cpu, self.gpu = machine.only("cpu", name), machine.first("gpu", name)
        self.adder = machine.only("adder_memory", name)
        self._job, self._machine = job, machine
        self.tables = tables_in(job, machine, self.adder)
        rows = max(job.model.rows_per_table)
        self.backward = Backward(job.model, machine, job.software, self.cpu, self.tables, rows)
        self.replay = UniqueReplay(job.keep)
        self.schedule = Serial.of("pool", "pooled_to_gpu", "mlp", "gradients_to_cpu", "update")

    def stages(self, facts: BatchFacts) -> tuple[Stage, ...]:
        model, machine = self._job.model, self._machine
        near, dram, hbm = (machine.memory(p).place for p in (self.adder, self.cpu, self.gpu))
        pooled, dense = pooled_bytes(model), dense_bytes(model)
        pool = pooled_vectors(model, machine, self.adder, self.tables, facts[LOOKUP])
        ship = (move("pooled_to_gpu", near, hbm, pooled), move("dense_to_gpu", dram, hbm, dense))
        back = (move("gradients_to_cpu", hbm, dram, pooled), synchronize(self.gpu))
        return (
            Stage("pool", ((pool,),)),
            Stage("pooled_to_gpu", (ship,)),
            Stage("mlp", ((mlp_step(model, self.gpu),),)),
            Stage("gradients_to_cpu", (back,)),
            Stage("update", (self.backward.operations(facts[UNIQUE]),)),
        )
