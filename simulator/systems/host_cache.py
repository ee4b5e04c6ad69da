"""Rows of tables in a tier below, kept in host memory (`tables.cache`): a stage that fetches them.

The stage runs before what reads the rows in host memory. The CPU copies missing rows up and changed
ones that leave down; everything after it works on host memory alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from simulator.caches.facts import BatchFacts
from simulator.caches.host_cache import FILLED, SPILLED
from simulator.hardware.program import Stage, Store, ZeroCopy
from simulator.hardware.topology import Topology
from simulator.systems.base import Job
from simulator.systems.groups import Group
from simulator.systems.schedule import Role
from simulator.systems.tiers import tier_places

__all__ = ["FETCH", "Fetching", "fetch_stage"]

FETCH = "fetch"


def fetch_stage(job: Job) -> tuple[tuple[str, Role], ...]:
    """The stage that fetches rows, for a schedule; none where host memory keeps none."""
    return ((FETCH, "move"),) if job.tables.cache else ()


@dataclass(frozen=True)
class Fetching:
    """What the CPU fetches for the tables of groups: `above`, as programs see them."""

    cpu: str
    groups: Sequence[Group]
    above: Sequence[Store]
    below: str
    """The memory of the tier below; empty where there is none."""

    @classmethod
    def of(
        cls, job: Job, machine: Topology, cpu: str, groups: Sequence[Group], above: Sequence[Store]
    ) -> Fetching:
        """For a job whose tables are `above`."""
        places = tier_places(job, machine, cpu) if job.tables.cache else ()
        return cls(cpu, groups, above, *(places or ("",)))

    def stages(self, facts: BatchFacts) -> tuple[Stage, ...]:
        """The stage of a mini-batch; none where host memory keeps no rows of a tier below."""
        if not self.below:
            return ()
        up, down = [], []
        for group, host in zip(self.groups, self.above, strict=True):
            own, name = group.of(facts), group.named
            tier = replace(host, memory=self.below, bytes=0)
            if own[FILLED].rows:
                up.append(ZeroCopy(name("rows_up"), self.cpu, tier, host, own[FILLED]))
            if own[SPILLED].rows:
                down.append(ZeroCopy(name("rows_down"), self.cpu, host, tier, own[SPILLED]))
        return (Stage(FETCH, tuple(filter(None, (tuple(up), tuple(down))))),)
