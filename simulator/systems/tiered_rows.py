"""Tables spread over GPUs whose hotter rows have copies: on each GPU, or on each run of GPUs.

A base for systems: `gpu_only` otherwise, whose placement and sharding hold for rows of no upper
tier. Which rows a tier has is the hottest of the trace, as many of each table as the system says.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace

from simulator.caches.facts import HIT, LOOKUP, UNIQUE, BatchFacts, Flow
from simulator.caches.replays import Replay
from simulator.caches.replays.static import HIT_LOOKUP
from simulator.caches.replays.tiered_rows import TRAINED, Tier, TieredReplay
from simulator.errors import ConfigError
from simulator.hardware.program import (
    GRADIENT_BYTES,
    Accumulate,
    Buffer,
    Exchange,
    Operation,
    Pool,
    Split,
    Stage,
    Store,
    Update,
)
from simulator.hardware.topology import Topology
from simulator.systems.base import move
from simulator.systems.gpu_only import GpuOnly, Rank, Whole
from simulator.systems.groups import Group, groups_of
from simulator.systems.layout import Crossing, Layout
from simulator.systems.operators import Backward, pooled_bytes, pooled_vectors, update_by_sums
from simulator.systems.shards import Shard, side_by_side
from simulator.traces.cuts import TablePart

__all__ = ["Copies", "Pieces", "TieredGpus", "TieredRank"]


@dataclass(frozen=True)
class Pieces:
    """The upper tiers, and where their pieces stand among the shards of the replay."""

    tiers: tuple[Tier, ...]
    first: int
    gpus: int

    def of(self, tier: int, gpu: int) -> tuple[int, ...]:
        """The shards of a tier that a GPU has, table by table."""
        tables = len(self.tiers[tier].rows)
        start = self.first + tier * tables * self.gpus + gpu
        return tuple(range(start, start + tables * self.gpus, self.gpus))

    def run(self, tier: int, gpu: int) -> range:
        """GPUs, by number, that share a copy of a tier with one of them."""
        size = self.tiers[tier].gpus
        return range(gpu // size * size, gpu // size * size + size)

    def peers(self, tier: int, gpu: int) -> range:
        """GPUs, by number, that have the same rows of a tier as one of them."""
        size = self.tiers[tier].gpus
        return range(gpu % size, self.gpus, size)


class TieredGpus(GpuOnly):
    """All rows in HBM, those of upper tiers more than once."""

    @abstractmethod
    def _tiers(self) -> tuple[Tier, ...]:
        """The upper tiers; without rows where the trace is needed for them and not open."""

    @abstractmethod
    def _tiered_rank(self, shards: Sequence[Shard]) -> TieredRank:
        """A GPU with rows of upper tiers, in place of all that do the same."""

    @abstractmethod
    def _crossing(self, facts: BatchFacts) -> Crossing:
        """What a mini-batch exchanges of rows of no upper tier."""

    def _rank(self, *shards: Shard) -> Rank:
        return self._tiered_rank(shards) if self._own_samples else super()._rank(*shards)

    def stages(self, facts: BatchFacts) -> tuple[Stage, ...]:
        if not self._own_samples:
            return super().stages(facts)
        crossing = self._crossing(facts)
        return side_by_side(
            rank.stages(facts, rank.busiest(facts), crossing) for rank in self._simulated
        )

    @property
    def unobserved(self) -> str:
        return (
            "it keeps copies of rows beside tables, but each process that is observed trains "
            "tables of its own, whose rows lie once: observe gpu_only in its place"
        )

    def _placed(self) -> Layout:
        layout = super()._placed()
        columns = {part.table for part in layout.cuts if part.cut in ("column", "replica")}
        if columns:
            raise ConfigError(
                f"{self.name} has rows without copies on one GPU each, but the placement gives "
                f"{len(columns)} tables parts by columns or copies: set model.sharding: row or "
                "table, with model.placement: size"
            )
        self._layout = layout
        self._pieces = Pieces(self._tiers(), len(layout.cuts), self.gpus)
        self._own_samples = any(sum(tier.rows) for tier in self._pieces.tiers)
        return layout

    def _sizes(self, layout: Layout) -> tuple[tuple[int, ...], int]:
        """Rows of no upper tier of each part, and those of upper tiers on a GPU."""
        model, parted, tiers = self._job.model, layout.job.model, self._pieces.tiers
        upper = [sum(rows) for rows in zip(*(tier.rows for tier in tiers), strict=True)]
        parts = tuple(
            size * (model.rows_per_table[p.table] - upper[p.table]) // model.rows_per_table[p.table]
            for size, p in zip(parted.table_bytes, layout.cuts, strict=True)
        )
        copied = sum(
            -(-count // tier.gpus) * size
            for tier in tiers
            for count, size in zip(tier.rows, model.entry_bytes, strict=True)
        )
        return parts, copied

    def _rows(self, layout: Layout) -> Replay:
        if not self._own_samples:
            return super()._rows(layout)
        copies = [
            TablePart(table, "replica", gpu, self.gpus)
            for table in range(self._job.model.tables)
            for gpu in range(self.gpus)
        ]
        job, tiers = self._job, self._pieces.tiers
        parts = (*layout.cuts, *(copies * len(tiers)))
        return TieredReplay(tiers, self.gpus, parts, job.keep, job.cache.profile_share)


@dataclass(frozen=True)
class Copies:
    """Rows of an upper tier, of tables of one dim, on a GPU, and their backward."""

    name: str
    group: Group
    backward: Backward
    rows: int
    """On this GPU."""
    own: tuple[int, ...]
    """Their shards of the replay."""
    told: tuple[int, ...]
    """Shards that tell which of these rows any sample looks up."""
    peers: tuple[str, ...]
    """All GPUs with copies of the same rows."""
    first: int
    """Number of the first of those."""

    def flow(self, facts: BatchFacts, name: str) -> Flow:
        """Lookups and rows on this GPU."""
        return self.group.of(facts.of_shards(self.own))[name]


class TieredRank(Rank):
    """A GPU with rows of upper tiers beside those of its parts of tables."""

    def __init__(
        self, machine: Topology, shards: Sequence[Shard], counted: Whole, pieces: Pieces
    ) -> None:
        super().__init__(machine, shards, counted)
        self._pieces = pieces
        self._number = self._shards[0].group.index(self.gpu)
        upper = [sum(rows) for rows in zip(*(tier.rows for tier in pieces.tiers), strict=True)]
        sizes = self._job.model.rows_per_table
        self._lower = any(rows < size for rows, size in zip(upper, sizes, strict=True))
        """Whether there are rows of no upper tier."""

    def _copies(self, tier: int, name: str) -> tuple[Copies, ...]:
        """What this GPU has of a tier, called `name`; nothing of tables without such rows."""
        return tuple(
            self._held_copies(tier, name, group)
            for group in groups_of(self._job)
            if any(self._pieces.tiers[tier].rows[table] for table in group.tables)
        )

    def _held_copies(self, tier: int, name: str, group: Group) -> Copies:
        model, pieces = group.job.model, self._pieces
        own = pieces.tiers[tier]
        rows = sum(-(-own.rows[table] // own.gpus) for table in group.tables)
        name = group.named(name)
        entry = (model.row_bytes, model.state_bytes, model.tables)
        store = Store(name, self._hbm, *entry, slotted=True)
        passes = Backward(model, self._machine, self._job.software, self.gpu, store, max(1, rows))
        peers, gpus = pieces.peers(tier, self._number), self._shards[0].group
        return Copies(
            name,
            group,
            passes,
            rows,
            pieces.of(tier, self._number),
            pieces.of(tier, peers[0]),
            tuple(gpus[k] for k in peers),
            peers[0],
        )

    def _ids(self, facts: BatchFacts, own: BatchFacts) -> tuple[Operation, ...]:
        software = self._job.software
        picked = self._indices(facts) if software.gpu.indices == "ahead" else ()
        if self._shards[0].alone or software.gpu.ids != "loaded":
            return (*super()._ids(facts, own), *picked)
        shards = [
            k for t in range(len(self._pieces.tiers)) for k in self._pieces.of(t, self._number)
        ]
        lookups = own[LOOKUP].lookups + facts.of_shards(shards)[LOOKUP].lookups
        size = lookups * software.id_bytes + self._shards[0].dense_bytes
        return (move("ids_to_gpu", self._dram, self._hbm, size), *picked)

    def _indices(self, facts: BatchFacts) -> tuple[Operation, ...]:
        """Which lookups of all are of its own rows, and of its samples whose rows which GPU has."""
        shard = self._shards[0]
        if shard.alone:
            return ()
        lookups, distinct = facts[LOOKUP].lookups, facts[UNIQUE].rows
        own = lookups * shard.samples // self._job.model.batch_size
        return tuple(
            Split(f"pick_{name}", self.gpu, count, distinct=min(count, distinct))
            for name, count in (("own_rows", lookups), ("owners", own), ("copies", own))
        )

    def _own_vectors(self, group: Group, name: str) -> Buffer:
        """Pooled vectors of its samples, or their gradients."""
        shard, model = self._shards[0], group.job.model
        size = pooled_bytes(model) * shard.samples // self._job.model.batch_size
        return Buffer(name, self._hbm, size)

    def _pooled_copies(self, facts: BatchFacts, copies: Copies, into: Buffer) -> Pool:
        """Looks up rows of a tier."""
        model, store = copies.group.job.model, copies.backward.store
        rows = copies.flow(facts, HIT_LOOKUP)
        word = pooled_vectors(model, self._machine, self.gpu, store, rows)
        return replace(word, name=f"gather_reduce_{copies.name}", into=into)

    def _trained_copies(
        self, facts: BatchFacts, copies: Copies, passes: Sequence[Operation]
    ) -> list[Operation]:
        """`passes` over rows of a tier: an update where there is one copy, else sums of what this
        GPU has, those over all copies, and an update by them."""
        words, sent = self._copied_sums(facts, copies, passes)
        reduce = f"all_reduce_{copies.name}" + (f"_{copies.first}" if copies.first else "")
        if sent:
            words.append(Exchange(reduce, self.gpu, copies.peers, "all_reduce", sent))
        return [*words, *self._by_sums(facts, copies, passes)]

    def _copied_sums(
        self, facts: BatchFacts, copies: Copies, passes: Sequence[Operation]
    ) -> tuple[list[Operation], int]:
        """`passes` but for updates, in place of which gradients of rows of a tier are summed where
        other GPUs have copies; and bytes of those sums as they cross links."""
        words: list[Operation] = []
        name, sent = copies.name, 0
        for word in passes:
            if not isinstance(word, Update):
                words.append(replace(word, name=f"{word.name}_{name}"))
            elif len(copies.peers) > 1:
                size, tables = word.gradient_bytes, copies.backward.store.tables
                sent += copies.rows * size * self._job.software.gpu.exchange_bytes // GRADIENT_BYTES
                rows = copies.flow(facts, HIT)
                words.append(
                    Accumulate(
                        f"sum_{name}", self.gpu, word.source, rows, size, word.expanded, tables
                    )
                )
        return words, sent

    def _by_sums(
        self, facts: BatchFacts, copies: Copies, passes: Sequence[Operation]
    ) -> list[Operation]:
        """Updates of rows of a tier, by sums over all copies where there are several."""
        words: list[Operation] = []
        for word in passes:
            if not isinstance(word, Update):
                continue
            word = replace(word, name=f"{word.name}_{copies.name}")
            if len(copies.peers) > 1:
                size = copies.rows * word.gradient_bytes
                sums = Buffer(f"{copies.name}_gradients", self._hbm, size)
                told = copies.group.of(facts.of_shards(copies.told))[TRAINED]
                word = update_by_sums(word, told, sums)
            words.append(word)
        return words
