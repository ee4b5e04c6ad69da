"""EL-Rec's pipeline: the host gathers rows for the next mini-batch while the GPU trains this one,
and rows that both train are handed on within the GPU (Wang et al., "EL-Rec", SC 2022).

Code: Ash-Zheng/SC_artifacts_eval (Figure16). Verified there: the host gathers the rows of
mini-batch i + 1 while the GPU trains i; gradients return and the host updates its tables; at most
two mini-batches are in flight; no row is held back: those that i + 1 shares with i were gathered
without the update of i, and are patched on the GPU out of the buffer of i.

Reconstructed: the GPU trains its copy of each row so that there is something to patch with; ids are
matched by a sort of those of both mini-batches; a gradient a row returns. Ours: tables of several
lookups a sample, whose distinct rows cross the link once; longer pipelines (`ahead`), which patch
out of the newest buffer that has the row. Left out: its large tables, which are tensor-trains on
the GPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import mul
from typing import Annotated, ClassVar

from pydantic import Field

from simulator.caches.facts import HIT, LOOKUP, UNIQUE, BatchFacts
from simulator.caches.replays.recent import MATCHED, NEWEST, RecentReplay
from simulator.config.parameters import Given, Parameters
from simulator.hardware.program import Operation, Sort, Stage
from simulator.hardware.topology import Topology
from simulator.systems.base import (
    Consistency,
    Job,
    System,
    SystemGroup,
    entry_sizes,
    require_look_ahead,
    require_room,
    synchronize,
)
from simulator.systems.schedule import After, Streams
from simulator.systems.staged import StagedTables

__all__ = ["ElRecParameters", "ElRecPipeline"]


class ElRecParameters(Parameters):
    """Of EL-Rec's pipeline."""

    ahead: Annotated[
        int, Field(ge=0, le=64), Given("verified", "Figure16: two mini-batches in flight")
    ] = 1
    """Mini-batches that the host gathers for before the one that trains is done; 0: nothing
    overlaps."""


class ElRecPipeline(System):
    """Rows gathered a mini-batch ahead; shared ones patched on the GPU, none held back."""

    group: ClassVar[SystemGroup] = "rival"
    source: ClassVar[str] = "Wang et al., EL-Rec, SC 2022; code Ash-Zheng/SC_artifacts_eval"
    consistency: ClassVar[Consistency] = Consistency(
        "equal",
        "A row is gathered with the updates of all mini-batches but those in flight before its "
        "own; the newest of those that trains it too hands its copy on before the forward.",
    )
    unknown: ClassVar[tuple[str, ...]] = (
        "How its code matches ids, and on which processor, is not known here.",
    )
    parameters: ClassVar[type[Parameters]] = ElRecParameters
    uses: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, job: Job, machine: Topology) -> None:
        self._job, self._ahead = job, job.parameters_as(ElRecParameters).ahead
        require_look_ahead(job, "el_rec_pipeline", "ahead", self._ahead)
        in_flight = self._ahead + 1
        sizes = tuple(map(min, job.model.rows_per_table, job.most_lookups))
        self.replay = RecentReplay(sizes, in_flight, job.keep)
        self._require_room(machine, sizes)
        self._tables = StagedTables(job, machine, "el_rec_pipeline", self.replay.slots)
        self.schedule = Streams.of(
            ("gather", "read"),
            ("send", "move"),
            ("patch", "move"),
            "forward",
            "mlp",
            "backward",
            ("gradients", "move"),
            ("update", "write"),
            after=(
                After("gather", "update", -in_flight),
                After("send", "patch", -1),
                After("patch", "backward", -1),
            ),
            in_flight=in_flight,
        )

    def _require_room(self, machine: Topology, sizes: Sequence[int]) -> None:
        """The buffers of all mini-batches in flight must fit the GPU."""
        model, buffers = self._job.model, self._ahead + 1
        memory = machine.memory(machine.first("gpu", "el_rec_pipeline"))
        need = buffers * sum(map(mul, sizes, model.entry_bytes))
        require_room(
            f"el_rec_pipeline: buffers of {buffers} mini-batches in flight, each of up to "
            f"{sum(sizes):,} rows of {entry_sizes(model)},",
            need,
            f"one {machine.devices[memory.device].part.name}",
            memory.capacity,
            "lower ahead or model.batch_size",
        )

    def stages(self, facts: BatchFacts) -> tuple[Stage, ...]:
        tables = self._tables
        done = synchronize(tables.gpu)
        return (
            Stage("gather", ((self._unique(facts), *tables.gathered(facts, UNIQUE, "rows")),)),
            Stage("send", ((*tables.ids(facts), *tables.put_in(facts, UNIQUE, "rows"), done),)),
            Stage("patch", tuple(filter(None, [self._patch(facts)]))),
            Stage("forward", (tuple(tables.pooled(facts, LOOKUP)),)),
            Stage("mlp", ((tables.mlp(),),)),
            Stage("backward", ((*tables.summed(facts), done),)),
            Stage("gradients", ((*tables.gradients_back(facts), done),)),
            Stage("update", (tuple(tables.applied(facts)),)),
        )

    def _unique(self, facts: BatchFacts) -> Sort:
        """The host finds the distinct rows."""
        model = self._job.model
        largest = max(model.rows_per_table)
        cpu = self._tables.cpu
        return Sort("unique", cpu, facts[LOOKUP], model.tables, largest, model.rows)

    def _patch(self, facts: BatchFacts) -> tuple[Operation, ...]:
        """The GPU matches ids with those in flight and copies shared rows; nothing where no other
        mini-batch is in flight."""
        if not self._ahead:
            return ()
        model, gpu = self._job.model, self._tables.gpu
        largest = max(model.rows_per_table)
        match = Sort("match", gpu, facts[MATCHED], model.tables, largest, model.rows)
        return match, *self._tables.copied(facts, NEWEST, HIT)
