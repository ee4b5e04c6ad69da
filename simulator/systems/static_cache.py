"""Static GPU cache: the hottest rows pinned in HBM, everything else trained on the CPU.

The pinned rows are the hottest by profile of the trace (`cache.profile`) and never change; CPU and
GPU copies are disjoint, so nothing is written back. The GPU splits the ids into hot and cold; it
pools and trains hot rows while the CPU pools and trains cold ones; partial sums and gradients cross
the link. The list of cold ids is as the software makes it: those alone, or all with the hot ones
marked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from simulator.caches.facts import HIT, LOOKUP, MISS, BatchFacts
from simulator.caches.replays import StaticReplay
from simulator.caches.replays.static import HIT_LOOKUP, MISS_LOOKUP
from simulator.config.experiment import SIZE_KEYS
from simulator.errors import ConfigError
from simulator.hardware.program import Add, Buffer, Move, Operation, Split, Stage
from simulator.hardware.topology import Topology
from simulator.systems.base import Job, System, move, synchronize
from simulator.systems.groups import Group, cache_groups, groups_of, table_groups
from simulator.systems.mlp import dense_bytes, mlp_step
from simulator.systems.operators import Backward, pooled_bytes, pooled_vectors
from simulator.systems.schedule import Serial

__all__ = ["StaticCache"]


@dataclass(frozen=True)
class _Tiers:
    """Tables of one dim: how their pinned rows are trained, and all others."""

    group: Group
    hot: Backward
    cold: Backward


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
        groups = groups_of(job)
        tables = table_groups(groups, job, machine, self.cpu)
        slots = [sum(pinned[table] for table in group.tables) for group in groups]
        caches = cache_groups(groups, machine, self.gpu, slots)
        self._tiers = tuple(
            _Tiers(
                g,
                Backward(g.job.model, machine, software, self.gpu, cache, max(1, count)),
                Backward(
                    g.job.model, machine, software, self.cpu, below, max(g.job.model.rows_per_table)
                ),
            )
            for g, below, cache, count in zip(groups, tables, caches, slots, strict=True)
        )
        self.schedule = Serial.of("split", "forward", "combine", "mlp", "gradients", "backward")

    def stages(self, facts: BatchFacts) -> tuple[Stage, ...]:
        model, machine = self._job.model, self._machine
        dram, hbm = machine.memory(self.cpu).place, machine.memory(self.gpu).place
        pooled, dense = pooled_bytes(model), dense_bytes(model)
        lookups, cold = facts[LOOKUP].lookups, facts[MISS].lookups
        sums = Buffer("pooled", hbm, pooled)
        done = synchronize(self.gpu)
        split = (*self._split(lookups, cold + self._holes(facts)), done)
        gradients = Move("gradients_to_cpu", hbm, Buffer("gradients", hbm, pooled), dram)
        combine = (
            move("partial_sums", dram, hbm, pooled + dense),
            Add("add_partial_sums", self.gpu, (sums, sums), sums),
        )
        return (
            Stage("split", (split,)),
            Stage("forward", self._forward(facts)),
            Stage("combine", (combine,)),
            Stage("mlp", ((mlp_step(model, self.gpu),),)),
            Stage("gradients", ((gradients, done),)),
            Stage("backward", self._backward(facts)),
        )

    def _holes(self, facts: BatchFacts) -> int:
        """Ids of hot rows that are marked in the list of cold ones."""
        if self._job.software.cold_list != "holes":
            return 0
        return facts[LOOKUP].lookups - facts[MISS].lookups

    def _forward(self, facts: BatchFacts) -> tuple[tuple[Operation, ...], tuple[Operation, ...]]:
        """Hot and cold rows, pooled side by side."""
        hot: list[Operation] = []
        cold: list[Operation] = []
        for tiers in self._tiers:
            own, model = tiers.group.of(facts), tiers.group.job.model
            for rows, passes, lane, skipped in (
                (own[HIT_LOOKUP], tiers.hot, hot, 0),
                (own[MISS_LOOKUP], tiers.cold, cold, self._holes(own)),
            ):
                lane.append(
                    pooled_vectors(model, self._machine, passes.at, passes.store, rows, skipped)
                )
        return tuple(hot), tuple(cold)

    def _backward(self, facts: BatchFacts) -> tuple[tuple[Operation, ...], tuple[Operation, ...]]:
        """Hot and cold rows, trained side by side."""
        hot: list[Operation] = []
        cold: list[Operation] = []
        for tiers in self._tiers:
            own = tiers.group.of(facts)
            hot += tiers.hot.operations(own[HIT])
            cold += tiers.cold.operations(own[MISS], skipped=self._holes(own))
        return tuple(hot), tuple(cold)

    def _split(self, lookups: int, listed: int) -> tuple[Operation, ...]:
        """Ids to the GPU, those of cold rows back: `listed` of them."""
        software, machine = self._job.software, self._machine
        dram, hbm = machine.memory(self.cpu).place, machine.memory(self.gpu).place
        ids = move("ids_to_gpu", dram, hbm, lookups * software.id_bytes)
        back = listed * software.id_bytes
        if software.lists == "mapped":
            return ids, Split("split", self.gpu, lookups, Buffer("cold_ids_to_cpu", dram, back))
        return ids, Split("split", self.gpu, lookups), move("cold_ids_to_cpu", hbm, dram, back)
