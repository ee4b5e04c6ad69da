"""Static GPU cache: the hottest rows pinned in HBM, everything else trained on the CPU.

The pinned rows are the hottest by profile of the trace (`cache.profile`) and never change; CPU and
GPU copies are disjoint, so nothing is written back. The GPU splits the ids into hot and cold; it
pools and trains hot rows while the CPU pools and trains cold ones; partial sums and gradients cross
the link. The list of cold ids is as the software makes it: those alone, or all with the hot ones
marked.
"""

from __future__ import annotations

from typing import ClassVar

from simulator.caches.facts import HIT, LOOKUP, MISS, BatchFacts
from simulator.caches.replays import StaticReplay
from simulator.caches.replays.static import HIT_LOOKUP, MISS_LOOKUP
from simulator.config.experiment import SIZE_KEYS
from simulator.errors import ConfigError
from simulator.hardware.program import Add, Buffer, Operation, Split, Stage
from simulator.hardware.topology import Topology
from simulator.systems.base import Job, System, cache_in, move, synchronize, tables_in
from simulator.systems.operators import (
    Backward,
    dense_bytes,
    mlp_step,
    pooled_bytes,
    pooled_vectors,
)
from simulator.systems.schedule import Serial

__all__ = ["StaticCache"]


class StaticCache(System):
    """The hottest N % of rows in HBM, no replacement."""

    uses: ClassVar[frozenset[str]] = frozenset(
        {*(f"cache.{key}" for key in SIZE_KEYS), "cache.scope", "cache.profile"}
    )

    def __init__(self, job: Job, machine: Topology) -> None:
        self.cpu = machine.only("cpu", "static_cache")
        self.gpu = machine.first("gpu", "static_cache")
        self._job, self._machine = job, machine
        if job.cache.scope == "global":
            raise ConfigError(
                "static_cache pins the hottest share of each table: cache.scope must be 'table'"
            )
        model, software = job.model, job.software
        pinned = job.cache_size.slots(model.rows_per_table, least=0)
        self.replay = StaticReplay(pinned, job.keep, job.cache.profile_share)
        self.tables = tables_in(job, machine, self.cpu)
        self.cache = cache_in(job, machine, self.gpu, sum(pinned))
        slots, rows = max(1, sum(pinned)), max(model.rows_per_table)
        self._hot = Backward(model, machine, software, self.gpu, self.cache, slots)
        self._cold = Backward(model, machine, software, self.cpu, self.tables, rows)
        self.schedule = Serial.of("split", "forward", "combine", "mlp", "gradients", "backward")

    def stages(self, facts: BatchFacts) -> tuple[Stage, ...]:
        model, machine = self._job.model, self._machine
        dram, hbm = machine.memory(self.cpu).place, machine.memory(self.gpu).place
        pooled, dense = pooled_bytes(model), dense_bytes(model)
        lookups, cold = facts[LOOKUP].lookups, facts[MISS].lookups
        sums = Buffer("pooled", hbm, pooled)
        done = synchronize(self.gpu)
        holes = lookups - cold if self._job.software.cold_list == "holes" else 0
        split = (*self._split(lookups, cold + holes), done)
        pool_hot = pooled_vectors(model, machine, self.gpu, self.cache, facts[HIT_LOOKUP])
        pool_cold = pooled_vectors(model, machine, self.cpu, self.tables, facts[MISS_LOOKUP], holes)
        combine = (
            move("partial_sums", dram, hbm, pooled + dense),
            Add("add_partial_sums", self.gpu, (sums, sums), sums),
        )
        return (
            Stage("split", (split,)),
            Stage("forward", ((pool_hot,), (pool_cold,))),
            Stage("combine", (combine,)),
            Stage("mlp", ((mlp_step(model, self.gpu),),)),
            Stage("gradients", ((move("gradients_to_cpu", hbm, dram, pooled), done),)),
            Stage(
                "backward",
                (
                    self._hot.operations(facts[HIT]),
                    self._cold.operations(facts[MISS], skipped=holes),
                ),
            ),
        )

    def _split(self, lookups: int, listed: int) -> tuple[Operation, ...]:
        """Ids to the GPU, those of cold rows back: `listed` of them."""
        software, machine = self._job.software, self._machine
        dram, hbm = machine.memory(self.cpu).place, machine.memory(self.gpu).place
        ids = move("ids_to_gpu", dram, hbm, lookups * software.id_bytes)
        back = listed * software.id_bytes
        if software.lists == "mapped":
            return ids, Split("split", self.gpu, lookups, Buffer("cold_ids_to_cpu", dram, back))
        return ids, Split("split", self.gpu, lookups), move("cold_ids_to_cpu", hbm, dram, back)
