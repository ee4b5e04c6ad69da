"""cDLRM: caches that are loaded once for a window of mini-batches, which CPU processes collect
ahead (Balasubramanian et al., RecSys 2021).

Code: https://github.com/lkp411/cDLRM at f424adc (cache_manager.py, main_no_ddp.py,
model_no_ddp.py). Verified there: k processes make the unique rows of each table in the next windows
and gather all of them, those that are cached too, into a queue of 8 windows; at the start of a
window, which overlaps no training, the CPU compares tags with those of the cache, and each missing
row draws one of the ways of its set (id modulo a prime) that no row of this window hit, and victims
are written back by another process; rows that got no slot are read on demand, lookup by lookup,
into bypass rows (results mark caches with fewer slots than a window has rows, `rows_per_slot`). Two
hazards are in that code: a row that was gathered windows ago may have been written back since, and
the old value is put in; the updates of bypass rows are never written back.

Reconstructed: one process as fast as k. Ours: tables of several lookups a sample; as many sets as
the cache that was asked for has room for, down to a prime. Left out: averages among several GPUs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar

from pydantic import Field

from simulator.caches.facts import BatchFacts
from simulator.caches.replays.associative import (
    BYPASS_LOOKUP,
    BYPASS_UPDATE,
    CACHED_LOOKUP,
    CACHED_UPDATE,
    FETCHED,
)
from simulator.caches.replays.windows import LEAVING, READ_AHEAD, RESIDENT, WindowReplay
from simulator.config.parameters import Given, Parameters
from simulator.config.sections import SIZE_KEYS
from simulator.errors import ConfigError
from simulator.hardware.program import Operation, Probe, Sort, Stage
from simulator.hardware.topology import Topology
from simulator.systems.base import Consistency, Job, System, SystemGroup, synchronize
from simulator.systems.schedule import After, Streams
from simulator.systems.staged import StagedTables

__all__ = ["Cdlrm", "CdlrmParameters"]


MOST_AFTER = 64
"""Mini-batches after the timed ones whose windows are still collected, at most: a longer queue has
been filled before."""


class CdlrmParameters(Parameters):
    """Of cDLRM."""

    look_ahead: Annotated[int, Field(ge=1, le=10**6), Given("verified", "main_no_ddp.py")] = 2
    """Mini-batches of a window."""
    ways: Annotated[int, Field(ge=1, le=4096), Given("verified", "cache_manager.py")] = 4
    """Slots of a set."""
    queue: Annotated[int, Field(ge=0, le=1000), Given("verified", "main_no_ddp.py")] = 8
    """Windows that wait in the queue."""
    collectors: Annotated[int, Field(ge=1, le=1000), Given("verified", "main_no_ddp.py")] = 2
    """Processes that collect windows, one each: they run ahead by as many windows more."""


class Cdlrm(System):
    """Caches loaded once a window out of a queue that the CPU fills windows ahead."""

    group: ClassVar[SystemGroup] = "rival"
    source: ClassVar[str] = (
        "Balasubramanian et al., cDLRM, RecSys 2021; code lkp411/cDLRM at f424adc"
    )
    no_inference: ClassVar[str] = (
        "it collects windows of coming mini-batches, and queries that come later are not known"
    )
    consistency: ClassVar[Consistency] = Consistency(
        "stale",
        "Rows are gathered up to queue + collectors windows before they are put in, whatever was "
        "written back since; updates of rows without a slot are lost.",
    )
    unknown: ClassVar[tuple[str, ...]] = (
        "No speed-up is published; with a cache far below a window's rows the code's bypass rows "
        "(one a sample) would not hold what several lookups a sample need.",
    )
    parameters: ClassVar[type[Parameters]] = CdlrmParameters
    uses: ClassVar[frozenset[str]] = frozenset(
        {*(f"cache.{key}" for key in SIZE_KEYS), "cache.prefill"}
    )

    kinds: ClassVar[tuple[tuple[str, ...], ...]] = ((READ_AHEAD, LEAVING, BYPASS_LOOKUP),)
    replay: WindowReplay

    def __init__(self, job: Job, machine: Topology) -> None:
        own = job.parameters_as(CdlrmParameters)
        sets = _sets(job, own.ways)
        self._job = job
        self.replay = WindowReplay(
            sets, own.ways, own.look_ahead, False, job.cache.prefill, job.seed, job.keep
        )
        self._tables = StagedTables(job, machine, "cdlrm", sum(self.replay.slots))
        ahead = own.look_ahead * (own.queue + own.collectors)
        self.schedule = Streams.of(
            ("collect", "read"),
            ("insert", "write"),
            ("fetch", "read"),
            "train",
            ("write_back", "write"),
            after=(After("collect", "insert", -ahead), After("insert", "train", -1)),
            in_flight=min(ahead, MOST_AFTER),
        )

    def stages(self, facts: BatchFacts) -> tuple[Stage, ...]:
        tables = self._tables
        done = synchronize(tables.gpu)
        train = (
            *tables.pooled(facts, CACHED_LOOKUP, BYPASS_LOOKUP),
            tables.mlp(),
            *tables.trained(facts, CACHED_UPDATE, BYPASS_UPDATE),
            done,
        )
        return (
            Stage("collect", tuple(filter(None, [tuple(self._collect(facts))]))),
            Stage("insert", tuple(filter(None, [tuple(self._insert(facts))]))),
            Stage("fetch", ((*tables.ids(facts), *tables.on_demand(facts)),)),
            Stage("train", (train,)),
            Stage("write_back", tuple(filter(None, [tables.written_back(facts, LEAVING)]))),
        )

    def _collect(self, facts: BatchFacts) -> Iterator[Operation]:
        """Unique rows of a window, all of them gathered; nothing but with its first mini-batch."""
        model, ahead = self._job.model, facts[READ_AHEAD]
        if ahead.rows:
            cpu, largest = self._tables.cpu, max(model.rows_per_table)
            yield Sort("unique", cpu, ahead, model.tables, largest, largest)
            yield from self._tables.gathered(facts, FETCHED, "missing_rows")
            yield from self._tables.gathered(facts, RESIDENT, "cached_rows")

    def _insert(self, facts: BatchFacts) -> Iterator[Operation]:
        """The CPU compares tags with those of the cache; victims leave, rows come in."""
        ahead = facts[READ_AHEAD].rows
        if ahead:
            missed = ahead - facts[RESIDENT].rows
            yield Probe("compare_tags", self._tables.cpu, ahead, missed, self.replay.ways)
            yield from self._tables.taken_out(facts, LEAVING)
            yield from self._tables.put_in(facts, FETCHED, "missing_rows")
            yield synchronize(self._tables.gpu)


def _sets(job: Job, ways: int) -> tuple[int, ...]:
    """Sets of each table: as many as its slots give, down to a prime.

    Raises `ConfigError` where a table has less than one.
    """
    sizes = job.model.rows_per_table
    slots = job.cache_size.slots(sizes)
    for table, count in enumerate(slots):
        if count < ways:
            raise ConfigError(
                f"cdlrm: {job.cache_size} gives table {table} {count:,} slots, less than one set "
                f"of {ways} ways: set {job.cache_size.holding([ways] * len(sizes), sizes)}, or "
                f"ways to at most {min(slots):,}"
            )
    return tuple(_prime_up_to(count // ways) for count in slots)


def _prime_up_to(most: int) -> int:
    """The largest prime up to `most`, or 1."""
    return next((n for n in range(most, 1, -1) if all(n % d for d in range(2, int(n**0.5) + 1))), 1)
