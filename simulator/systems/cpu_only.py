"""CPU-only: embeddings and MLPs on the cores of one host, one mini-batch after the other.

The baseline of inference on CPUs ("Optimizing CPU Performance for Recommendation Systems At-Scale",
ISCA 2023) and of nodes without a GPU. Where `operators.cpu_mlp.siblings` says so the bottom MLP
runs on the second hardware thread of each core while embeddings are gathered on the first: the
longer of both counts, slowed down by what threads of one core take from each other.
"""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from simulator.caches.facts import LOOKUP, UNIQUE, BatchFacts
from simulator.caches.replays import UniqueReplay
from simulator.errors import ConfigError
from simulator.hardware.program import Operation, Stage
from simulator.hardware.topology import Topology
from simulator.systems.base import Consistency, Job, System, SystemGroup, require_tables
from simulator.systems.cpu_mlp import cpu_step
from simulator.systems.groups import groups_of, table_groups
from simulator.systems.mlp import bottom_beside
from simulator.systems.operators import Backward, pooled_vectors
from simulator.systems.schedule import Serial

__all__ = ["CpuOnly"]

Lane = tuple[Operation, ...]


class CpuOnly(System):
    """No GPU: nothing crosses a link."""

    group: ClassVar[SystemGroup] = "baseline"
    source: ClassVar[str] = (
        "Jain et al., Optimizing CPU Performance for Recommendation Systems At-Scale, ISCA 2023 "
        "(its set-up, with one query on all cores)"
    )
    consistency: ClassVar[Consistency] = Consistency(
        "equal", "One copy of every row, in DRAM; a mini-batch is done before the next one starts."
    )
    unknown: ClassVar[tuple[str, ...]] = (
        "how much threads of one core slow each other down: operators.cpu_mlp.sibling_slowdown",
    )
    uses: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, job: Job, machine: Topology) -> None:
        self.cpu = machine.only("cpu", "cpu_only")
        if job.model.mlp_precision != "fp32":
            raise ConfigError(
                f"cpu_only multiplies in fp32, model.mlp_precision is {job.model.mlp_precision}: "
                "set it to fp32"
            )
        require_tables(job.model, machine, self.cpu)
        self._job, self._machine = job, machine
        self._groups = groups_of(job)
        stores = table_groups(self._groups, job, machine, self.cpu)
        self._tables = tuple(zip(self._groups, stores, strict=True))
        self._backward = tuple(
            Backward(
                g.job.model, machine, job.software, self.cpu, s, max(g.job.model.rows_per_table)
            )
            for g, s in self._tables
        )
        self.replay = UniqueReplay(job.keep)
        self.schedule = Serial.of("gather_reduce", "mlp", *self._backward[0].names)

    def stages(self, facts: BatchFacts) -> tuple[Stage, ...]:
        pool: Lane = tuple(
            pooled_vectors(g.job.model, self._machine, self.cpu, store, g.of(facts)[LOOKUP])
            for g, store in self._tables
        )
        beside, dense = self._dense()
        if beside:
            pool, beside = _on_thread(0, pool), _on_thread(1, beside)
        backward = (
            passes.operations(g.of(facts)[UNIQUE])
            for g, passes in zip(self._groups, self._backward, strict=True)
        )
        return (
            Stage("gather_reduce", (pool, beside) if beside else (pool,)),
            Stage("mlp", (dense,)),
            *(Stage(words[0].name, (words,)) for words in zip(*backward, strict=True)),
        )

    def _dense(self) -> tuple[Lane, Lane]:
        """What of the MLPs runs beside the embeddings, and what after them."""
        model = self._job.model
        step = cpu_step(model, self.cpu)
        if self._job.software.cpu_mlp.siblings == "none" or not model.bottom_widths:
            return (), (step,)
        first, rest, last = bottom_beside(step, model, model.batch_size)
        return (first,), (rest, last)


def _on_thread(number: int, lane: Lane) -> Lane:
    return tuple(replace(word, sibling=number) for word in lane)
