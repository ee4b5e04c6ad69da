"""An adder inside a memory: rows are summed where they lie, only pooled vectors leave.

Two things in one file. `AdderMemory` is a kind of part (named in `scratchpipe.parts` as
`adder_memory`): DRAM whose ranks are read at once by adders on the module, so that a pooled gather
runs at `ranks` times the rate of its bus. `AdderHybrid` is hybrid training whose forward runs there
(`scratchpipe.systems`, `adder_hybrid`); the CPU trains the rows over the memory's link.

Modelled: reads inside at ranks x the bus's rate for rows of that size, the pooled vectors written
likewise, one addition a lookup and element. Ignored: ids and instructions on their way in,
imbalance between ranks, energy of the adders.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from simulator import hardware as hw
from simulator.caches import LOOKUP, UNIQUE, BatchFacts, UniqueReplay
from simulator.systems import (
    Backward,
    Job,
    Serial,
    System,
    dense_bytes,
    mlp_step,
    move,
    pooled_bytes,
    pooled_vectors,
    synchronize,
    tables_in,
)
from simulator.units import PS_PER_S


class AdderMemory(hw.Part):
    """DRAM modules with an adder a rank."""

    kind: Literal["adder_memory"]
    memory: hw.Dram
    ranks: Annotated[int, Field(gt=0)]
    """Ranks of a channel that are read at once."""
    additions: Annotated[float, Field(gt=0)]
    """fp32 additions per second of all adders together."""

    def device(self, name: str, setup: hw.Setup, members: tuple[str, ...]) -> AdderDevice:
        return AdderDevice(name, self, setup, members)


class AdderDevice(hw.Processor):
    """The modules on their machine: `dram` as their bus sees them, `ranks` inside, `adders`."""

    part: AdderMemory
    rules: ClassVar[Mapping[type[hw.Operation], str]] = {hw.Pool: "_pool"}

    def prepare(self, setup: hw.Setup) -> None:
        dram = self.part.memory
        place = f"{self.name}.dram"
        self.dram = hw.Memory(place, self.name, "dram", dram.usable, setup.timing(dram))

    @property
    def memories(self) -> tuple[hw.Memory, ...]:
        return (self.dram,)

    @property
    def resources(self) -> tuple[hw.Resource, ...]:
        inside = self.part.ranks * self.part.memory.peak_bytes_per_s
        ranks = hw.Resource(f"{self.name}.ranks", self.name, "dram", inside)
        return (self.dram.resource, ranks, hw.Resource(f"{self.name}.adders", self.name, "other"))

    def _pool(self, word: hw.Pool, software: hw.OperatorProfile, reach: hw.Reach) -> hw.Demand:
        rows, store, into = word.rows, word.reads, word.into
        pieces = store.pieces(rows)
        read = hw.Access(store.memory, rows.lookups, store.row_bytes, pieces=pieces)
        write = hw.Access(into.memory, 1, into.bytes, write=True, random=False)
        inside = self.dram.service([read, write])
        shared_ps = self.dram.alone_ps(inside) / self.part.ranks
        elements = rows.lookups * (store.row_bytes // hw.GRADIENT_BYTES)
        services = {  # the modules are taken meanwhile, but nothing crosses their bus
            self.dram.place: hw.Service(read_ps=shared_ps, energy_pj=inside.energy_pj),
            f"{self.name}.ranks": hw.Service(read_ps=shared_ps, bytes=inside.bytes),
            f"{self.name}.adders": hw.Service(read_ps=elements * PS_PER_S / self.part.additions),
        }
        return hw.Demand(word.name, services)


class AdderHybrid(System):
    """Hybrid training that pools inside the memory."""

    uses: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, job: Job, machine: hw.Topology) -> None:
        name = "adder_hybrid"
        self.cpu, self.gpu = machine.only("cpu", name), machine.first("gpu", name)
        self.near = machine.only("adder_memory", name)
        self._job, self._machine = job, machine
        self.tables = tables_in(job, machine, self.near)
        rows = max(job.model.rows_per_table)
        self.backward = Backward(job.model, machine, job.software, self.cpu, self.tables, rows)
        self.replay = UniqueReplay(job.keep)
        self.schedule = Serial.of("pool", "pooled_to_gpu", "mlp", "gradients_to_cpu", "update")

    def stages(self, facts: BatchFacts) -> tuple[hw.Stage, ...]:
        model, machine = self._job.model, self._machine
        near, dram, hbm = (machine.memory(p).place for p in (self.near, self.cpu, self.gpu))
        pooled, dense = pooled_bytes(model), dense_bytes(model)
        pool = pooled_vectors(model, machine, self.near, self.tables, facts[LOOKUP])
        ship = (move("pooled_to_gpu", near, hbm, pooled), move("dense_to_gpu", dram, hbm, dense))
        back = (move("gradients_to_cpu", hbm, dram, pooled), synchronize(self.gpu))
        return (
            hw.Stage("pool", ((pool,),)),
            hw.Stage("pooled_to_gpu", (ship,)),
            hw.Stage("mlp", ((mlp_step(model, self.gpu),),)),
            hw.Stage("gradients_to_cpu", (back,)),
            hw.Stage("update", (self.backward.operations(facts[UNIQUE]),)),
        )
