"""A memory tier between DRAM and GPU: a second DRAM behind a link, every other table in it.

Hybrid training whose CPU pools and trains the tables of both memories at once. Named in
`scratchpipe.systems` as `far_hybrid`; needs a machine with a memory of its own beside the CPU's
(`machine.yaml` joins one over a link that loads and stores pass).
"""

from __future__ import annotations

from typing import ClassVar

from simulator.caches.facts import LOOKUP, UNIQUE, BatchFacts
from simulator.caches.replays import UniqueReplay
from simulator.hardware.program import Operation, Stage, Store
from simulator.hardware.topology import Topology
from simulator.systems import Job, Serial, System
from simulator.systems.base import move, require_room, synchronize
from simulator.systems.operators import (
    Backward,
    dense_bytes,
    mlp_step,
    pooled_bytes,
    pooled_vectors,
)


class FarHybrid(System):
    """Hybrid training with half of the tables in a memory behind a link."""

    uses: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, job: Job, machine: Topology) -> None:
        self.cpu, self.gpu = machine.only("cpu", "far_hybrid"), machine.first("gpu", "far_hybrid")
        far = machine.only("dram", "far_hybrid")
        self._job, self._machine = job, machine
        model = job.model
        self.tiers = {
            place: tuple(range(first, model.tables, 2))
            for first, place in enumerate((self.cpu, far))
            if first < model.tables
        }
        self.stores = {p: self._store(p, tables) for p, tables in self.tiers.items()}
        self.backward = {
            place: Backward(
                model, machine, job.software, self.cpu, store, max(model.rows_per_table)
            )
            for place, store in self.stores.items()
        }
        self.replay = UniqueReplay(job.keep)
        self.schedule = Serial.of("pool", "pooled_to_gpu", "mlp", "gradients_to_cpu", "update")

    def _store(self, place: str, tables: tuple[int, ...]) -> Store:
        model, memory = self._job.model, self._machine.memory(place)
        require_room(
            f"{len(tables)} tables",
            sum(model.table_bytes[table] for table in tables),
            f"{memory.place} of {self._machine.name}",
            memory.capacity,
            "use a smaller model or a larger memory",
        )
        return Store("tables", memory.place, model.row_bytes, model.state_bytes, len(tables))

    def stages(self, facts: BatchFacts) -> tuple[Stage, ...]:
        model, machine = self._job.model, self._machine
        dram, hbm = machine.memory(self.cpu).place, machine.memory(self.gpu).place
        pooled, dense = pooled_bytes(model), dense_bytes(model)
        pools: list[tuple[Operation, ...]] = []
        updates: list[tuple[Operation, ...]] = []
        for place, tables in self.tiers.items():
            part = facts.of_shards(tables)
            store = self.stores[place]
            pools.append((pooled_vectors(model, machine, self.cpu, store, part[LOOKUP]),))
            updates.append(self.backward[place].operations(part[UNIQUE]))
        back = (move("gradients_to_cpu", hbm, dram, pooled), synchronize(self.gpu))
        return (
            Stage("pool", tuple(pools)),
            Stage("pooled_to_gpu", ((move("pooled_to_gpu", dram, hbm, pooled + dense),),)),
            Stage("mlp", ((mlp_step(model, self.gpu),),)),
            Stage("gradients_to_cpu", (back,)),
            Stage("update", tuple(updates)),
        )
