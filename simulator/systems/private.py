"""Private training of tables: what DP-SGD in its three forms, EANA and LazyDP share (Lim et al.,
LazyDP, ASPLOS 2024).

A step of DP-SGD (Abadi et al., CCS 2016) clips the gradient of each sample to a norm of at most C,
sums them, adds Gaussian noise of deviation sigma C to every weight, and updates: of tables that is
every row, whether it was looked up or not. A system here takes the program of another one and makes
it private. The MLPs' step becomes one with clipping (`clipping`), and noise on their weights; noise
on tables is the variant's own (`in_tables`, `in_scratchpad`).

- base `hybrid`, as LazyDP's code has it: noise is drawn and added by the CPU, behind the other
  passes. The first backward sends the gradients of pooled vectors to the CPU too, for it goes
  through the tables. On several GPUs each clips its samples; before the MLPs' gradients are
  all-reduced each draws noise of its share, so that the sum has that of one.
- base `scratchpipe`, ours: rows train on the GPU, and so noise on rows of the scratchpad is drawn
  there, without a way to memory of its own. Rows on their way between DRAM and scratchpad miss the
  noise of the mini-batches meanwhile: dense noise keeps a history, as LazyDP does, so that they get
  it when they have arrived.

Approximated: the accountant of privacy takes no time; the order in which a table's passes follow
each other (the code takes tables one after the other) costs nothing. Left out: several GPUs on base
scratchpipe.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain
from typing import Annotated, ClassVar, Literal, NamedTuple

from pydantic import Field, model_validator

from simulator.caches.facts import BatchFacts, Flow
from simulator.config.parameters import Given, Parameters
from simulator.config.types import MisfitError
from simulator.errors import ConfigError
from simulator.hardware.noise import Draw, Sweep
from simulator.hardware.program import (
    Add,
    Buffer,
    Dense,
    Gather,
    Move,
    Operation,
    Sort,
    Stage,
    Store,
    Update,
)
from simulator.hardware.topology import Topology
from simulator.systems.base import Job, SystemGroup, require_room
from simulator.systems.clipping import Clipped, ghost, require_sgd
from simulator.systems.groups import Group, groups_of
from simulator.systems.hybrid import Hybrid
from simulator.systems.mlp import mlp_weight_bytes
from simulator.systems.operators import pooled_bytes
from simulator.systems.schedule import Serial
from simulator.systems.scratchpipe import ScratchPipe
from simulator.systems.wrapped import Derived

__all__ = ["Around", "PrivateParameters", "PrivateTraining", "Trained"]


class PrivateParameters(Parameters):
    """Of private training."""

    base: Annotated[
        Literal["hybrid", "scratchpipe"],
        Given("verified", "LazyDP's code trains as hybrid does; scratchpipe is ours"),
    ] = "hybrid"
    """System whose iteration is made private."""
    sigma: Annotated[
        float,
        Field(ge=0, le=1e6),
        Given("assumed", "LazyDP's scripts give epsilon 50 and delta 1e-5, not the multiplier"),
    ] = 1.0
    """Noise multiplier: noise has the deviation sigma x clip. 0 draws none; else its size takes no
    time."""
    clip: Annotated[
        Annotated[float, Field(gt=0, le=1e6)] | None, Given("verified", "LazyDP's scripts")
    ] = 0.4
    """Norm to which the gradient of a sample is clipped; null: not at all. Its size takes no time.
    """

    @model_validator(mode="after")
    def _noise_has_a_scale(self) -> PrivateParameters:
        if self.clip is None and self.sigma:
            raise MisfitError(
                "sigma",
                f"is {self.sigma:g} without clip: noise is sigma x clip; set clip, or sigma: 0",
            )
        return self

    def without_use(self) -> frozenset[str]:
        return frozenset({"cache", "pipeline"} if self.base == "hybrid" else ())


@dataclass(frozen=True)
class Trained:
    """What a mini-batch trains in the tables of one dim."""

    group: Group
    update: Update
    """The base's update of their rows: its store, its rows, whether gradients are expanded."""
    tables: Store
    """In DRAM; the update's store where there is no scratchpad."""
    slots: int
    """Of the scratchpad, for them."""
    facts: BatchFacts

    @property
    def every_row(self) -> Flow:
        """All rows of the tables."""
        return Flow(0, self.group.job.model.rows)

    def numbers(self, rows: int) -> Buffer:
        """Drawn numbers for so many rows, in DRAM."""
        size = rows * self.tables.row_bytes
        return Buffer(self.group.named("noise"), self.tables.memory, size)

    def gradients(self) -> Buffer:
        """Gradients of single samples: of each lookup where they are expanded, else pooled."""
        size = pooled_bytes(self.group.job.model)
        if self.update.expanded:
            size = self.update.rows.lookups * self.update.gradient_bytes
        return Buffer(self.group.named("gradients"), self.update.writes.memory, size)


