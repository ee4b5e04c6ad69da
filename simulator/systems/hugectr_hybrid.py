"""HugeCTR's hybrid embedding: frequent rows copied to every GPU, infrequent ones on one GPU each.

Code: HugeCTR v3.7 and v4.3 (`calibration_data.cu`), MLPerf DLRM settings v1.0 to v2.1. Verified
there: a row is frequent where I = 20 mini-batches look it up at least as often as a threshold,

    one host     B I sqrt(2 p / (M (M - 1))), M = B / GPUs: it repeats within a GPU's samples
                 with probability p (0.01 to 0.03)
    flat         I GPUs (all-to-all / all-reduce rate) e GPUs / (GPUs - 1)
    hierarchical I GPUs (all-to-all / all-reduce rate) e hosts / (hosts - 1)
    by_host      I hosts (all-to-all / all-reduce rate) e hosts / (hosts - 1)

(by_host: releases of 2021 and of early 2022, commits 1dde7cb and 72b633b, whatever the network; the
settings of v2.1 have an eighth of the all-to-all rate of those before, for eight GPUs a host),
and their number is rounded up to a multiple of the GPUs. Every GPU pools frequent rows of its own
samples out of its copy and sums their gradients, which are all-reduced over all frequent rows;
vectors of infrequent rows come from their owners by all-to-all, and their gradients go back.

Verified too (commit 02188f4, May to November 2021): what crosses is not deduplicated; vectors,
gradients and sums of frequent rows cross in the precision of the layers (`emtype`), sums of all of
them (`num_frequent` rows); nothing is sorted; each GPU picks what it sends and gets out of the ids
of all samples; several hosts exchange vectors while frequent rows are pooled and the bottom MLP
runs. What runs beside what is in the profiles `hugectr_2021` and `hugectr_2022`.

Ours: `gpu_only` otherwise, with its placement and sharding for infrequent rows; tables of several
lookups a sample, whose partial sums cross where a bag has an infrequent row; a part of a table by
rows sends a vector for each of its lookups, at most one for each such bag; which rows are frequent
is the hottest of the trace, as many as pass the threshold in mini-batches before the run.
Reconstructed: frequent rows are pooled before the exchange, not beside it. Left out: one host's
kernels that read vectors and gradients in the peers' memory in place of an all-to-all and an all-
reduce; its own collectives between hosts (a one-shot all-reduce with sums in the switches, an all-
to-all by a thread that posts InfiniBand verbs), whose times nobody has published: those of the
profile's library stand in.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from simulator.caches.facts import HIT, MISS, BatchFacts
from simulator.caches.replays.static import MISS_LOOKUP
from simulator.caches.replays.tiered_rows import CROSSING, Tier
from simulator.config.parameters import Given, Parameters
from simulator.config.types import BytesPerSecond
from simulator.hardware.collectives import host_of
from simulator.hardware.program import Add, Operation, Pool
from simulator.hardware.topology import Topology
from simulator.systems.base import Consistency, SystemGroup
from simulator.systems.gpu_only import Held, Whole
from simulator.systems.layout import Bags, Crossing
from simulator.systems.operators import pooled_vectors
from simulator.systems.shards import Shard
from simulator.systems.tiered_rows import Copies, Pieces, TieredGpus, TieredRank
from simulator.traces.coverage import rows_counted

__all__ = ["HugeCtrHybrid", "HybridParameters"]

_SETTINGS = Given("verified", "MLPerf DLRM settings, v1.0 to v2.1")


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
        Literal["flat", "hierarchical", "by_host"], Given("verified", "calibration_data.cu")
    ] = "flat"
    """Which formula holds on several hosts; `by_host`: that of releases up to MLPerf v2.0."""
    all_to_all_rate: Annotated[BytesPerSecond, _SETTINGS] = "190 GB/s"  # type: ignore[assignment]
    """Of an all-to-all among hosts, in the formulas alone."""
    all_reduce_rate: Annotated[BytesPerSecond, _SETTINGS] = "130 GB/s"  # type: ignore[assignment]
    """Of an all-reduce among hosts, in the formulas alone."""
    efficiency: Annotated[float, Field(gt=0, le=100), _SETTINGS] = 1.0
    """Factor e of the formulas of several hosts."""


class HugeCtrHybrid(TieredGpus):
    """Frequent rows on every GPU with an all-reduce, infrequent ones spread with an all-to-all."""

    group: ClassVar[SystemGroup] = "rival"
    source: ClassVar[str] = "NVIDIA HugeCTR v3.7 and v4.3, hybrid embedding; MLPerf DLRM results"
    consistency: ClassVar[Consistency] = Consistency(
        "equal",
        "All copies of a frequent row get the sums over all samples before the next mini-batch "
        "reads one; an infrequent row has one copy.",
        sums="gradients of frequent rows, GPU by GPU; vectors of several lookups",
    )
    unknown: ClassVar[tuple[str, ...]] = (
        "What its own collectives between hosts take; those of the profile's library stand in.",
    )
    parameters: ClassVar[type[Parameters]] = HybridParameters
    uses: ClassVar[frozenset[str]] = frozenset({"gpus", "cache.profile"})
    name: ClassVar[str] = "hugectr_hybrid"
    shown_on: ClassVar[str] = "p3_16xlarge"

    def _tiers(self) -> tuple[Tier, ...]:
        return (Tier(self._frequent_rows()),)

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
        each = hosts if own.network == "by_host" else gpus
        ratio = own.all_to_all_rate / own.all_reduce_rate
        return batches * each * ratio * own.efficiency * members / (members - 1)

    def _tiered_rank(self, shards: Sequence[Shard]) -> TieredRank:
        return _HybridRank(self._machine, shards, self.replay.counted, self._pieces)

    def _crossing(self, facts: BatchFacts) -> Crossing:
        by_gpu = [facts.of_shards(self._pieces.of(0, gpu)) for gpu in range(self.gpus)]
        bags = [
            sum(own.of_shards((table,))[CROSSING].lookups for own in by_gpu)
            for table in range(self._job.model.tables)
        ]
        parts = [facts.of_shards((k,))[MISS_LOOKUP].lookups for k in range(len(self._layout.cuts))]
        return self._layout.crossing(Bags(bags, parts))


class _HybridRank(TieredRank):
    """A GPU with copies of all frequent rows beside the infrequent ones of its tables."""

    flows: ClassVar[tuple[str, str]] = (MISS_LOOKUP, MISS)

    def __init__(
        self, machine: Topology, shards: Sequence[Shard], counted: Whole, pieces: Pieces
    ) -> None:
        super().__init__(machine, shards, counted, pieces)
        self._frequent = self._copies(0, "frequent")

    def _embeddings(
        self, facts: BatchFacts, own: BatchFacts
    ) -> tuple[tuple[Operation, ...], tuple[Operation, ...]]:
        below = super()._embeddings(facts, own) if self._lower else ((), ())
        pool, update = map(list, below)
        gpu = self._job.software.gpu
        with_mlps = gpu.all_reduce == "beside_exchange" and not self._shards[0].alone
        train = self._by_sums if with_mlps else self._trained_copies
        for copies in self._frequent:
            pool += self._pooled_frequent(facts, copies)
            update += train(facts, copies, self._passes(facts, copies))
        picked = self._indices(facts) if gpu.indices == "in_turn" else ()
        return (*picked, *pool), tuple(update)

    def _passes(self, facts: BatchFacts, copies: Copies) -> tuple[Operation, ...]:
        """The backward of frequent rows."""
        gradients = self._own_vectors(copies.group, "gradients")
        return copies.backward.operations(copies.flow(facts, HIT), gradients)

    def _with_mlps(self, facts: BatchFacts) -> tuple[tuple[Operation, ...], int]:
        each = [self._copied_sums(facts, own, self._passes(facts, own)) for own in self._frequent]
        return tuple(w for words, _ in each for w in words), sum(sent for _, sent in each)

    def _pooled(self, held: Held, rows: BatchFacts) -> Operation:
        model, store = held.group.job.model, held.backward.store
        word = pooled_vectors(model, self._machine, self.gpu, store, rows[self.flows[0]])
        return _written(word)

    def _pooled_frequent(self, facts: BatchFacts, copies: Copies) -> Iterator[Operation]:
        """Frequent rows of its samples; added to infrequent ones where bags have both."""
        into = self._own_vectors(copies.group, "pooled_frequent")
        yield _written(self._pooled_copies(facts, copies, into))
        if self._lower and max(map(max, copies.group.job.model.lookups_per_table)) > 1:
            yield Add("add_frequent", self.gpu, (into, into), into)


def _written(word: Pool) -> Pool:
    """Writes a vector for each lookup, at most one for each bag: not those of bags without one."""
    size = min(word.into.bytes, word.rows.lookups * word.reads.row_bytes)
    return replace(word, into=replace(word.into, bytes=size))
