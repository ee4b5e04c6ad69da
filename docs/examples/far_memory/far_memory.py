"""A memory tier between DRAM and GPU: a second DRAM behind a link, every other table in it.

Hybrid training whose CPU pools and trains the tables of both memories at once. Named in
`scratchpipe.systems` as `far_hybrid`; needs a machine with a memory of its own beside the CPU's
(`machine.yaml` joins one over a link that loads and stores pass).
"""

from __future__ import annotations

from typing import ClassVar

from simulator.caches import LOOKUP, UNIQUE, BatchFacts, UniqueReplay
from simulator.hardware import Buffer, Operation, Stage, Topology
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


class FarHybrid(System):
    """Hybrid training with every other table in a memory behind a link."""

    uses: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, job: Job, machine: Topology) -> None:
        self.cpu, self.gpu = machine.only("cpu", "far_hybrid"), machine.first("gpu", "far_hybrid")
        self.far = machine.only("dram", "far_hybrid")
        self._job, self._machine = job, machine
        tables = range(job.model.tables)
        self.tiers = {
            place: chosen
            for place, chosen in ((self.cpu, tables[::2]), (self.far, tables[1::2]))
            if chosen
        }
        self.models = {p: job.model.of_tables(chosen) for p, chosen in self.tiers.items()}
        self.stores = {p: tables_in(job, machine, p, chosen) for p, chosen in self.tiers.items()}
        rows = max(job.model.rows_per_table)
        self.backward = {
            place: Backward(self.models[place], machine, job.software, self.cpu, store, rows)
            for place, store in self.stores.items()
        }
        self.replay = UniqueReplay(job.keep)
        self.schedule = Serial.of("pool", "pooled_to_gpu", "mlp", "gradients_to_cpu", "update")

    def stages(self, facts: BatchFacts) -> tuple[Stage, ...]:
        model, machine = self._job.model, self._machine
        dram, hbm = machine.memory(self.cpu).place, machine.memory(self.gpu).place
        pooled, dense = pooled_bytes(model), dense_bytes(model)
        pools: list[tuple[Operation, ...]] = []
        updates: list[tuple[Operation, ...]] = []
        for place, store in self.stores.items():
            own = facts.of_shards(self.tiers[place])
            part = self.models[place]
            gradients = Buffer("gradients", dram, pooled_bytes(part))
            pools.append((pooled_vectors(part, machine, self.cpu, store, own[LOOKUP]),))
            updates.append(self.backward[place].operations(own[UNIQUE], gradients))
        return (
            Stage("pool", tuple(pools)),
            Stage("pooled_to_gpu", ((move("pooled_to_gpu", dram, hbm, pooled + dense),),)),
            Stage("mlp", ((mlp_step(model, self.gpu),),)),
            Stage(
                "gradients_to_cpu",
                ((move("gradients_to_cpu", hbm, dram, pooled), synchronize(self.gpu)),),
            ),
            Stage("update", tuple(updates)),
        )
