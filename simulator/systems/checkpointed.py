"""Any system whose state is written to a durable memory beside training: an undo log, or snapshots.

A stage before those of the system writes bytes in the background (`Record`): it begins when the
mini-batch before has updated its rows, and updates of this one wait for it where it is late.

- `undo_log`: the values that rows have before the mini-batch updates them, read where they are
  updated;
- `snapshot`: rows that changed in the period before (or all rows), and the MLPs, in as many equal
  pieces as the period has mini-batches.

Approximated: rows of a snapshot are read where the mini-batch updates its own, place by place in
the same shares; ranks that are equal write equal parts of the MLPs. Ignored: what keeps the values
of a snapshot while training goes on, and the marks that say that a piece is whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from simulator.caches.facts import BatchFacts, Flow
from simulator.config.checkpoint import CheckpointConfig
from simulator.errors import ConfigError
from simulator.hardware.program import Buffer, Dense, Operation, Record, Stage, Store, Update
from simulator.hardware.records import durable_memory, on_host
from simulator.hardware.topology import Topology
from simulator.systems.base import Job, System, require_room
from simulator.systems.mlp import mlp_weight_bytes
from simulator.systems.schedule import StageSpec
from simulator.systems.wrapped import Wrapped
from simulator.traces.changed import ChangedRows

__all__ = ["CHECKPOINT", "Checkpointed"]

CHECKPOINT = StageSpec("checkpoint", "move")


@dataclass(frozen=True, slots=True)
class _Updated:
    """Rows that an operation updates in one memory."""

    at: str
    memory: str
    entry_bytes: int
    rows: int


class Checkpointed(Wrapped):
    """A system that is check-pointed as `checkpoint` says.

    Raises `ConfigError` where it updates no rows, has a stage of that name, or has its tables where
    a log does not help; `CapacityError` where what is written has no room.
    """

    def __init__(
        self, system: System, checkpoint: CheckpointConfig, job: Job, machine: Topology
    ) -> None:
        super().__init__(system, CHECKPOINT, "checkpoint")
        self._asked, self._model, self._machine = checkpoint, job.model, machine
        trace = job.trace
        self._changed = None if trace is None else ChangedRows(trace, checkpoint.every)
        schedule = system.schedule
        self._program = self._shown()
        updates = [stage.name for stage in self._program if any(map(_updates, stage.operations))]
        if not updates:
            raise ConfigError("checkpoint: it updates no rows that could be written")
        self._require_tables_on_host()
        self._require_room()
        stages = (CHECKPOINT, *schedule.stages)
        self.schedule = replace(schedule, stages=stages, logged=updates[-1])

    @property
    def checkpoint(self) -> CheckpointConfig:
        return self._asked

    def records(self, facts: BatchFacts, program: Sequence[Stage]) -> Stage:
        """What is written for a mini-batch whose own stages are `program`."""
        lanes = tuple((record,) for record in self._records(facts, program) if record.bytes)
        return Stage(CHECKPOINT.name, lanes)

    def stages(self, facts: BatchFacts) -> tuple[Stage, ...]:
        program = self.system.stages(facts)
        held = (
            replace(stage, lanes=tuple(tuple(map(_held, lane)) for lane in stage.lanes))
            for stage in program
        )
        return (self.records(facts, program), *held)

    # what is refused

    def _shown(self) -> tuple[Stage, ...]:
        """A mini-batch that does all that the system can do."""
        flows = {name for kind in self.system.kinds for name in kind}
        return self.system.stages(BatchFacts.of_nothing(self._model.batch_size, *flows))

    def _require_tables_on_host(self) -> None:
        stores = {
            store.memory: store
            for stage in self._program
            for word in stage.operations
            for store in _stores(word)
            if not store.slotted
        }
        if self._asked.kind == "undo_log" and not any(on_host(self._machine, m) for m in stores):
            raise ConfigError(
                f"checkpoint.kind is undo_log, but the tables live in {', '.join(sorted(stores))} "
                "alone: after a failure nothing is left that a log could undo; set checkpoint.kind:"
                " snapshot"
            )

    def _require_room(self) -> None:
        near = next(iter(self._machine.all("cpu")), "")
        memory = durable_memory(self._machine, self._asked.to, near)
        need = sum(self._model.table_bytes) + mlp_weight_bytes(self._model)
        if self._asked.kind == "snapshot":
            advice = "write to a larger one, or use a smaller model"
            require_room(
                "Tables and MLPs of a snapshot", need, memory.place, memory.capacity, advice
            )

    # what is written

    def _records(self, facts: BatchFacts, program: Sequence[Stage]) -> Iterator[Record]:
        words = [word for stage in program for word in stage.operations]
        updated = [part for word in words if isinstance(word, Update) for part in _parts(word)]
        if self._asked.kind == "undo_log":
            for part in updated:
                yield self._record(part.memory, part.rows * self._for_all(part), part.entry_bytes)
        elif self._asked.whole:
            for size, rows in self._by_size(self._model.rows_per_table).items():
                yield from self._shared(size, self._piece(rows, facts.index), updated, walked=True)
        else:
            assert self._changed is not None, "of a run, whose trace is open"
            period = facts.index // self._asked.every - 1
            for size, rows in self._by_size(self._changed.in_period(period)).items():
                yield from self._shared(size, self._piece(rows, facts.index), updated)
        yield from self._mlps(facts.index, words)

    def _by_size(self, rows: Sequence[int]) -> dict[int, int]:
        """Rows by their bytes, of counts by table."""
        found: dict[int, int] = {}
        for size, count in zip(self._model.entry_bytes, rows, strict=True):
            found[size] = found.get(size, 0) + count
        return found

    def _piece(self, count: int, batch: int) -> int:
        """What of `count` a mini-batch writes, so that a period writes all of it."""
        every = self._asked.every
        number = batch % every
        return (number + 1) * count // every - number * count // every

    def _shared(
        self, size: int, rows: int, updated: Sequence[_Updated], *, walked: bool = False
    ) -> Iterator[Record]:
        """`rows` of `size` bytes read where those of that size are updated, in the same shares."""
        alike = [part for part in updated if part.entry_bytes == size] or list(updated)
        weights = [part.rows * self._ranks(part.at) for part in alike]
        if not any(weights):
            weights = [1] * len(alike)
        given, total = 0, sum(weights)
        for number, part in enumerate(alike, 1):
            upto = rows * sum(weights[:number]) // total
            own, given = upto - given, upto
            yield self._record(part.memory, -(-own // self._own_ranks(part)), size, walked=walked)

    def _mlps(self, batch: int, words: Sequence[Operation]) -> Iterator[Record]:
        dense = next((word for word in words if isinstance(word, Dense)), None)
        if dense is not None:
            piece = self._piece(mlp_weight_bytes(self._model), batch)
            memory = self._machine.memory(dense.at).place
            yield self._record(memory, -(-piece // self._ranks(dense.at)), 1, walked=True)

    def _record(self, memory: str, rows: int, size: int, *, walked: bool = False) -> Record:
        """`rows` of `size` bytes to the drive of their host; `walked`: read in order."""
        device = self._machine.memory(memory).device
        target = durable_memory(self._machine, self._asked.to, device).place
        what = Buffer(CHECKPOINT.name, memory, rows * size)
        return Record(CHECKPOINT.name, memory, what, target, pieces=0 if walked else rows)

    # equal ranks, of which the program has the first

    def _ranks(self, processor: str) -> int:
        """Processors that one of the program stands for."""
        return next((len(g) for g in self.equal_ranks if processor in g), 1)

    def _own_ranks(self, part: _Updated) -> int:
        """The same, where what it reads in its own memory is read in that of each."""
        own = self._machine.memory(part.memory).device == part.at
        return self._ranks(part.at) if own else 1

    def _for_all(self, part: _Updated) -> int:
        """Times that an update of a memory beside the ranks is done."""
        return self._ranks(part.at) // self._own_ranks(part)


def _updates(word: Operation) -> bool:
    return isinstance(word, Update)


def _held(word: Operation) -> Operation:
    """An update waits for what must be durable before it."""
    return replace(word, durable=True) if isinstance(word, Update) else word


def _parts(word: Update) -> Iterator[_Updated]:
    """What an update changes, memory by memory."""
    yield from _in_store(word.at, word.writes, word.rows)
    if word.elsewhere is not None:
        yield from _in_store(word.at, word.elsewhere.store, word.elsewhere.rows)


def _in_store(at: str, store: Store, rows: Flow) -> Iterator[_Updated]:
    size = store.row_bytes + store.state_bytes
    if store.tiers:
        for memory, count in zip(store.tiers, rows.tiers or (0,) * len(store.tiers), strict=True):
            yield _Updated(at, memory, size, count)
    else:
        yield _Updated(at, store.memory, size, rows.rows)


def _stores(word: Operation) -> Iterator[Store]:
    """The stores that an operation touches."""
    for name in ("reads", "writes"):
        store = getattr(word, name, None)
        if isinstance(store, Store):
            yield store
    elsewhere = getattr(word, "elsewhere", None)
    if elsewhere is not None:
        yield elsewhere.store
