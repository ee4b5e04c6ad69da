"""Where the tables of a job lie, its parts numbered as tables of their own, and what crosses links.

A plan that cuts no table leaves the job as it is. Else every part (rows, columns, a copy) is a
table of the job's model: replays, stores and kernels need not know that it is one.

What GPUs exchange, of a mini-batch of B samples, by the cut of a table of D columns, for each of
the features that look it up:

| cut | forward | backward |
|---|---|---|
| whole, columns | all-to-all of B x columns from each part's GPU | the same back |
| rows, over all GPUs, summed on their way | reduce-scatter of B D partial sums | all-gather |
| rows, else | all-to-all of B D partial sums from each part, then added up | the same back |
| copy | nothing: each GPU serves its samples | all-reduce of the gradients of the copies |

`gpu.row_exchange` of the operator profile says whether partial sums are summed on their way.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

from simulator.errors import ConfigError
from simulator.systems.base import Job
from simulator.systems.placement import Plan
from simulator.traces.cuts import TablePart, parted_bags

__all__ = ["Bags", "Crossing", "Layout"]


@dataclass(frozen=True)
class Bags:
    """Bags of a mini-batch whose vectors cross links, where not all do."""

    of_tables: Sequence[int]
    """Of each whole table."""
    of_parts: Sequence[int]
    """Of each part of a table by rows, those that have a row there (at most one a lookup)."""


@dataclass(frozen=True)
class Layout:
    """The tables of a job over its GPUs."""

    whole: Job
    """With the model's tables."""
    job: Job
    """With parts as tables; that of whole tables where none is cut."""
    placed: tuple[tuple[int, ...], ...]
    """Tables of `job` that each GPU has."""

    @classmethod
    def of(cls, job: Job, plan: Plan) -> Layout:
        """What `plan` says, tables of a GPU in their order."""
        if plan.whole:
            placed = [sorted(part.table for part in own) for own in plan.by_gpu]
            return cls(job, job, tuple(map(tuple, placed)))
        ordered = sorted(plan.parts, key=lambda part: (part.table, part.index))
        of_gpu: list[list[int]] = [[] for _ in plan.by_gpu]
        for number, part in enumerate(ordered):
            of_gpu[part.gpu].append(number)
        model = job.model
        changed = model.model_copy(
            update={
                "tables": len(ordered),
                "rows_per_table": tuple(part.rows for part in ordered),
                "dim": tuple(part.columns for part in ordered),
                "lookups_per_table": tuple(model.lookups_per_table[p.table] for p in ordered),
            }
        )
        parts = tuple(TablePart(p.table, p.cut, p.index, p.parts) for p in ordered)
        own = replace(job, model=changed, parts=parts, bags=parted_bags(job.bags, parts))
        return cls(job, own, tuple(map(tuple, of_gpu)))

    @property
    def cuts(self) -> tuple[TablePart, ...]:
        """How each table of `job` is cut."""
        whole = range(self.whole.model.tables)
        return self.job.parts or tuple(TablePart(table) for table in whole)

    def refuse_copies(self, system: str) -> None:
        """Raise `ConfigError` where a table has copies, which rows that lie on a host cannot."""
        copied = {part.table for part in self.cuts if part.cut == "replica"}
        if copied:
            raise ConfigError(
                f"{system} keeps its tables on the host: {len(copied)} tables with a copy on each "
                "GPU are for gpu_only; set model.placement: size, or model.sharding: row"
            )

    def crossing(self, bags: Bags | None = None) -> Crossing:
        """What its GPUs exchange: pooled vectors of `bags`, by default one of each part for each
        sample and feature."""
        gpus, model = len(self.placed), self.job.model
        software = self.whole.software.gpu
        scattered = software.row_exchange == "reduce_scatter"

        def by_scatter(part: TablePart) -> bool:
            return scattered and part.cut == "row" and part.parts == gpus

        cuts = self.cuts
        element, samples = software.exchange_bytes, model.batch_size
        if bags is None:
            summed = each = [samples * features for features in model.features_per_table]
        else:
            summed = [bags.of_tables[part.table] for part in cuts]
            each = [min(pair) for pair in zip(summed, bags.of_parts, strict=True)]
        pooled, sums = (
            [dim * count for dim, count in zip(model.dim, counts, strict=True)]
            for counts in (each, summed)
        )
        sent = [
            sum(pooled[t] for t in own if cuts[t].cut != "replica" and not by_scatter(cuts[t]))
            for own in self.placed
        ]
        first = [t for t, part in enumerate(cuts) if part.index == 0]
        adds = [cuts[t].cut == "row" and not by_scatter(cuts[t]) for t in range(len(cuts))]
        return Crossing(
            pairwise=tuple(elements * element for elements in sent),
            scattered=element * sum(sums[t] for t in first if by_scatter(cuts[t])),
            partial=sum(itertools.compress(pooled, adds)) // samples,
            added=sum(sums[t] for t in first if adds[t]) // samples,
            copied=sum(
                model.dim[t] * model.rows_per_table[t] for t in first if cuts[t].cut == "replica"
            ),
        )


@dataclass(frozen=True)
class Crossing:
    """What the GPUs of a job exchange in a mini-batch."""

    pairwise: tuple[int, ...]
    """Bytes of the pooled vectors, or partial sums, of each GPU that go by all-to-all."""
    scattered: int = 0
    """Bytes of the partial sums of every GPU that are summed on their way."""
    partial: int = 0
    """Elements of partial sums of a sample that its GPU adds up."""
    added: int = 0
    """Elements of a sample that come out of that."""
    copied: int = 0
    """Elements of the tables that each GPU has a copy of."""

    @property
    def uneven(self) -> tuple[int, ...]:
        """`pairwise` where it differs from GPU to GPU."""
        return self.pairwise if len(set(self.pairwise)) > 1 else ()
