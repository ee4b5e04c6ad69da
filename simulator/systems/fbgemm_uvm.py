"""FBGEMM with `EmbeddingLocation.MANAGED`: tables in host memory, every row over the link.

Code: FBGEMM at 71d6f8b. Verified there: tables are unified memory that stays in host memory
(preferred location CPU, accessed by the GPU), so that no page ever moves; a lookup reads its row
over the link, the backward reads and writes each unique row there; row-wise optimizer state lies in
HBM, full-size state in host memory.

Reconstructed: sizes of the requests on the link (lines of 128 B, or what a row has of one).
Ours: the MLPs, and the serial order of stages on one stream.
"""

from __future__ import annotations

from typing import ClassVar

from simulator.caches.facts import BatchFacts
from simulator.caches.replays import UniqueReplay
from simulator.hardware.program import Stage
from simulator.hardware.topology import Topology
from simulator.systems.base import Consistency, Job, System, SystemGroup, synchronize
from simulator.systems.schedule import Serial
from simulator.systems.uvm import MappedTables

__all__ = ["FbgemmUvm"]


class FbgemmUvm(System):
    """Tables in host memory; the GPU reads and writes every row over the link."""

    group: ClassVar[SystemGroup] = "rival"
    source: ClassVar[str] = "FBGEMM at 71d6f8b, tables MANAGED (UVM)"
    consistency: ClassVar[Consistency] = Consistency(
        "equal", "One copy of every row; a mini-batch is done before the next one starts."
    )
    unknown: ClassVar[tuple[str, ...]] = (
        "How many reads a GPU of each generation keeps in flight over its link is assumed.",
    )
    uses: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, job: Job, machine: Topology) -> None:
        self._tables = MappedTables(job, machine, "fbgemm_uvm")
        self.replay = UniqueReplay(job.keep)
        self.schedule = Serial.of("ids", "forward", "mlp", "backward")

    def stages(self, facts: BatchFacts) -> tuple[Stage, ...]:
        tables = self._tables
        done = synchronize(tables.gpu)
        return (
            Stage("ids", (tables.ids(facts),)),
            Stage("forward", (tables.pooled(facts),)),
            Stage("mlp", ((tables.mlp(),),)),
            Stage("backward", ((*tables.trained(facts), done),)),
        )
