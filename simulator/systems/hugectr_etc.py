"""HugeCTR's embedding training cache: all rows of a pass in HBM, then the next pass.

Documentation of HugeCTR v3.7. Verified there: the data is divided into files (passes); all unique
rows of a pass are loaded into the GPUs' joint memory, trained, and all written back; nothing
overlaps. Published: ten passes of three days of Criteo have 23.7 to 27.7 M unique rows, 11.3 to
13.2 GB at dim 128; a host-cached server moves 6 GB/s at 45 % hits.

Reconstructed: who moves rows (a gather and a scatter of the CPU and a copy each way). Ours: passes
as a number of mini-batches. Left out: several GPUs, the SSD below the host.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from simulator.caches.facts import LOOKUP, UNIQUE, BatchFacts
from simulator.caches.replays.associative import FETCHED
from simulator.caches.replays.windows import LEAVING, PassReplay
from simulator.config.parameters import Given, Parameters
from simulator.config.sections import SIZE_KEYS
from simulator.hardware.program import Operation, Stage
from simulator.hardware.topology import Topology
from simulator.systems.base import Consistency, Job, System, SystemGroup, synchronize
from simulator.systems.schedule import Serial
from simulator.systems.staged import StagedTables

__all__ = ["EtcParameters", "HugeCtrEtc"]


class EtcParameters(Parameters):
    """Of the embedding training cache."""

    pass_batches: Annotated[
        int, Field(ge=1, le=10**6), Given("assumed", "a file is as long as who writes it wants")
    ] = 10
    """Mini-batches of a pass; in HugeCTR as many as a file of the data set has."""


class HugeCtrEtc(System):
    """All rows of a pass loaded before it, trained in HBM, and written back after it."""

    group: ClassVar[SystemGroup] = "rival"
    source: ClassVar[str] = "NVIDIA HugeCTR v3.7, embedding training cache (documentation)"
    no_inference: ClassVar[str] = (
        "it loads the rows of a pass before it, and queries that come later are not known"
    )
    consistency: ClassVar[Consistency] = Consistency(
        "equal", "All rows of a pass are in HBM while it trains; passes do not overlap."
    )
    unknown: ClassVar[tuple[str, ...]] = (
        "How many mini-batches a pass has follows from files of the user.",
        "Rates of its parameter server beside the published 6 GB/s.",
    )
    parameters: ClassVar[type[Parameters]] = EtcParameters
    uses: ClassVar[frozenset[str]] = frozenset(f"cache.{key}" for key in SIZE_KEYS)

    kinds: ClassVar[tuple[tuple[str, ...], ...]] = ((FETCHED, LEAVING),)

    def __init__(self, job: Job, machine: Topology) -> None:
        own = job.parameters_as(EtcParameters)
        (slots,) = job.cache_size.slots([job.model.rows])
        self.replay = PassReplay(slots, own.pass_batches, job.keep)
        self._tables = StagedTables(job, machine, "hugectr_etc", slots)
        self.schedule = Serial.of(
            ("load", "write"), ("ids", "load"), "forward", "mlp", "backward", ("flush", "write")
        )

    def stages(self, facts: BatchFacts) -> tuple[Stage, ...]:
        tables = self._tables
        done = synchronize(tables.gpu)
        load: tuple[Operation, ...] = ()
        if facts[FETCHED].rows:
            gathered = tables.gathered(facts, FETCHED, "rows_of_pass")
            load = (*gathered, *tables.put_in(facts, FETCHED, "rows_of_pass"), done)
        flush: tuple[Operation, ...] = ()
        if facts[LEAVING].rows:
            flush = (
                *tables.taken_out(facts, LEAVING),
                done,
                *tables.written_back(facts, LEAVING),
            )
        return (
            Stage("load", tuple(filter(None, [load]))),
            Stage("ids", (tables.ids(facts),)),
            Stage("forward", (tuple(tables.pooled(facts, LOOKUP)),)),
            Stage("mlp", ((tables.mlp(),),)),
            Stage("backward", ((*tables.trained(facts, UNIQUE), done),)),
            Stage("flush", tuple(filter(None, [flush]))),
        )
