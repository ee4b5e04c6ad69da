"""Tables below the GPU whose rows the CPU stages for a cache in HBM, in steps that a system puts
into stages of its own: gather, put in, take out, write back, and rows on demand.

One GPU. Rows that have no slot lie in bypass rows in HBM while their mini-batch trains.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from simulator.caches.facts import LOOKUP, UNIQUE, BatchFacts, Flow
from simulator.caches.replays.associative import BYPASS_LOOKUP
from simulator.hardware.program import (
    GRADIENT_BYTES,
    Accumulate,
    Buffer,
    Elsewhere,
    Gather,
    KeyValue,
    Move,
    Operation,
    Pool,
    Scatter,
    Store,
    Update,
    ZeroCopy,
)
from simulator.hardware.topology import Topology
from simulator.systems.base import Job, move
from simulator.systems.groups import Group, cache_groups, groups_of, table_groups
from simulator.systems.mlp import dense_bytes, mlp_step
from simulator.systems.operators import Backward, pooled_vectors, update_by_sums

__all__ = ["Below", "StagedTables"]


_LEAVING = {False: ("victim_rows", "gather_victims"), True: ("bypass_rows", "gather_bypass")}
"""Of rows that leave the cache, and of bypass rows: the buffer, and the word that gathers them."""


@dataclass(frozen=True)
class _Stored:
    """Tables of one dim, their cache, the bypass rows, and their backward."""

    group: Group
    tables: Store
    cache: Store
    bypass: Store
    backward: Backward

    def buffer(self, name: str, memory: str, rows: int) -> Buffer:
        """`rows` rows of it staged in a memory."""
        return Buffer(self.group.named(name), memory, rows * self.group.job.entry_bytes)


@dataclass(frozen=True)
class Below:
    """Where tables lie: the memory of a place, and what the CPU reaches rows there through."""

    place: str
    keyed: KeyValue | None = None


class StagedTables:
    """The tables of a job in DRAM, or where they lie `below`, and a cache of `slots` rows of them
    in HBM: of each table, or a number for all, of which groups of tables have a share.

    Raises `CapacityError` where they do not fit.
    """

    def __init__(
        self,
        job: Job,
        machine: Topology,
        system: str,
        slots: int | Sequence[int],
        *,
        below: Below | None = None,
    ) -> None:
        self._job, self._machine = job, machine
        self.gpu = machine.first("gpu", system)
        self.cpu = machine.only("cpu", system, near=self.gpu)
        self._dram, self._hbm = (machine.memory(place).place for place in (self.cpu, self.gpu))
        groups = groups_of(job)
        where = below or Below(self.cpu)
        tables = table_groups(groups, job, machine, where.place)
        if where.keyed is not None:
            tables = tuple(replace(table, keyed=where.keyed, bytes=0) for table in tables)
        if isinstance(slots, int):
            counts = [slots * len(g.tables) // job.model.tables for g in groups]
        else:
            counts = [sum(slots[table] for table in g.tables) for g in groups]
        caches = cache_groups(groups, machine, self.gpu, counts)
        self._stored = tuple(
            _Stored(
                group,
                table,
                cache,
                replace(table, name=group.named("bypass"), memory=self._hbm, bytes=0, keyed=None),
                Backward(group.job.model, machine, job.software, self.gpu, cache, max(1, count)),
            )
            for group, table, cache, count in zip(groups, tables, caches, counts, strict=True)
        )

    def ids(self, facts: BatchFacts) -> tuple[Operation, ...]:
        """Ids and dense features to the GPU."""
        size = facts[LOOKUP].lookups * self._job.software.id_bytes + dense_bytes(self._job.model)
        return (move("ids_to_gpu", self._dram, self._hbm, size),)

    def gathered(self, facts: BatchFacts, name: str, buffer: str) -> Iterator[Gather]:
        """The CPU gathers the rows of a flow into a staging buffer."""
        for kept in self._stored:
            rows = kept.group.of(facts)[name]
            into = kept.buffer(buffer, self._dram, rows.rows)
            yield Gather(f"gather_{buffer}", self.cpu, kept.tables, rows, into)

    def put_in(
        self, facts: BatchFacts, name: str, buffer: str, *, bypass: bool = False
    ) -> Iterator[Operation]:
        """Gathered rows cross the link and go into their slots, or into the bypass rows."""
        for kept in self._stored:
            rows = kept.group.of(facts)[name]
            below, above = (kept.buffer(buffer, m, rows.rows) for m in (self._dram, self._hbm))
            yield Move(buffer, self._dram, below, self._hbm)
            into = kept.bypass if bypass else kept.cache
            yield Scatter(f"scatter_{buffer}", self.gpu, above, into, rows)

    def taken_out(
        self, facts: BatchFacts, name: str, *, bypass: bool = False
    ) -> Iterator[Operation]:
        """Rows leave their slots, or the bypass rows, and cross the link."""
        for kept in self._stored:
            rows = kept.group.of(facts)[name]
            buffer, word = _LEAVING[bypass]
            above = kept.buffer(buffer, self._hbm, rows.rows)
            yield Gather(word, self.gpu, kept.bypass if bypass else kept.cache, rows, above)
            yield Move(buffer, self._hbm, above, self._dram)

    def written_back(
        self, facts: BatchFacts, name: str, *, bypass: bool = False
    ) -> tuple[Operation, ...]:
        """The CPU writes rows that were taken out into their tables; nothing where none were."""
        words = []
        for kept in self._stored:
            rows = kept.group.of(facts)[name]
            below = kept.buffer(_LEAVING[bypass][0], self._dram, rows.rows)
            if facts[name].rows:
                words.append(Scatter("row_scatter", self.cpu, below, kept.tables, rows))
        return tuple(words)

    def on_demand(self, facts: BatchFacts) -> Iterator[Operation]:
        """Rows without a slot, gathered for each lookup, into the bypass rows."""
        for kept in self._stored:
            looked_up = kept.group.of(facts)[BYPASS_LOOKUP]
            each = Flow(looked_up.lookups, looked_up.lookups, looked_up.ids)
            name = "rows_on_demand"
            below, above = (kept.buffer(name, m, each.rows) for m in (self._dram, self._hbm))
            if facts[BYPASS_LOOKUP].lookups:
                yield Gather("gather_on_demand", self.cpu, kept.tables, each, below)
                yield Move(name, self._dram, below, self._hbm)
                yield Scatter("scatter_on_demand", self.gpu, above, kept.bypass, each)

    def zero_copied(
        self, facts: BatchFacts, name: str, at: str, *, back: bool = False
    ) -> Iterator[ZeroCopy]:
        """A processor moves rows of a flow into the bypass rows; `back`: to the tables."""
        for kept in self._stored:
            word = kept.group.named("rows_back" if back else "rows_in")
            pair = (kept.bypass, kept.tables) if back else (kept.tables, kept.bypass)
            yield ZeroCopy(word, at, *pair, kept.group.of(facts)[name])

    def pooled(self, facts: BatchFacts, cached: str, bypass: str = "") -> Iterator[Pool]:
        """The forward: lookups out of the cache, and out of the bypass rows."""
        for kept in self._stored:
            own, model = kept.group.of(facts), kept.group.job.model
            pool = pooled_vectors(model, self._machine, self.gpu, kept.cache, own[cached])
            more = Elsewhere(kept.bypass, own[bypass]) if bypass else None
            yield replace(pool, elsewhere=more)

    def mlp(self) -> Operation:
        """Forward and backward of the MLPs."""
        return mlp_step(self._job.model, self.gpu)

    def trained(self, facts: BatchFacts, cached: str, bypass: str = "") -> Iterator[Operation]:
        """The backward: rows are updated in the cache, and in the bypass rows."""
        for kept in self._stored:
            own = kept.group.of(facts)
            for word in kept.backward.operations(own[UNIQUE]):
                if isinstance(word, Update):
                    more = Elsewhere(kept.bypass, own[bypass]) if bypass else None
                    word = replace(word, rows=own[cached], elsewhere=more)
                yield word

    def copied(self, facts: BatchFacts, source: str, target: str) -> Iterator[Operation]:
        """Rows go from the slots of one flow to those of another, in HBM."""
        for kept in self._stored:
            own = kept.group.of(facts)
            staged = kept.buffer("copied_rows", self._hbm, own[source].rows)
            yield Gather("gather_copied", self.gpu, kept.cache, own[source], staged)
            yield Scatter("scatter_copied", self.gpu, staged, kept.cache, own[target])

    def summed(self, facts: BatchFacts) -> Iterator[Operation]:
        """The backward by way of a gradient a row, which is left in HBM."""
        for kept in self._stored:
            rows, backward = kept.group.of(facts)[UNIQUE], kept.backward
            for word in backward.operations(rows):
                if not isinstance(word, Update):
                    yield word
                    continue
                size, tables = word.gradient_bytes, kept.cache.tables
                yield Accumulate(
                    "sum_gradients", self.gpu, word.source, rows, size, word.expanded, tables
                )
                yield update_by_sums(word, rows, self._gradients(kept, self._hbm, rows))

    def gradients_back(self, facts: BatchFacts) -> Iterator[Operation]:
        """A gradient a row crosses the link."""
        for kept in self._stored:
            sums = self._gradients(kept, self._hbm, kept.group.of(facts)[UNIQUE])
            yield Move("row_gradients", self._hbm, sums, self._dram)

    def applied(self, facts: BatchFacts) -> Iterator[Operation]:
        """The CPU updates its tables with a gradient a row."""
        for kept in self._stored:
            rows, own = kept.group.of(facts)[UNIQUE], kept.group.job
            passes = Backward(own.model, self._machine, own.software, self.cpu, kept.tables, 1)
            *_, word = passes.operations(rows)
            if isinstance(word, Update):
                yield update_by_sums(word, rows, self._gradients(kept, self._dram, rows))

    def _gradients(self, kept: _Stored, memory: str, rows: Flow) -> Buffer:
        """The summed gradients of rows, in a memory."""
        size = rows.rows * kept.group.job.model.width * GRADIENT_BYTES
        return Buffer(kept.group.named("row_gradients"), memory, size)
