"""Tensor Casting: ids are sorted on the GPU during the forward, so that the CPU's backward is a
gather-reduce without an expand (Kwon, Lee and Rhu, "Tensor Casting: Co-designing
Algorithm-Architecture for Personalized Recommendation Training", HPCA 2021).

Verified in slides (github.com/jsl013/Paper-Review): pairs of id and position are sorted on the GPU
while the CPU pools; with that list coalescing gathers and sums the gradients of the pooled vectors,
which nobody has to copy once for each lookup; then rows are updated. Published: 1.9 to 21 times as
fast as the CPU-centric baseline, the most of it with rows in a near-memory pool.

Derived: ids cross the link to the GPU, the list comes back with ids and positions of 4 B. So it is
`hybrid` with software that does not expand (`operators.expand: null`) and the sort in a lane beside
the forward. Left out: the near-memory pool, several GPUs.
"""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from simulator.caches.facts import LOOKUP, BatchFacts
from simulator.hardware.program import POSITION_BYTES, Operation, Sort, Stage
from simulator.hardware.topology import Topology
from simulator.systems.base import Consistency, Job, SystemGroup, move, synchronize
from simulator.systems.hybrid import Hybrid
from simulator.systems.schedule import Serial

__all__ = ["TensorCasting"]


class TensorCasting(Hybrid):
    """No cache: the CPU pools while the GPU sorts ids for a backward without expand."""

    group: ClassVar[SystemGroup] = "rival"
    source: ClassVar[str] = "Kwon, Lee and Rhu, Tensor Casting, HPCA 2021 (slides)"
    no_inference: ClassVar[str] = (
        "what it casts is the backward; hybrid answers queries as it would"
    )
    consistency: ClassVar[Consistency] = Consistency(
        "equal", "One copy of every row, in DRAM; a mini-batch is done before the next one starts."
    )
    unknown: ClassVar[tuple[str, ...]] = (
        "Whether the list of one mini-batch is made while the one before trains.",
    )
    uses: ClassVar[frozenset[str]] = frozenset({"tables"})

    def __init__(self, job: Job, machine: Topology) -> None:
        software = job.software.model_copy(update={"expand": None})
        super().__init__(replace(job, software=software), machine)
        self._gpu = machine.first("gpu", "tensor_casting")
        sorts = {name for own in self._backward for word, name in own.passes if word == "sort"}
        names = [name for name in self.schedule.names if name not in sorts]
        self.schedule = Serial.of(*names)

    def stages(self, facts: BatchFacts) -> tuple[Stage, ...]:
        whole = {stage.name: stage for stage in super().stages(facts)}
        forward = whole["gather_reduce"]
        whole["gather_reduce"] = replace(forward, lanes=(*forward.lanes, self._cast(facts)))
        return tuple(whole[name] for name in self.schedule.names)

    def _cast(self, facts: BatchFacts) -> tuple[Operation, ...]:
        """Ids to the GPU, sorted there, and the list of them back."""
        machine, software = self._machine, self._job.software
        dram, hbm = (machine.memory(place).place for place in (self.cpu, self._gpu))
        words: list[Operation] = []
        for group in self._groups:
            rows, model = group.of(facts)[LOOKUP], group.job.model
            ids, pair = software.id_bytes, software.id_bytes + POSITION_BYTES
            words += (
                move(group.named("ids_to_gpu"), dram, hbm, rows.lookups * ids),
                Sort("sort", self._gpu, rows, model.tables, max(model.rows_per_table), model.rows),
                move(group.named("list_to_cpu"), hbm, dram, rows.lookups * pair),
            )
        return (*words, synchronize(self._gpu))
