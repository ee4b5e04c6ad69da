"""Tables on the host spread over tiers of its memory (`tables.tier`): DRAM and what lies below it.

A tier is the processor's own memory (`dram`) or one that it reaches over links: loads and stores
of its gathers, scatters and updates go where each row lies. Rows stay where they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from itertools import accumulate
from typing import TypeVar

from simulator.caches.host_cache import HostCache
from simulator.caches.plan.planning import pool_rows
from simulator.caches.replays import Replay
from simulator.caches.tiers import Tiering, Tiers, hashed
from simulator.config.tables import OWN_MEMORY
from simulator.errors import CapacityError, ConfigError
from simulator.hardware.topology import Topology
from simulator.systems.base import Job, require_room
from simulator.units import format_bytes

__all__ = ["Touched", "rows_of_tiers", "tier_places", "tiered"]

R = TypeVar("R", bound=Replay)
_ALL = range(2**62)


def tier_places(job: Job, machine: Topology, cpu: str) -> tuple[str, ...]:
    """The memory of each tier, in the order of `tables.tier`; empty: all tables in that of `cpu`.

    Raises `ConfigError` for a tier that is no memory or that `cpu` cannot reach.
    """
    return tuple(_place(name, machine, cpu) for name in job.tables.shares)


def _place(name: str, machine: Topology, cpu: str) -> str:
    key = f"tables.tier.{name}"
    memory = machine.memory(cpu if name == OWN_MEMORY else name)
    if memory.kind == "other":
        raise ConfigError(
            f"{key}: {memory.place} holds vectors and gradients on their way, no tables: name "
            "another memory"
        )
    hops = machine.route(cpu, memory.device)
    for hop in hops if memory.pages is None else ():
        if hop.link.load_latency_at(hop.source) is None:
            raise ConfigError(
                f"{key}: {cpu} cannot load from {memory.place}, {hop.link.name} carries copies and "
                f"stores alone: join them with a cxl link, or give {hop.link.name} a load_latency"
            )
    return memory.place


@dataclass(frozen=True, slots=True)
class Touched:
    """What a system does with rows in its tables: the flows that it reads and writes there, and
    for how many mini-batches a write may still be under way when the rows of the next are fetched.
    """

    reads: str
    writes: str
    held: int = 0


def tiered(replay: R, job: Job, machine: Topology, cpu: str, touched: Touched) -> R:
    """`replay` with counts by tier where the tables of `job` are spread over some, or where host
    memory keeps rows of one.

    Raises `CapacityError` where a tier cannot hold its share, `ConfigError` where `job` cuts tables
    or names what is no tier.
    """
    if not job.tables.tier:
        return replay
    if "tiers" not in {field.name for field in fields(replay)}:  # type: ignore[arg-type]
        raise ConfigError(f"tables.tier: {type(replay).__name__} counts no rows by tier")
    if job.parts:
        raise ConfigError(
            "tables.tier spreads whole tables: these are cut into parts; set model.sharding: table"
        )
    places = tier_places(job, machine, cpu)
    if len(set(places)) < len(places):
        raise ConfigError(f"tables.tier names a memory twice: {', '.join(places)}")
    rows = rows_of_tiers(job)
    for number, place in enumerate(places):
        _require_room(job, machine, place, number, [own[number] for own in rows])
    tiers: Tiers = Tiering(rows, job.tables.order, job.cache.profile_share, job.keep)
    if job.tables.cache:
        tiers = _host_cache(replay, job, machine, cpu, touched)
    return replace(replay, tiers=tiers, keep=_ALL)  # type: ignore[type-var]


def _host_cache(
    replay: Replay, job: Job, machine: Topology, cpu: str, touched: Touched
) -> HostCache:
    """The rows that the memory of `cpu` keeps of the tier below."""
    model, cache, share = job.model, job.cache, job.tables.cache
    scope = getattr(replay, "scope", "table")
    sizes = pool_rows(model.rows_per_table, scope)
    slots = tuple(max(1, round(share * count)) for count in sizes)
    entries = model.entry_bytes if scope == "table" else [max(model.entry_bytes)]
    memory = machine.memory(cpu)
    require_room(
        f"tables.cache: {100 * share:g} % of the tables, {sum(slots):,} rows,",
        sum(count * size for count, size in zip(slots, entries, strict=True)),
        f"{memory.place} of {machine.name}",
        memory.capacity,
        "lower tables.cache",
    )
    return HostCache(
        slots,
        touched.reads,
        touched.writes,
        scope,
        touched.held,
        cache.prefill,
        cache.profile_share,
        job.keep,
    )


def _require_room(job: Job, machine: Topology, place: str, tier: int, rows: Sequence[int]) -> None:
    sizes = [count * size for count, size in zip(rows, job.model.entry_bytes, strict=True)]
    need, have = sum(sizes), machine.memory(place).capacity
    if need <= have:
        return
    name, share = list(job.tables.shares.items())[tier]
    raise CapacityError(
        f"tables.tier.{name}: {100 * share:g} % of the tables are {sum(rows):,} rows, "
        f"{format_bytes(need)}, but {place} of {machine.name} holds {format_bytes(have)} "
        f"({100 * have / sum(job.model.table_bytes):.3g} % of "
        f"{format_bytes(sum(job.model.table_bytes))}): give it a smaller share"
    )


def rows_of_tiers(job: Job) -> tuple[tuple[int, ...], ...]:
    """Of each table, the rows that lie in each tier."""
    ends = list(accumulate(job.tables.shares.values()))
    rows = job.model.rows_per_table
    if job.tables.by == "table":
        chosen = _tier_of_tables(job, ends)
        pairs = zip(rows, chosen, strict=True)
        return tuple(tuple(n * (k == own) for k in range(len(ends))) for n, own in pairs)
    return tuple(tuple(_parts(count, ends)) for count in rows)


def _parts(count: int, ends: Sequence[float]) -> list[int]:
    """`count` rows by shares that end at `ends`, rounded so that they add up."""
    edges = [*(round(end * count) for end in ends[:-1]), count]
    return [edge - before for before, edge in zip([0, *edges], edges, strict=False)]


def _tier_of_tables(job: Job, ends: Sequence[float]) -> list[int]:
    """The tier of each table: that in whose share of the bytes its middle falls."""
    model = job.model
    if job.tables.order == "hash":
        ranks: list[float] = [float(place) for place in hashed(model.tables)]
    else:
        pairs = zip(model.table_lookups, model.rows_per_table, strict=True)
        ranks = [-lookups / rows for lookups, rows in pairs]
    tiers, before, whole = [0] * model.tables, 0.0, sum(model.table_bytes)
    for table in sorted(range(model.tables), key=lambda table: (ranks[table], table)):
        middle = before + model.table_bytes[table] / 2
        before += model.table_bytes[table]
        below = (tier for tier, end in enumerate(ends[:-1]) if middle < end * whole)
        tiers[table] = next(below, len(ends) - 1)
    return tiers
