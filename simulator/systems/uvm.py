"""Tables in host memory that the GPU touches row by row over its link (zero-copy), with or without
a cache of rows in HBM: what FBGEMM's and TorchRec's systems share.

Where optimizer state lies is FBGEMM's rule (`construct_split_state`): a number a row (row-wise
Adagrad) in HBM for all rows, full-size state (Adagrad) in host memory, never cached.

One GPU. A kernel works on all tables of one dim; rows of unlike dim share one pool of slots, each
as wide as the widest row.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from simulator.caches.facts import LOOKUP, MISS, UNIQUE, VICTIM, BatchFacts
from simulator.caches.replays.associative import (
    BYPASS_LOOKUP,
    BYPASS_UPDATE,
    CACHED_LOOKUP,
    CACHED_UPDATE,
    FETCHED,
)
from simulator.config.model import ModelConfig
from simulator.errors import ConfigError
from simulator.hardware.program import (
    Elsewhere,
    Operation,
    Pool,
    Probe,
    Sort,
    Store,
    Update,
    ZeroCopy,
)
from simulator.hardware.topology import Topology
from simulator.systems.base import Job, move, require_room, require_tables
from simulator.systems.groups import Group, groups_of
from simulator.systems.mlp import dense_bytes, mlp_step
from simulator.systems.operators import Backward, pooled_vectors

__all__ = ["MappedTables", "SlotCost", "probed", "sets_for"]


@dataclass(frozen=True)
class SlotCost:
    """Bytes of HBM that a cache takes beside its rows."""

    slot: int = 0
    row: int = 0
    """For each row of the tables."""


@dataclass(frozen=True)
class _Stored:
    """Tables of one dim: where they lie, their slots in HBM, and their backward."""

    group: Group
    tables: Store
    cache: Store
    backward: Backward


class MappedTables:
    """The tables of a job in the memory of its CPU, as its GPU works on them.

    `slots`: rows of the cache in HBM. Raises `CapacityError` where tables, cache and what goes with
    it do not fit.
    """

    def __init__(
        self, job: Job, machine: Topology, system: str, slots: int = 0, cost: SlotCost | None = None
    ) -> None:
        self.job, self._machine = job, machine
        self.gpu = machine.first("gpu", system)
        self.cpu = machine.only("cpu", system, near=self.gpu)
        self._dram, self._hbm = (machine.memory(place).place for place in (self.cpu, self.gpu))
        require_tables(job.model, machine, self.cpu)
        self._require_room(slots, cost or SlotCost())
        self._stored = tuple(self._store(group, slots) for group in groups_of(job))

    def _require_room(self, slots: int, cost: SlotCost) -> None:
        model = self.job.model
        row_wise = sum(
            model.rows_per_table[t] * _one(model, t).state_bytes
            for t in range(model.tables)
            if model.optimizer == "rowwise_adagrad"
        )
        widest = max(_one(model, table).row_bytes for table in range(model.tables))
        need = slots * (widest + cost.slot) + model.rows * cost.row + row_wise
        memory = self._machine.memory(self.gpu)
        require_room(
            f"{slots:,} cache slots of {widest} B with their tags, locations of {model.rows:,} "
            "rows and row-wise state",
            need,
            f"one {self._machine.devices[self.gpu].part.name}",
            memory.capacity,
            f"lower {self.job.cache_size.key}",
        )

    def _store(self, group: Group, slots: int) -> _Stored:
        model = group.job.model
        state = self._hbm if model.optimizer == "rowwise_adagrad" else self._dram
        tables = Store(
            group.named("tables"),
            self._dram,
            model.row_bytes,
            model.state_bytes,
            model.tables,
            bytes=sum(model.table_bytes),
            state_memory=state,
        )
        cache = replace(tables, name=group.named("cache"), memory=self._hbm, slotted=True, bytes=0)
        software, rows = self.job.software, model.rows
        backward = Backward(model, self._machine, software, self.gpu, tables, max(rows, slots))
        return _Stored(group, tables, cache, backward)

    def ids(self, facts: BatchFacts) -> tuple[Operation, ...]:
        """Ids and dense features to the GPU."""
        size = facts[LOOKUP].lookups * self.job.software.id_bytes + dense_bytes(self.job.model)
        return (move("ids_to_gpu", self._dram, self._hbm, size),)

    def find(self, facts: BatchFacts, ways: int) -> tuple[Operation, ...]:
        """Unique ids, and where they are in a set-associative cache."""
        return probed(self.job, self.gpu, facts, ways)

    def swap(self, facts: BatchFacts, share: float) -> tuple[tuple[Operation, ...], ...]:
        """Victims out and missed rows in, side by side, by one kernel on `share` of the GPU."""
        half = share / 2
        out: list[Operation] = []
        into: list[Operation] = []
        for kept in self._stored:
            own, name = kept.group.of(facts), kept.group.named
            pair = (kept.cache, kept.tables)
            out.append(ZeroCopy(name("victims_out"), self.gpu, *pair, own[VICTIM], half))
            into.append(ZeroCopy(name("missed_in"), self.gpu, *pair[::-1], own[FETCHED], half))
        return tuple(out), tuple(into)

    def pooled(self, facts: BatchFacts) -> tuple[Pool, ...]:
        """The forward where there is no cache: every lookup over the link."""
        return tuple(
            self._pool(kept, kept.tables, kept.group.of(facts), LOOKUP) for kept in self._stored
        )

    def pooled_by_cache(self, facts: BatchFacts) -> tuple[Pool, ...]:
        """The forward: lookups out of the cache, those without a slot over the link."""
        words = []
        for kept in self._stored:
            own = kept.group.of(facts)
            word = self._pool(kept, kept.cache, own, CACHED_LOOKUP)
            beyond = Elsewhere(kept.tables, own[BYPASS_LOOKUP])
            words.append(replace(word, elsewhere=beyond))
        return tuple(words)

    def _pool(self, kept: _Stored, store: Store, own: BatchFacts, name: str) -> Pool:
        model = kept.group.job.model
        return pooled_vectors(model, self._machine, self.gpu, store, own[name])

    def mlp(self) -> Operation:
        """Forward and backward of the MLPs."""
        return mlp_step(self.job.model, self.gpu)

    def trained(self, facts: BatchFacts) -> tuple[Operation, ...]:
        """The backward where there is no cache."""
        return tuple(
            word
            for kept in self._stored
            for word in kept.backward.operations(kept.group.of(facts)[UNIQUE])
        )

    def trained_by_cache(self, facts: BatchFacts) -> tuple[Operation, ...]:
        """The backward: rows are updated in the cache, those without a slot over the link."""
        return tuple(word for kept in self._stored for word in self._split_update(kept, facts))

    def _split_update(self, kept: _Stored, facts: BatchFacts) -> Iterator[Operation]:
        own = kept.group.of(facts)
        for word in kept.backward.operations(own[UNIQUE]):
            if isinstance(word, Update):
                beyond = Elsewhere(kept.tables, own[BYPASS_UPDATE])
                word = replace(word, writes=kept.cache, rows=own[CACHED_UPDATE], elsewhere=beyond)
            yield word


def _one(model: ModelConfig, table: int) -> ModelConfig:
    """The model of one table."""
    return model.of_tables((table,))


def probed(job: Job, gpu: str, facts: BatchFacts, ways: int) -> tuple[Operation, ...]:
    """Unique ids of a mini-batch, and where they are in a set-associative cache of `gpu`."""
    model, largest = job.model, max(job.model.rows_per_table)
    unique = Sort("unique", gpu, facts[LOOKUP], model.tables, largest, model.rows)
    return unique, Probe("probe", gpu, facts[UNIQUE].rows, facts[MISS].rows, ways)


def sets_for(job: Job, system: str, ways: int) -> int:
    """Sets of `ways` slots that hold the cache that a job asks for in one pool, rounded up.

    Raises `ConfigError` where it is less than one set.
    """
    size, rows = job.cache_size, [job.model.rows]
    (slots,) = size.slots(rows)
    if slots < ways:
        raise ConfigError(
            f"{system}: {size} gives {slots:,} slots, less than one set of {ways} ways: set "
            f"{size.holding([ways], rows)}, or ways to at most {slots:,}"
        )
    return -(-slots // ways)
