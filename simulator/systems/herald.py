"""Herald: samples go to the worker that has their rows, and a plan pushes only rows that another
worker needs next (Zeng et al., NSDI 2024).

Code: HKUST-SING/herald at a91b65d (laia_scheduler.cc), built on Hetu and HET's caches. Verified
there: a scheduler runs ahead (5 mini-batches are buffered) on LRU snapshots of all caches with a
fresh bit for each row; in the order of the mini-batch each sample goes to the worker with room that
has most of its rows fresh, ties from worker (sample + mini-batch) mod workers on; rows that are
fresh at a worker and that samples of others look up are pushed after the mini-batch before and are
stale there; then each worker's rows are touched, absent ones pulled, evicted ones pushed, stale
ones pulled anew.

The code has a second scheduler, which scores some of the tables only: `scored_tables`. Its test of
what a plan has to push is the opposite of the first one's; built is the first one's.

Reconstructed: the scheduler's time, a probe of each worker's snapshot for each lookup (16 threads
there, here all of the CPU where it runs) and of one for each unique row. Ours: rows that several
workers train in a mini-batch are pushed by all of them after it and are stale everywhere; the code
has them fresh, and pushes only planned rows that the mini-batch just done has trained.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, ClassVar

from pydantic import Field

from simulator.caches.facts import LOOKUP, MISS, UNIQUE, BatchFacts
from simulator.config.parameters import Given, Parameters
from simulator.config.types import Picoseconds
from simulator.errors import ConfigError
from simulator.hardware.program import Move, Operation, Probe, Stage
from simulator.hardware.topology import Topology
from simulator.systems.base import (
    Consistency,
    Job,
    System,
    SystemGroup,
    move,
    require_look_ahead,
)
from simulator.systems.remote import Cluster
from simulator.systems.schedule import After, Streams
from simulator.systems.workers import WORKER_KEYS, WORKER_KINDS, WorkerTables, worker_replay

__all__ = ["Herald", "HeraldParameters"]


class HeraldParameters(Parameters):
    """Of Herald."""

    buffered: Annotated[int, Field(ge=1, le=1000), Given("verified", "laia_scheduler.cc: 5")] = 5
    """Mini-batches that the scheduler runs ahead."""
    scored_tables: Annotated[
        int | None,
        Field(ge=1, le=10**6),
        Given("verified", "the first scheduler scores all; the second 20 of 26, 17 of 18"),
    ] = None
    """Tables by whose rows samples are allocated, those with the most rows (which ones is assumed);
    null: all."""
    rpc_latency: Annotated[
        Picoseconds, Given("assumed", "a request of ps-lite over ZeroMQ: tens of us")
    ] = "50 us"  # type: ignore[assignment]
    """What a request to a server takes beside its bytes."""


class Herald(System):
    """Samples allocated to the worker that has their rows; only what others need is pushed."""

    group: ClassVar[SystemGroup] = "rival"
    source: ClassVar[str] = "Zeng et al., Herald, NSDI 2024; code HKUST-SING/herald at a91b65d"
    no_inference: ClassVar[str] = (
        "it plans which rows workers push to each other, and queries push none"
    )
    consistency: ClassVar[Consistency] = Consistency(
        "equal",
        "Changes of a row are pushed before the mini-batch in which another worker needs it; rows "
        "that several workers have trained are pushed by all and pulled anew.",
        sums="changes of rows, worker by worker",
    )
    unknown: ClassVar[tuple[str, ...]] = (
        "Types of hosts and GPUs, and so what its iterations take.",
        "What its scheduler takes, and on which host it runs; which tables its second one scores.",
    )
    parameters: ClassVar[type[Parameters]] = HeraldParameters
    uses: ClassVar[frozenset[str]] = WORKER_KEYS
    shown_on: ClassVar[str] = "herald_100g"
    kinds: ClassVar[tuple[tuple[str, ...], ...]] = WORKER_KINDS

    def __init__(self, job: Job, machine: Topology) -> None:
        own = job.parameters_as(HeraldParameters)
        cluster = Cluster.of(job, machine, "herald", own.rpc_latency, shown_on=self.shown_on)
        require_look_ahead(job, "herald", "buffered", own.buffered)
        self._scored = _scored(job, own.scored_tables)
        plain = worker_replay(job, "herald", cluster)
        self.replay = replace(plain, allocates=True, scored=self._scored)
        self._tables = WorkerTables.of(job, machine, cluster, self.replay.capacity)
        self._planner = cluster.planner
        self._dram = machine.memory(cluster.planner).place
        self._id_bytes = cluster.id_bytes
        self.schedule = Streams.of(
            ("schedule", "plan"),
            ("plan", "load"),
            ("find", "read"),
            ("pull", "write"),
            ("lookup", "move"),
            "train",
            "gradients",
            ("push", "write"),
            after=(
                After("schedule", "push", -own.buffered - 1),
                After("find", "push", -1),
                After("push", "schedule", 1),
            ),
            in_flight=own.buffered + 1,
        )

    @property
    def gpus(self) -> int:
        return len(self._tables.workers)

    def stages(self, facts: BatchFacts) -> tuple[Stage, ...]:
        return (
            Stage("schedule", (self._scheduled(facts),)),
            Stage("plan", tuple((self._told(facts, number),) for number in range(self.gpus))),
            *self._tables.stages(facts),
        )

    def _scheduled(self, facts: BatchFacts) -> tuple[Operation, ...]:
        """Samples are scored at every worker; then each snapshot follows what its worker does."""
        unique, every = facts[UNIQUE].rows, facts.flows[LOOKUP]
        chosen = every if self._scored is None else [every[table] for table in self._scored]
        lookups = sum(flow.lookups for flow in chosen)
        return (
            Probe("score", self._planner, lookups * self.gpus, 0, 1),
            Probe("follow", self._planner, unique, facts[MISS].rows, 1),
        )

    def _told(self, facts: BatchFacts, number: int) -> Move:
        """Which samples a worker trains, and which rows it pushes after the mini-batch before."""
        worker = self._tables.workers[number]
        ids = worker.told(facts) * self._id_bytes
        return move("plan", self._dram, worker.place.dram, ids)


def _scored(job: Job, count: int | None) -> tuple[int, ...] | None:
    """The `count` largest tables; None: all.

    Raises `ConfigError` where there are less.
    """
    rows = job.model.rows_per_table
    if count is None or count == len(rows):
        return None
    if count > len(rows):
        raise ConfigError(
            f"scored_tables of herald is {count:,}, but the model has {len(rows):,} tables: lower "
            "scored_tables, or leave it out to score all"
        )
    largest = sorted(range(len(rows)), key=lambda table: (-rows[table], table))
    return tuple(sorted(largest[:count]))
