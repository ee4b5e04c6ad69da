"""Tables of unlike dim, in groups of one: a kernel is fused over a group, whose rows have a store.

That is how `tables_in`, `cache_in`, `pooled_vectors` and `Backward`, which work on tables of one
dim, serve all: each group has a job with its tables alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from simulator.caches.facts import BatchFacts
from simulator.hardware.program import Store
from simulator.hardware.topology import Topology
from simulator.systems.base import (
    Job,
    cache_in,
    require_slots,
    require_tables,
    table_store,
    tables_in,
)
from simulator.systems.tiers import tier_places

__all__ = ["Group", "cache_groups", "groups_of", "table_groups"]


@dataclass(frozen=True)
class Group:
    """Tables of one dim."""

    job: Job
    """With these tables alone."""
    tables: tuple[int, ...]
    """Their numbers in the model that was grouped, which may be that of one GPU."""
    alone: bool
    """Whether these are all of its tables."""

    def named(self, name: str) -> str:
        """`name`, told apart from that of other groups."""
        return name if self.alone else f"{name}_dim{self.job.model.width}"

    def of(self, facts: BatchFacts) -> BatchFacts:
        """What happens to its tables."""
        return facts if self.alone else facts.of_tables(self.tables)


def groups_of(job: Job) -> tuple[Group, ...]:
    """The groups of a job's tables, in the order in which dims occur."""
    by_dim = job.model.tables_by_dim
    return tuple(Group(job.of_tables(tables), tables, len(by_dim) == 1) for tables in by_dim)


def table_groups(
    groups: Iterable[Group], job: Job, machine: Topology, place: str
) -> tuple[Store, ...]:
    """A store of the tables of each group in the memory of `place`.

    Spread over tiers where the job says so, or the rows that `place` keeps of a tier below:
    `tiered` sees to it that they fit. Raises `CapacityError` where all together do not fit.
    """
    if job.tables.cache:
        stores = (table_store(g.job.model, machine, place, g.named("tables")) for g in groups)
        return tuple(replace(s, bytes=round(s.bytes * job.tables.cache)) for s in stores)
    if job.tables.tier:
        places = tier_places(job, machine, place)
        stores = (table_store(g.job.model, machine, place, g.named("tables")) for g in groups)
        return tuple(replace(store, tiers=places) for store in stores)
    require_tables(job.model, machine, place)
    return tuple(tables_in(g.job, machine, place, name=g.named("tables")) for g in groups)


def cache_groups(
    groups: Sequence[Group], machine: Topology, place: str, slots: Sequence[int], whose: str = ""
) -> tuple[Store, ...]:
    """A cache of each group in the memory of `place`; `slots`: of each; `whose`: what a message
    says of their tables.

    Raises `CapacityError` where all together do not fit.
    """
    sizes = [g.job.entry_bytes for g in groups]
    require_slots(slots, sizes, machine, place, groups[0].job.cache_size.key, whose)
    return tuple(
        cache_in(g.job, machine, place, count, name=g.named("cache"))
        for g, count in zip(groups, slots, strict=True)
    )
