"""What a system is: what it replays, how its stages follow each other, and its program.

A system is a class that is made of a `Job` and a `Topology`. It says which replay it needs, which
schedule it keeps, and turns the facts of a mini-batch into stages of operations. It never says how
long anything takes, and never asks how many links or memories there are beyond those it names.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any, ClassVar, Literal, TypeVar

from simulator.caches import Window
from simulator.caches.facts import BatchFacts
from simulator.caches.replays import Kept, PlannedReplay, Replay, slots_for
from simulator.caches.size import CacheSize
from simulator.config.checkpoint import CheckpointConfig
from simulator.config.model import ModelConfig
from simulator.config.operators import OperatorProfile
from simulator.config.parameters import Parameters
from simulator.config.sections import CacheConfig, PipelineConfig
from simulator.config.tables import TablesConfig
from simulator.errors import CapacityError, ConfigError
from simulator.hardware.program import Buffer, Move, Stage, Store, Wait
from simulator.hardware.topology import Topology
from simulator.systems.schedule import Schedule
from simulator.text import counted
from simulator.traces import Bags, Trace
from simulator.traces.cuts import Parts
from simulator.units import format_bytes

__all__ = ["Consistency", "Job", "System", "SystemGroup", "WindowNeed", "require_room"]

WindowNeed = Callable[[Window, str, int, Parts], Sequence[int]]
"""(window, scope, depth of the pipeline, parts of tables) -> slots of each pool that hold the
window."""

P = TypeVar("P", bound=Parameters)


@dataclass(frozen=True)
class Job:
    """What is trained, with what software and what cache."""

    model: ModelConfig
    software: OperatorProfile
    cache: CacheConfig = field(default_factory=CacheConfig)
    pipeline: PipelineConfig = field(default_factory=PipelineConfig)
    gpus: int | None = None
    """GPUs to use; None: as the system does."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """Those of the system, as in YAML; its defaults for what is not there."""
    seed: int = 0
    batches: int | None = None
    """Of the run, up to the last timed one; None where there is no run."""
    held_misses: bool = False
    check: bool = False
    """Run the dear checks of the replay too."""
    keep: Kept = ()
    """Mini-batches whose row numbers a replay must keep."""
    lookups_alone: bool = False
    """Of those the rows that are looked up are enough: nobody asks which rows move."""
    window_need: WindowNeed | None = None
    """None while the trace is not open: caches are taken to be large enough."""
    bags: Bags | None = None
    """Those of the trace; None where all are as long as the model says, or while it is not open."""
    trace: Trace | None = field(default=None, repr=False, compare=False)
    """What will be replayed, for placements that go by its rows; None while it is not open."""
    parts: Parts = ()
    """What the model's tables are parts of; none: tables as they are."""
    tables: TablesConfig = field(default_factory=TablesConfig)
    """Tiers that tables on the host lie in."""

    def of_tables(self, tables: Sequence[int]) -> Job:
        """The job with some of its tables alone."""
        parts = tuple(self.parts[t] for t in tables) if self.parts else ()
        return replace(self, model=self.model.of_tables(tables), parts=parts)

    def parameters_as(self, model: type[P]) -> P:
        """The parameters of a system whose model of them is `model`."""
        return model(**self.parameters)

    @property
    def most_lookups(self) -> tuple[int, ...]:
        """Lookups of a mini-batch in each table, at most."""
        if self.bags is not None:
            return self.bags.most
        return tuple(self.model.batch_size * count for count in self.model.table_lookups)

    @property
    def entry_bytes(self) -> int:
        """A row with its optimizer state, of tables of one dim."""
        return self.model.row_bytes + self.model.state_bytes

    @property
    def cache_size(self) -> CacheSize:
        """How large the cache is asked to be; bytes are divided by those of a mean row, for pools
        get rows in proportion to their tables'. Of parts by columns each holds all rows asked
        for."""
        cache, model, rows = self.cache, self.model, self.cache.rows
        mean = -(-sum(model.table_bytes) // model.rows)
        if rows is not None and self.parts:
            pieces = [part.parts if part.cut == "column" else 1 for part in self.parts]
            whole = sum(map(Fraction, model.rows_per_table, pieces))
            rows = int(rows * model.rows / whole)
        return CacheSize(cache.fraction, rows, cache.bytes, mean)


SystemGroup = Literal["study", "baseline", "rival", "other"]
"""Systems of the ScratchPipe study, what they are measured against, works around them, and those of
other packages."""


@dataclass(frozen=True, slots=True)
class Consistency:
    """What a system's training comes to, beside training one mini-batch at a time.

    `equal`: the same tables, bit for bit; `reordered`: the same up to the order of samples or sums;
    `stale`: some rows are read without their last updates. `scratchpipe hazards` executes it.
    """

    result: Literal["equal", "reordered", "stale"]
    rule: str
    """What keeps rows right, or what makes them stale and by how much."""
    sums: str = ""
    """Which floating-point sums of rows and of their gradients are in another order than one
    processor has; empty: none. (On several GPUs gradients of the MLPs always are.)"""


class System(ABC):
    """One training iteration on a machine."""

    group: ClassVar[SystemGroup] = "other"
    source: ClassVar[str] = ""
    """Paper or code that it comes from."""
    consistency: ClassVar[Consistency | None] = None
    """None: not said."""
    unknown: ClassVar[tuple[str, ...]] = ()
    """What its source leaves open, a sentence each."""
    parameters: ClassVar[type[Parameters]] = Parameters
    """Keys of its entry in `systems` that it declares itself."""
    no_inference: ClassVar[str] = ""
    """Why it answers no queries (`run.mode: inference`); empty: it does."""
    no_training: ClassVar[str] = ""
    """Why it trains nothing and answers queries alone; empty: it trains."""
    training_is_ours: ClassVar[bool] = False
    """Whether its source is about inference alone, so that how it trains is an extension of ours:
    results of mini-batches that train say so."""
    for_gradients: ClassVar[tuple[str, ...]] = ()
    """Operations by name that stand before the MLPs but serve the backward alone: queries have none
    of them."""
    uses: ClassVar[frozenset[str] | None] = None
    """Keys of an entry of `systems` that it uses (`gpus`, `cache`, `cache.fraction`, `pipeline`,
    `tables`); others are refused. None: not said, everything is allowed."""
    refused: ClassVar[Mapping[str, str]] = {}
    """Why it does not use some of the others, by key; a message says so."""
    shown_on: ClassVar[str] = "v100_p3"
    """Machine of the catalogue that `explain` and `hazards` take where none is named: one with all
    that it needs."""
    kinds: ClassVar[tuple[tuple[str, ...], ...]] = ((),)
    """Kinds of mini-batches that differ in what they do: for each the flows that must have rows for
    it to be done. `explain` shows the operations of all of them."""

    replay: Replay
    schedule: Schedule

    @abstractmethod
    def __init__(self, job: Job, machine: Topology) -> None:
        """Raises `CapacityError` where the model does not fit the machine, `ConfigError` where the
        machine lacks what the system needs."""

    @abstractmethod
    def stages(self, facts: BatchFacts) -> tuple[Stage, ...]:
        """The stages of one mini-batch in order, named as in `schedule`."""

    @property
    def checkpoint(self) -> CheckpointConfig | None:
        """What it writes beside training that survives a failure, where nobody asks for anything
        (`checkpointed`); None: nothing."""
        return None

    @property
    def unobserved(self) -> str:
        """Why `observe` does not train it where its program without lookups does not tell; empty:
        it does, if it has a rule for every word."""
        return ""

    @property
    def placed(self) -> tuple[tuple[int, ...], ...]:
        """Tables of the process of each GPU, by number: those whose lookups its program has.
        Empty: one process does all."""
        return ()

    def rank_stages(self, facts: BatchFacts, rank: int) -> tuple[Stage, ...]:
        """The part of `stages` that the process of one GPU does: its own lanes, and those of the
        CPU that serve it. `facts`: of its tables (`placed`) alone."""
        del rank
        return self.stages(facts)

    @property
    def equal_ranks(self) -> tuple[tuple[str, ...], ...]:
        """Groups of processors that do the same at the same time; the program has the first of
        each in place of all. Those in no group do what the program says, no more."""
        return ()

    @property
    def gpus(self) -> int:
        """GPUs that it uses."""
        return max(1, sum(map(len, self.equal_ranks)))


def require_room(what: str, need: int, place: str, have: int, advice: str) -> None:
    """Raise `CapacityError` with the arithmetic where `need` bytes do not fit into `have`."""
    if need > have:
        raise CapacityError(
            f"{what} need {format_bytes(need)} but {place} holds {format_bytes(have)}: {advice}"
        )


def require_look_ahead(job: Job, system: str, key: str, batches: int) -> None:
    """Raise `ConfigError` where a run has fewer mini-batches than a system knows ahead (`key`)."""
    if job.batches is not None and batches > job.batches:
        has = counted(job.batches, "mini-batch", "mini-batches")
        raise ConfigError(
            f"{key} of {system} is {batches:,}, but the run has {has} "
            f"(run.warmup_batches + run.batches): lower {key}, or raise run.batches"
        )


def require_tables(model: ModelConfig, machine: Topology, place: str) -> None:
    """Raise `CapacityError` where the tables of `model` do not fit into the memory of `place`."""
    memory = machine.memory(place)
    require_room(
        f"{model.tables} tables with {model.rows:,} rows of {entry_sizes(model)}",
        sum(model.table_bytes),
        f"{memory.place} of {machine.name}",
        memory.capacity,
        "use a smaller model or a platform with more memory",
    )


def entry_sizes(model: ModelConfig) -> str:
    """Bytes of a row with its optimizer state, for messages: "512 B", or "32 to 512 B"."""
    return _bytes_of(model.entry_bytes)


def _bytes_of(sizes: Sequence[int]) -> str:
    least, most = min(sizes), max(sizes)
    return f"{least} B" if least == most else f"{least} to {most} B"


def tables_in(
    job: Job,
    machine: Topology,
    place: str,
    chosen: Sequence[int] | None = None,
    name: str = "tables",
) -> Store:
    """All tables, or the `chosen` ones, in the memory of `place`.

    Raises `CapacityError` where they do not fit, `ConfigError` where their dims differ.
    """
    model = job.model if chosen is None else job.model.of_tables(chosen)
    require_tables(model, machine, place)
    return table_store(model, machine, place, name)


def table_store(model: ModelConfig, machine: Topology, place: str, name: str) -> Store:
    """The tables of a model in the memory of `place`, whether they fit there or not.

    Raises `ConfigError` where their dims differ.
    """
    return Store(
        name,
        machine.memory(place).place,
        model.row_bytes,
        model.state_bytes,
        model.tables,
        bytes=sum(model.table_bytes),
    )


def require_slots(
    slots: Sequence[int],
    entries: Sequence[int],
    machine: Topology,
    place: str,
    key: str,
    whose: str = "",
) -> None:
    """Raise `CapacityError` where caches of `slots` rows of `entries` bytes do not fit together
    into the memory of `place`; `key`: what gives their size; `whose`: what the message says of
    their tables."""
    memory = machine.memory(place)
    require_room(
        f"{sum(slots):,} cache slots of {_bytes_of(entries)}{whose}",
        sum(count * entry for count, entry in zip(slots, entries, strict=True)),
        f"one {machine.devices[memory.device].part.name}",
        memory.capacity,
        f"lower {key}",
    )


def cache_in(job: Job, machine: Topology, place: str, slots: int, name: str = "cache") -> Store:
    """A cache of `slots` rows in the memory of `place`.

    Raises `CapacityError` where it does not fit, `ConfigError` where dims differ.
    """
    model = job.model
    require_slots([slots], [job.entry_bytes], machine, place, job.cache_size.key)
    return Store(
        name,
        machine.memory(place).place,
        model.row_bytes,
        model.state_bytes,
        model.tables,
        slotted=True,
    )


def hold_window(job: Job, schedule: Schedule) -> Window:
    """The hold window of a schedule; where stages overlap, each side may be overridden."""
    window, pipeline = schedule.window, job.pipeline
    if not schedule.overlaps:
        return window
    past, future = pipeline.window_past, pipeline.window_future
    return Window(
        window.past if past is None else past, window.future if future is None else future
    )


def planned_replay(job: Job, schedule: Schedule) -> PlannedReplay:
    """The scratchpad that `cache` asks for, with the window that the schedule needs.

    Raises `CapacityError` where the window does not fit and the cache may not grow.
    """
    cache, model = job.cache, job.model
    if cache.scope == "global" and len(model.tables_by_dim) > 1:
        raise ConfigError(
            f"cache.scope is global, but rows have {entry_sizes(model)}: slots of one pool are of "
            "one size; set cache.scope: table"
        )
    window = hold_window(job, schedule)
    need = job.window_need
    slots, grown = slots_for(
        model.rows_per_table,
        job.cache_size,
        cache.scope,
        window,
        job.most_lookups,
        need=None if need is None else lambda: need(window, cache.scope, schedule.depth, job.parts),
        grow=cache.if_too_small == "grow",
    )
    return PlannedReplay(
        slots,
        cache.policy,
        cache.scope,
        window,
        cache.prefill,
        job.held_misses,
        job.seed,
        grown,
        job.check,
        job.keep,
        cache.profile_share,
        job.parts,
        lookups_alone=job.lookups_alone,
    )


def move(name: str, source: str, target: str, size: int) -> Move:
    """`size` bytes from one memory to another."""
    return Move(name, source, Buffer(name, source, size), target)


def synchronize(processor: str) -> Wait:
    """The host notices that `processor` is done."""
    return Wait("synchronize", processor)
