"""HugeCTR's hybrid embedding: frequent rows copied to every GPU, infrequent ones on one GPU each.

Code: HugeCTR v3.7 and v4.3 (`calibration_data.cu`), MLPerf DLRM settings v1.0 to v2.1. Verified
there: a row is frequent where I = 20 mini-batches look it up at least as often as a threshold,

    one host     B I sqrt(2 p / (M (M - 1))), M = B / GPUs: it repeats within a GPU's samples
                 with probability p (0.01 to 0.03)
    flat         I GPUs (all-to-all / all-reduce rate) e GPUs / (GPUs - 1)
    hierarchical I GPUs (all-to-all / all-reduce rate) e hosts / (hosts - 1)

and their number is rounded up to a multiple of the GPUs. Every GPU pools frequent rows of its own
samples out of its copy and sums their gradients, which are all-reduced over all frequent rows;
vectors of infrequent rows come from their owners by all-to-all, and their gradients go back.

Recalled: what crosses is not deduplicated. Reconstructed: every stage follows the one before on one
stream. Ours: `gpu_only` otherwise, with its placement and sharding for infrequent rows; tables of
several lookups a sample, whose partial sums cross where a bag has an infrequent row; which rows are
frequent is the hottest of the trace, as many as pass the threshold in mini-batches before the run.
Left out: vectors read in the peers' memory in place of an all-to-all, half precision.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from simulator.caches.facts import HIT, LOOKUP, MISS, BatchFacts
from simulator.caches.replays import Replay
from simulator.caches.replays.frequent import CROSSING, TRAINED, FrequentReplay
from simulator.caches.replays.static import HIT_LOOKUP, MISS_LOOKUP
from simulator.config.parameters import Given, Parameters
from simulator.errors import ConfigError
from simulator.hardware.collectives import host_of
from simulator.hardware.program import (
    Accumulate,
    Add,
    Buffer,
    Exchange,
    Operation,
    Stage,
    Store,
    Update,
)
from simulator.hardware.topology import Topology
from simulator.systems.base import Consistency, SystemGroup, move
from simulator.systems.gpu_only import GpuOnly, Rank, Whole
from simulator.systems.groups import Group, groups_of
from simulator.systems.layout import Layout
from simulator.systems.operators import (
    Backward,
    pooled_bytes,
    pooled_vectors,
    update_by_sums,
)
from simulator.systems.shards import Shard, side_by_side
from simulator.traces.coverage import rows_counted
from simulator.traces.cuts import TablePart

__all__ = ["HugeCtrHybrid", "HybridParameters"]

_SETTINGS = Given("verified", "MLPerf DLRM settings, v1.0 to v2.1")
_Rate = Annotated[float, Field(gt=0, le=1e15)]


class HybridParameters(Parameters):
    """Of the hybrid embedding."""

    threshold: Annotated[
        Annotated[int, Field(ge=0)] | None, Given("derived", "the formula of its hosts")
    ] = None
    """Lookups in the calibrated mini-batches that make a row frequent; 0: all are. null: as the
    formula says."""
    calibration_batches: Annotated[
        int, Field(ge=1, le=1_000), Given("verified", "calibration_data.cu")
    ] = 20
    """Mini-batches in which lookups are counted."""
    repeat_probability: Annotated[float, Field(gt=0, le=1), _SETTINGS] = 0.01
    """On one host: that a frequent row repeats within the samples of a GPU."""
    network: Annotated[
        Literal["flat", "hierarchical"], Given("verified", "calibration_data.cu")
    ] = "flat"
    """Which formula holds on several hosts."""
    all_to_all_rate: Annotated[_Rate, _SETTINGS] = 190e9
    """Bytes per second, in the formulas alone."""
    all_reduce_rate: Annotated[_Rate, _SETTINGS] = 130e9
    """Bytes per second, in the formulas alone."""
    efficiency: Annotated[float, Field(gt=0, le=100), _SETTINGS] = 1.0
    """Factor e of the formulas of several hosts."""


@dataclass(frozen=True)
class _Frequent:
    """Frequent rows of each table, and where their copies stand among the parts of the replay."""

    rows: tuple[int, ...]
    first_copy: int
    gpus: int

    def copies(self, gpu: int) -> tuple[int, ...]:
        """The shards of the copies of a GPU, table by table."""
        return tuple(self.first_copy + t * self.gpus + gpu for t in range(len(self.rows)))


class HugeCtrHybrid(GpuOnly):
    """Frequent rows on every GPU with an all-reduce, infrequent ones spread with an all-to-all."""

    group: ClassVar[SystemGroup] = "rival"
    source: ClassVar[str] = "NVIDIA HugeCTR v3.7 and v4.3, hybrid embedding; MLPerf DLRM results"
    consistency: ClassVar[Consistency] = Consistency(
        "equal",
        "All copies of a frequent row get the sums over all samples before the next mini-batch "
        "reads one; an infrequent row has one copy.",
    )
    unknown: ClassVar[tuple[str, ...]] = (
        "Whether repeated infrequent rows are sent once; here a vector crosses for each bag.",
        "How its stages overlap within an iteration.",
    )
    parameters: ClassVar[type[Parameters]] = HybridParameters
    uses: ClassVar[frozenset[str]] = frozenset({"gpus", "cache.profile"})
    name: ClassVar[str] = "hugectr_hybrid"

    def _placed(self) -> Layout:
        layout = super()._placed()
        columns = {part.table for part in layout.cuts if part.cut in ("column", "replica")}
        if columns:
            raise ConfigError(
                f"hugectr_hybrid has each infrequent row on one GPU, but the placement gives "
                f"{len(columns)} tables parts by columns or copies: set model.sharding: row or "
                "table, with model.placement: size"
            )
        rows = self._frequent_rows()
        self._layout = layout
        self._frequent = _Frequent(rows, len(layout.cuts), self.gpus)
        self._own_samples = sum(rows) > 0
        return layout

    def _frequent_rows(self) -> tuple[int, ...]:
        """Of each table, a multiple of the GPUs in all; none while the trace is not open."""
        job, own = self._job, self._job.parameters_as(HybridParameters)
        sizes = job.model.rows_per_table
        least = self._threshold(own) if own.threshold is None else own.threshold
        if least <= 0:
            return tuple(sizes)
        if job.trace is None:
            return (0,) * len(sizes)
        rows = list(rows_counted(job.trace, own.calibration_batches, least))
        more = -sum(rows) % self.gpus
        for table, size in enumerate(sizes):
            added = min(more, size - rows[table])
            rows[table] += added
            more -= added
        return tuple(rows)

    def _threshold(self, own: HybridParameters) -> float:
        """Lookups in the calibrated mini-batches from which a row is frequent."""
        batch, batches, gpus = self._job.model.batch_size, own.calibration_batches, self.gpus
        hosts = len({host_of(gpu) for gpu in self.ranks})
        if hosts == 1:
            of_gpu = max(2.0, batch / gpus)
            return batch * batches * math.sqrt(2 * own.repeat_probability / (of_gpu * (of_gpu - 1)))
        members = gpus if own.network == "flat" else hosts
        ratio = own.all_to_all_rate / own.all_reduce_rate
        return batches * gpus * ratio * own.efficiency * members / (members - 1)

    def _sizes(self, layout: Layout) -> tuple[tuple[int, ...], int]:
        """Infrequent rows of each part, and the copies of frequent ones."""
        frequent, model, parted = self._frequent.rows, self._job.model, layout.job.model
        parts = tuple(
            size
            * (model.rows_per_table[p.table] - frequent[p.table])
            // model.rows_per_table[p.table]
            for size, p in zip(parted.table_bytes, layout.cuts, strict=True)
        )
        return parts, sum(k * size for k, size in zip(frequent, model.entry_bytes, strict=True))

    def _rows(self, layout: Layout) -> Replay:
        if not self._own_samples:
            return super()._rows(layout)
        copies = tuple(
            TablePart(table, "replica", gpu, self.gpus)
            for table in range(self._job.model.tables)
            for gpu in range(self.gpus)
        )
        parts = (*layout.cuts, *copies)
        job = self._job
        return FrequentReplay(
            self._frequent.rows, self.gpus, parts, job.keep, job.cache.profile_share
        )

    def _rank(self, *shards: Shard) -> Rank:
        if not self._own_samples:
            return super()._rank(*shards)
        return _HybridRank(self._machine, shards, self.replay.counted, self._frequent)

    def stages(self, facts: BatchFacts) -> tuple[Stage, ...]:
        if not self._own_samples:
            return super().stages(facts)
        frequent = self._frequent
        by_copy = [facts.of_shards(frequent.copies(gpu)) for gpu in range(self.gpus)]
        vectors = [
            sum(own.of_shards((table,))[CROSSING].lookups for own in by_copy)
            for table in range(len(frequent.rows))
        ]
        crossing = self._layout.crossing(vectors)
        return side_by_side(
            rank.stages(facts, rank.busiest(facts), crossing) for rank in self._simulated
        )


@dataclass(frozen=True)
class _Copies:
    """The copies of frequent rows of tables of one dim on a GPU, and their backward."""

    group: Group
    backward: Backward
    rows: int


class _HybridRank(Rank):
    """A GPU with copies of all frequent rows beside the infrequent ones of its tables."""

    def __init__(
        self, machine: Topology, shards: Sequence[Shard], counted: Whole, frequent: _Frequent
    ) -> None:
        super().__init__(machine, shards, counted)
        first = self._shards[0]
        self._shards_of_copies = frequent.copies(first.group.index(self.gpu))
        self._shards_told = frequent.copies(0)
        self._infrequent = any(
            rows < size
            for rows, size in zip(frequent.rows, self._job.model.rows_per_table, strict=True)
        )
        self._copies = tuple(
            self._copied(group, sum(frequent.rows[table] for table in group.tables))
            for group in groups_of(self._job)
        )

    def _copied(self, group: Group, rows: int) -> _Copies:
        model = group.job.model
        store = Store(
            group.named("frequent"),
            self._hbm,
            model.row_bytes,
            model.state_bytes,
            model.tables,
            slotted=True,
        )
        software = self._job.software
        passes = Backward(model, self._machine, software, self.gpu, store, max(1, rows))
        return _Copies(group, passes, rows)

    def _ids(self, facts: BatchFacts, own: BatchFacts) -> tuple[Operation, ...]:
        shard, software = self._shards[0], self._job.software
        if shard.alone or software.gpu.ids != "loaded":
            return super()._ids(facts, own)
        frequent = facts.of_shards(self._shards_of_copies)[LOOKUP].lookups
        size = (own[LOOKUP].lookups + frequent) * software.id_bytes + shard.dense_bytes
        return (move("ids_to_gpu", self._dram, self._hbm, size),)

    def _embeddings(
        self, facts: BatchFacts, own: BatchFacts
    ) -> tuple[tuple[Operation, ...], tuple[Operation, ...]]:
        pool: list[Operation] = []
        update: list[Operation] = []
        for held in self._held if self._infrequent else ():
            rows, model, passes = held.group.of(own), held.group.job.model, held.backward
            gradients = Buffer("gradients", self._hbm, pooled_bytes(model))
            pool.append(
                pooled_vectors(model, self._machine, self.gpu, passes.store, rows[MISS_LOOKUP])
            )
            update += passes.operations(rows[MISS], gradients)
        copies = facts.of_shards(self._shards_of_copies)
        told = facts.of_shards(self._shards_told)
        for copied in self._copies:
            if copied.rows:
                pool += self._pooled(copied, copied.group.of(copies))
                update += self._trained(copied, copied.group.of(copies), copied.group.of(told))
        return tuple(pool), tuple(update)

    def _vectors(self, copied: _Copies, name: str) -> Buffer:
        """Pooled vectors of its samples, or their gradients."""
        shard, model = self._shards[0], copied.group.job.model
        size = pooled_bytes(model) * shard.samples // self._job.model.batch_size
        return Buffer(name, self._hbm, size)

    def _pooled(self, copied: _Copies, own: BatchFacts) -> list[Operation]:
        """Frequent rows of its samples; added to infrequent ones where bags have both."""
        passes, model = copied.backward, copied.group.job.model
        into = self._vectors(copied, "pooled_frequent")
        pool = pooled_vectors(model, self._machine, self.gpu, passes.store, own[HIT_LOOKUP])
        words: list[Operation] = [replace(pool, name="gather_reduce_frequent", into=into)]
        if self._infrequent and max(map(max, model.lookups_per_table)) > 1:
            words.append(Add("add_frequent", self.gpu, (into, into), into))
        return words

    def _trained(self, copied: _Copies, own: BatchFacts, told: BatchFacts) -> list[Operation]:
        """On one GPU an update; on several sums of its samples, those over all, and an update."""
        passes, shard = copied.backward, self._shards[0]
        gradients = self._vectors(copied, "gradients")
        words: list[Operation] = []
        for word in passes.operations(own[HIT], gradients):
            word = replace(word, name=f"{word.name}_frequent")
            if not isinstance(word, Update) or shard.alone:
                words.append(word)
                continue
            size, tables = word.gradient_bytes, passes.store.tables
            name = copied.group.named("frequent")
            sums = Buffer(f"{name}_gradients", self._hbm, copied.rows * size)
            words += [
                Accumulate(
                    "sum_frequent", self.gpu, gradients, own[HIT], size, word.expanded, tables
                ),
                Exchange(f"all_reduce_{name}", self.gpu, shard.group, "all_reduce", sums.bytes),
                update_by_sums(word, told[TRAINED], sums),
            ]
        return words
