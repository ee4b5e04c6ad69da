"""FlexShard: rows of sequence features with copies on every GPU, sharded within each host, or
sharded over all GPUs, by how often they are looked up (2023).

No code is public. Verified (abstract): sequence features, whose vectors are not pooled before they
cross links; rows are copied by their probability, the others sharded with regard to fast and slow
links; 85 % fewer bytes of the all-to-all and almost 6x less latency of communication, at no more
memory. Recalled: three tiers, the middle one with a copy on each host, sharded over its GPUs.

So a vector crosses for each lookup: N x D over all GPUs forward and N x D back, of the last tier
over all links, of the middle one within hosts alone. Gradients of copies are summed per row and
all-reduced: over all GPUs, or over those of each host that have the same rows. Ours, as the program
is not public: a row lies where its bytes take least time by the rates of the machine. Of W GPUs on
H hosts of g, where the network has r of the rate within a host, a row of c lookups a mini-batch is

    copied to every GPU                   where c >= W
    sharded within each host              where c >= H / (1 - r (g - 1) / g), if not copied

and none of the latter where there is one link for all (one host, one GPU on each, or r >= 1). That
takes an all-reduce to be summed within hosts before it crosses the network.

Ours too: `gpu_only` otherwise, with its placement and sharding for rows without copies; vectors are
summed where their samples are, in place of the sequence module; a copied row is read where its
sample is. Left out: features that share a table by unlike sequences. Approximated: where more than
64 GPUs are folded into one, all-reduces among hosts do not contend for an interface.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Annotated, ClassVar

from pydantic import Field

from simulator.caches.facts import HIT, MISS, BatchFacts, Flow
from simulator.caches.replays.static import MISS_LOOKUP
from simulator.caches.replays.tiered_rows import BELOW, WANTED, Tier
from simulator.config.parameters import Given, Parameters
from simulator.hardware.program import (
    GRADIENT_BYTES,
    Accumulate,
    Add,
    Buffer,
    Exchange,
    Expand,
    Operation,
    Update,
)
from simulator.hardware.topology import Topology
from simulator.systems.base import Consistency, SystemGroup
from simulator.systems.gpu_only import Held, Whole
from simulator.systems.groups import Group, groups_of
from simulator.systems.layout import Crossing, Layout
from simulator.systems.operators import Backward, pooled_vectors
from simulator.systems.placement import gpus_of
from simulator.systems.shards import Shard
from simulator.systems.tiered_rows import Pieces, TieredGpus, TieredRank
from simulator.traces.coverage import rows_counted

__all__ = ["FlexParameters", "FlexShard"]

_Lookups = Annotated[float, Field(ge=0, le=1e12)]
COPIED, ON_HOST = 0, 1
"""Number of a tier."""


class FlexParameters(Parameters):
    """Of the tiers."""

    copied_from: Annotated[
        _Lookups | None, Given("derived", "where a copy takes less time on the links")
    ] = None
    """Lookups in a mini-batch, in the mean, that make a row copied to every GPU; 0: all are. null:
    by the rates of the machine."""
    on_host_from: Annotated[
        _Lookups | None, Given("derived", "where links within a host take less time")
    ] = None
    """Lookups from which a row that is not copied is sharded within each host; 0: all are. null:
    by the rates of the machine."""
    profile_batches: Annotated[
        int, Field(ge=1, le=1_000), Given("assumed", "no code is public")
    ] = 20
    """Mini-batches before the run in which lookups are counted."""


class FlexShard(TieredGpus):
    """Rows copied to every GPU, sharded within hosts or over all GPUs; unpooled vectors."""

    group: ClassVar[SystemGroup] = "rival"
    source: ClassVar[str] = "FlexShard: flexible sharding for sequence recommendation models, 2023"
    consistency: ClassVar[Consistency] = Consistency(
        "equal",
        "All copies of a row, on every GPU or on every host, get the sums over all samples before "
        "the next mini-batch reads one; other rows have one copy.",
        sums="gradients of copied rows, GPU by GPU",
    )
    unknown: ClassVar[tuple[str, ...]] = (
        "Its exact program: how many rows each tier gets; here each row goes where it is fastest.",
        "Whether gradients of copies cross for all copied rows, as here, or those looked up alone.",
        "Whether repeated rows are sent once; here a vector crosses for each lookup.",
        "Its models and clusters; which sequence module takes the vectors.",
    )
    parameters: ClassVar[type[Parameters]] = FlexParameters
    uses: ClassVar[frozenset[str]] = frozenset({"gpus", "cache.profile"})
    name: ClassVar[str] = "flexshard"
    shown_on: ClassVar[str] = "p3_16xlarge"

    @property
    def unobserved(self) -> str:
        return super().unobserved if self.gpus > 1 else ""

    def _placed(self) -> Layout:
        layout = super()._placed()
        self._own_samples = self.gpus > 1
        return layout

    def _tiers(self) -> tuple[Tier, ...]:
        sizes, own = self._job.model.rows_per_table, self._job.parameters_as(FlexParameters)
        none = (0,) * len(sizes)
        if self.gpus == 1:
            return Tier(none), Tier(none)
        gpus = gpus_of(self._machine, self.ranks)
        ratio = gpus.network_rate / gpus.link_rate if gpus.hosts > 1 < gpus.on_host else 1.0
        copied, on_host = thresholds(gpus.count, gpus.hosts, ratio)
        copied = copied if own.copied_from is None else own.copied_from
        on_host = on_host if own.on_host_from is None else own.on_host_from
        upper = self._rows_from(copied, own.profile_batches)
        both = none if on_host is None else self._rows_from(on_host, own.profile_batches)
        more = tuple(max(0, rows - k) for rows, k in zip(both, upper, strict=True))
        return Tier(upper), Tier(more, gpus.on_host)

    def _rows_from(self, least: float, batches: int) -> tuple[int, ...]:
        """Rows of each table with `least` lookups a mini-batch or more; none while the trace is not
        open."""
        sizes, trace = self._job.model.rows_per_table, self._job.trace
        if least <= 0:
            return tuple(sizes)
        return (0,) * len(sizes) if trace is None else rows_counted(trace, batches, least * batches)

    def _tiered_rank(self, shards: Sequence[Shard]) -> TieredRank:
        return _FlexRank(self._machine, shards, self.replay.counted, self._pieces)

    def _crossing(self, facts: BatchFacts) -> Crossing:
        return Crossing(tuple(self._sent(facts, tables) for tables in self._layout.placed))

    def _sent(self, facts: BatchFacts, parts: Sequence[int]) -> int:
        """Bytes of the vectors of all lookups in some parts of tables."""
        dims = self._layout.job.model.dim
        lookups = (dims[k] * facts.of_shards((k,))[MISS_LOOKUP].lookups for k in parts)
        return sum(lookups) * self._job.software.gpu.exchange_bytes


def thresholds(gpus: int, hosts: int, ratio: float) -> tuple[float, float | None]:
    """Lookups in a mini-batch from which a row is copied to every GPU, and from which it is sharded
    within each host (None: none is); `ratio`: rate of the network by that within a host."""
    on_host = gpus // hosts
    if hosts == 1 or on_host == 1 or ratio >= 1:
        return float(gpus), None
    return float(gpus), hosts / (1 - ratio * (on_host - 1) / on_host)


class _FlexRank(TieredRank):
    """A GPU with rows of all tiers."""

    def __init__(
        self, machine: Topology, shards: Sequence[Shard], counted: Whole, pieces: Pieces
    ) -> None:
        super().__init__(machine, shards, counted, pieces)
        self._copied = self._copies(COPIED, "copied")
        self._on_host = self._copies(ON_HOST, "on_host")
        self._summed = max(map(max, self._job.model.lookups_per_table)) > 1
        """Whether vectors of a bag are summed once they are here."""
        self._groups = groups_of(self._job)

    def _embeddings(
        self, facts: BatchFacts, own: BatchFacts
    ) -> tuple[tuple[Operation, ...], tuple[Operation, ...]]:
        pool: list[Operation] = []
        update: list[Operation] = []
        for held in self._held if self._lower else ():
            lookup, passed = self._everywhere(held, held.group.of(own))
            pool.append(lookup)
            update += passed
        for copies in self._on_host:
            rows = copies.flow(facts, HIT)
            vectors = self._vectors(f"vectors_{copies.name}", copies.group, rows)
            pool.append(replace(self._pooled_copies(facts, copies, vectors), pooling=1))
            words = self._by_lookup(copies.backward, copies.group, rows)
            update += self._trained_copies(facts, copies, words)
        for copies in self._copied:
            into = self._own_vectors(copies.group, "pooled_copied")
            pool.append(self._pooled_copies(facts, copies, into))
            gradients = self._own_vectors(copies.group, "gradients")
            passes = copies.backward.operations(copies.flow(facts, HIT), gradients)
            update += self._trained_copies(facts, copies, passes)
        return tuple(pool), tuple(update)

    def _everywhere(self, held: Held, own: BatchFacts) -> tuple[Operation, list[Operation]]:
        """Forward and backward of rows that are sharded over all GPUs."""
        model, store, lookups = held.group.job.model, held.backward.store, own[MISS_LOOKUP]
        word = pooled_vectors(model, self._machine, self.gpu, store, lookups)
        vectors = self._vectors("vectors", held.group, lookups)
        update = self._by_lookup(held.backward, held.group, own[MISS])
        return replace(word, into=vectors, pooling=1), update

    def _vectors(self, name: str, group: Group, rows: Flow) -> Buffer:
        """A vector, or a gradient, for each lookup."""
        size = rows.lookups * group.job.model.width * GRADIENT_BYTES
        return Buffer(name, self._hbm, size)

    def _by_lookup(self, passes: Backward, group: Group, rows: Flow) -> list[Operation]:
        """Passes over rows whose gradients came one a lookup."""
        source = self._vectors("gradients_by_lookup", group, rows)
        return [
            replace(word, expanded=True) if isinstance(word, Accumulate | Update) else word
            for word in passes.operations(rows, source)
            if not isinstance(word, Expand)
        ]

    def _to_samples(self, facts: BatchFacts, shard: Shard) -> tuple[Operation, ...]:
        """Vectors of the lookups of its samples arrive, and those of a bag are summed."""
        words = (*self._within_host(facts, ""), *self._over_all(shard, ""))
        return (*words, *self._sums(facts)) if words else ()

    def _to_tables(self, facts: BatchFacts, shard: Shard) -> tuple[Operation, ...]:
        """A gradient for each of these lookups goes back."""
        words = (*self._within_host(facts, "_back"), *self._over_all(shard, "_back"))
        return (*self._expanded(facts), *words) if words else ()

    def _over_all(self, shard: Shard, back: str) -> Iterator[Exchange]:
        """The exchange of vectors of the last tier."""
        if self._lower:
            sent, uneven = shard.crossing.pairwise, shard.crossing.uneven
            name, group = f"all_to_all{back}", shard.group
            yield Exchange(name, self.gpu, group, "all_to_all", sent[self._number], uneven)

    def _within_host(self, facts: BatchFacts, back: str) -> Iterator[Exchange]:
        """The exchange of vectors of the middle tier."""
        run = self._pieces.run(ON_HOST, self._number)
        if not self._on_host or len(run) == 1:
            return
        gpus = self._shards[0].group
        sent = tuple(self._sent_within(facts, gpu) for gpu in run)
        name = f"all_to_all_on_host{back}" + (f"_{run[0]}" if run[0] else "")
        group = tuple(gpus[k] for k in run)
        size = sent[run.index(self._number)]
        uneven = sent if len(set(sent)) > 1 else ()
        yield Exchange(name, self.gpu, group, "all_to_all", size, uneven)

    def _sent_within(self, facts: BatchFacts, gpu: int) -> int:
        """Bytes of the vectors of all lookups that a GPU serves for its host."""
        own = facts.of_shards(self._pieces.of(ON_HOST, gpu))
        elements = sum(
            copies.group.job.model.width * copies.group.of(own)[HIT].lookups
            for copies in self._on_host
        )
        return elements * self._job.software.gpu.exchange_bytes

    def _received(self, facts: BatchFacts, group: Group) -> Flow:
        """Lookups of its samples whose vectors come from where their rows lie."""
        below, near = (
            group.of(facts.of_shards(self._pieces.of(tier, self._number)))[name].lookups
            for tier, name in ((COPIED, BELOW), (ON_HOST, WANTED))
        )
        return Flow(below + near)

    def _sums(self, facts: BatchFacts) -> Iterator[Add]:
        """Vectors of a bag, and what was pooled of copied rows, become pooled vectors."""
        for group in self._groups if self._summed else ():
            pooled = self._own_vectors(group, "pooled")
            vectors = self._vectors("vectors", group, self._received(facts, group))
            copied = any(copies.group.tables == group.tables for copies in self._copied)
            more = (self._own_vectors(group, "pooled_copied"),) if copied else ()
            yield Add(group.named("sum_vectors"), self.gpu, (vectors, *more), pooled)

    def _expanded(self, facts: BatchFacts) -> Iterator[Expand]:
        """Gradients of pooled vectors, once for each lookup that goes back."""
        for group in self._groups if self._summed else ():
            model, gradients = group.job.model, self._own_vectors(group, "gradients")
            size, rows = model.width * GRADIENT_BYTES, self._received(facts, group)
            name = group.named("expand_gradients")
            yield Expand(name, self.gpu, gradients, rows, size, model.features)
