"""Rows of tables in a tier below, kept in host memory (`tables.cache`): stages that fetch them.

They run before what reads the rows in host memory. The CPU copies missing rows up and changed
ones that leave down; everything after it works on host memory alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from simulator.caches.facts import BatchFacts, Flow
from simulator.caches.host_cache import FILLED, SPILLED
from simulator.config.tables import MOST_AHEAD
from simulator.hardware.program import Stage, Store, ZeroCopy
from simulator.hardware.topology import Topology
from simulator.systems.base import Job
from simulator.systems.groups import Group
from simulator.systems.mlp import mlp_step
from simulator.systems.schedule import Role
from simulator.systems.tiers import tier_places

__all__ = ["FETCH", "Fetching", "fetch_stages", "fetches_ahead"]

FETCH = "fetch"


def fetch_stages(job: Job, count: int = 1) -> tuple[tuple[str, Role], ...]:
    """The stages that fetch rows, for a schedule: none where host memory keeps none, `count` where
    stages overlap."""
    if not job.tables.cache:
        return ()
    return ((FETCH, "move"), *((f"{FETCH}_{k}", "move") for k in range(2, count + 1)))


def fetches_ahead(job: Job, machine: Topology, cpu: str, gpu: str, samples: int) -> int:
    """Mini-batches that rows come up for at once where stages overlap: those asked for, or as many
    as the latency of the memory below takes cycles.

    No cycle is shorter than the step of the dense part for `samples` samples on `gpu`.
    """
    if job.tables.fetch_ahead is not None or not job.tables.cache:
        return job.tables.fetch_ahead or 1
    below = machine.reach(cpu, tier_places(job, machine, cpu)[0])
    pages = below.memory.pages
    latency_ps = below.load_latency_ps if pages is None else pages.latency_ps
    step = machine.price(mlp_step(job.model, gpu, samples), job.software)
    cycle_ps = max(step.alone_ps(machine.resources), step.submit_ps + step.submit_more_ps)
    return min(MOST_AHEAD, max(1, math.ceil(latency_ps / max(1.0, cycle_ps))))


@dataclass(frozen=True)
class Fetching:
    """What the CPU fetches for the tables of groups: `above`, as programs see them."""

    cpu: str
    groups: Sequence[Group]
    above: Sequence[Store]
    below: str
    """The memory of the tier below; empty where there is none."""
    names: tuple[str, ...]
    """Of the stages, each of which fetches an equal part of the rows."""
    chunk_bytes: int = 0
    """See `Store.chunk_bytes`: of the tier below."""

    @classmethod
    def of(
        cls,
        job: Job,
        machine: Topology,
        cpu: str,
        tables: Sequence[tuple[Group, Store]],
        count: int = 1,
    ) -> Fetching:
        """For a job whose tables are in stores of `cpu`; `count`: see `fetch_stages`."""
        below = tier_places(job, machine, cpu)[0] if job.tables.cache else ""
        names = tuple(name for name, _ in fetch_stages(job, count))
        groups, above = zip(*tables, strict=True)
        return cls(cpu, groups, above, below, names)

    def stages(self, facts: BatchFacts) -> tuple[Stage, ...]:
        """The stages of a mini-batch; none where host memory keeps no rows of a tier below."""
        return tuple(self._stage(facts, part, name) for part, name in enumerate(self.names))

    def _stage(self, facts: BatchFacts, part: int, name_of: str) -> Stage:
        up, down, count = [], [], len(self.names)
        for group, host in zip(self.groups, self.above, strict=True):
            own, name = group.of(facts), group.named
            tier = replace(host, memory=self.below, bytes=0, chunk_bytes=self.chunk_bytes)
            filled, spilled = (self._part(own[flow], part) for flow in (FILLED, SPILLED))
            if filled.rows:
                up.append(ZeroCopy(name("rows_up"), self.cpu, tier, host, filled, parts=count))
            if spilled.rows:
                out = ZeroCopy(name("rows_down"), self.cpu, host, tier, spilled, parts=count)
                down.append(out)
        return Stage(name_of, tuple(filter(None, (tuple(up), tuple(down)))))

    def _part(self, rows: Flow, part: int) -> Flow:
        """Every n-th row of a flow, of n stages."""
        count = len(self.names)
        if count == 1:
            return rows
        ids = None if rows.ids is None else rows.ids[part::count]
        return Flow(0, len(range(part, rows.rows, count)), ids)