class Around(NamedTuple):
    """Noise in the stage that trains out of the scratchpad."""

    before: tuple[Operation, ...] = ()
    """By the GPU, ahead of what pools rows."""
    after: tuple[Operation, ...] = ()
    """By the GPU, behind the updates."""
    beside: tuple[Operation, ...] = ()
    """By the CPU, in a lane of its own."""


class PrivateTraining(Derived):
    """Base: the program of another system with clipped gradients and noise."""

    group: ClassVar[SystemGroup] = "rival"
    name: ClassVar[str]
    """What messages call it."""
    parameters: ClassVar[type[Parameters]] = PrivateParameters
    uses: ClassVar[frozenset[str]] = frozenset({"cache", "pipeline", "gpus"})
    unknown: ClassVar[tuple[str, ...]] = (
        "What a Gaussian number takes a core (operators.noise), and whether the build that was "
        "measured draws into fresh memory.",
    )

    no_inference: ClassVar[str] = "noise goes into updates, and queries have none"
    keeps_samples: ClassVar[bool] = False
    """Whether gradients of single samples stay in memory, so that one backward is enough and those
    of tables are clipped where they lie."""
    table_stages: ClassVar[tuple[str, ...]]
    """Stages of noise on base hybrid, behind its own."""

    def __init__(self, job: Job, machine: Topology) -> None:
        require_sgd(job.model, self.name)
        self._own, self._job = job.parameters_as(PrivateParameters), job
        self._in_scratchpad = self._own.base == "scratchpipe"
        kind = ScratchPipe if self._in_scratchpad else Hybrid
        if self._in_scratchpad and (job.gpus or 1) > 1:
            raise ConfigError(
                f"{self.name} on base scratchpipe trains on one GPU, and gpus is {job.gpus}: noise "
                "on a row's copies in several scratchpads is not modelled; set base: hybrid, or "
                "gpus: 1"
            )
        super().__init__(kind(replace(job, parameters={}), machine))
        self.gpu = machine.first("gpu", self.name)
        self.cpu = machine.only("cpu", self.name)
        self.samples = -(-job.model.batch_size // self.gpus)
        """Of a mini-batch, on a GPU, at most."""
        self._machine, self._groups = machine, groups_of(job)
        self.schedule = self.system.schedule
        if not self._in_scratchpad:
            self.schedule = Serial.of(*self._names())
        for what, place, size in self.extra_bytes() if self._own.clip else ():
            self._require(what, place, size)

    def clipped(self, step: Dense, memory: str) -> Clipped:
        """The MLPs' step with clipping, `memory` that of the GPU."""
        return ghost(step, self._job.model, memory)

    @abstractmethod
    def in_tables(self, trained: Trained) -> Mapping[str, tuple[Operation, ...]]:
        """Noise on base hybrid: the words of each of `table_stages`."""

    @abstractmethod
    def in_scratchpad(self, trained: Trained) -> Around:
        """Noise on base scratchpipe."""

    def extra_bytes(self) -> Iterator[tuple[str, str, int]]:
        """What else must fit: what it is, the processor whose memory has it, bytes."""
        return iter(())

    def stages(self, facts: BatchFacts) -> tuple[Stage, ...]:
        base = self.system.stages(facts)
        return self._trained_in_gpu(base, facts) if self._in_scratchpad else self._on(base, facts)

    # on hybrid

    def _names(self) -> Iterator[str]:
        """Stages on hybrid: its own, with clipping ahead of the sort, then noise."""
        for name in self.system.schedule.names:
            if name == "sort" and self.keeps_samples and self._own.clip:
                yield "clip"
            yield name
        if self._own.sigma:
            yield from self.table_stages

    def _on(self, base: tuple[Stage, ...], facts: BatchFacts) -> tuple[Stage, ...]:
        stages = {stage.name: stage.lanes for stage in base}
        stages["mlp"] = tuple(
            tuple(chain.from_iterable(map(self._dense, lane))) for lane in stages["mlp"]
        )
        if self._own.clip and not self.keeps_samples:
            stages["gradients_to_cpu"] = tuple(map(_sent_for_norms, stages["gradients_to_cpu"]))
        trained = self._trained(base, facts)
        stages["clip"] = (tuple(self._clip(each, self.cpu) for each in trained),)
        noise: dict[str, tuple[Operation, ...]] = {}
        for words in map(self.in_tables, trained) if self._own.sigma else ():
            for name, own in words.items():
                noise[name] = (*noise.get(name, ()), *own)
        stages |= {name: (words,) if words else () for name, words in noise.items()}
        return tuple(Stage(name, stages[name]) for name in self.schedule.names)

    # on scratchpipe

    def _trained_in_gpu(self, base: tuple[Stage, ...], facts: BatchFacts) -> tuple[Stage, ...]:
        *before, train = base
        trained = self._trained(base, facts)
        noise = [self.in_scratchpad(each) for each in trained] if self._own.sigma else []
        clips = iter([self._clip(each, self.gpu) for each in trained])
        (lane,) = train.lanes
        words: list[Operation] = [word for own in noise for word in own.before]
        for word in lane[:-1]:
            if isinstance(word, Sort) and self.keeps_samples and self._own.clip:
                words.append(next(clips))
            words += self._dense(word)
        words += [word for own in noise for word in own.after]
        beside = tuple(word for own in noise for word in own.beside)
        lanes = ((*words, lane[-1]), *([beside] if beside else []))
        return (*before, Stage(train.name, lanes))

    # on both

    def _trained(self, base: tuple[Stage, ...], facts: BatchFacts) -> list[Trained]:
        words = [word for stage in base for word in stage.operations]
        updates = [word for word in words if isinstance(word, Update)]
        stores = [word.writes for word in updates]
        if self._in_scratchpad:
            stores = [w.reads for w in words if isinstance(w, Gather) and w.at == self.cpu]
        return [
            Trained(group, update, tables, self._slots(group), group.of(facts))
            for group, update, tables in zip(self._groups, updates, stores, strict=True)
        ]

    def _slots(self, group: Group) -> int:
        slots = self.replay.slots
        return sum(slots) if group.alone else sum(slots[t] for t in group.tables if slots)

    def _clip(self, trained: Trained, at: str) -> Operation:
        """Norms of the gradients of tables' single samples, and their scaling."""
        gradients = trained.gradients()
        return Sweep("clip_gradients", at, (gradients, gradients), (gradients,))

    def _dense(self, word: Operation) -> tuple[Operation, ...]:
        """The MLPs' step with clipping and noise; other words as they are."""
        if not isinstance(word, Dense) or not self._own.clip:
            return (word,)
        hbm = self._machine.memory(word.at).place
        words = self.clipped(word, hbm)
        if not self._own.sigma:
            return words
        size = mlp_weight_bytes(self._job.model)
        gradients, drawn = (Buffer(name, hbm, size) for name in ("mlp_gradients", "mlp_noise"))
        add = Add("add_mlp_noise", word.at, (gradients, drawn), gradients)
        return (*words, Draw("mlp_noise", word.at, drawn), add)

    def _require(self, what: str, place: str, size: int) -> None:
        """Raise `CapacityError` where `size` bytes do not fit beside tables or scratchpad."""
        memory, model = self._machine.memory(place), self._job.model
        taken = sum(model.table_bytes)
        if place == self.gpu:
            taken = sum(self._slots(g) * g.job.entry_bytes for g in self._groups)
        require_room(
            f"{self.name}: {what}",
            size,
            f"{memory.place} of {self._machine.name} beside {taken:,} B of rows",
            memory.capacity - taken,
            "use a smaller model or a platform with more memory",
        )


def _sent_for_norms(lane: tuple[Operation, ...]) -> tuple[Operation, ...]:
    """A lane whose gradients are sent once before, for the backward that finds norms."""
    sent = (word for word in lane if isinstance(word, Move))
    return (*(replace(word, name="norm_gradients_to_cpu") for word in sent), *lane)
