"""Inference: what of a training program an answer depends on.

A query is a mini-batch whose top MLP's output is wanted. Its program is a slice of the program that
trains: up to the last stage in which the MLPs answer; of the MLPs the forward; without what follows
them, without backward words wherever they stand, and without rows that leave a cache: nothing
changes rows, so that those below are as good and a victim is dropped. Rows still come in. The
answers go to the host's memory, and the host waits for them.

The schedule ends with that stage too. What stages there wait for stays, but for waits for queries
that come later; stages that are left out are done when the answer is. The cache is planned as in
training, its hold window included, though nothing that is written back could be read too early:
what is resident is the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TypeGuard

from simulator.caches.facts import WRITE_BACK, BatchFacts, Flow
from simulator.config.model import ModelConfig
from simulator.hardware.program import (
    GRADIENT_BYTES,
    Accumulate,
    Buffer,
    Dense,
    Expand,
    Gather,
    Move,
    Operation,
    Scatter,
    Stage,
    Update,
    Wait,
    ZeroCopy,
)
from simulator.hardware.topology import Topology
from simulator.systems.base import System, synchronize
from simulator.systems.mlp import answers, forward_of
from simulator.systems.schedule import Schedule
from simulator.systems.wrapped import Derived

__all__ = ["ForwardOnly", "unchanged"]

Lane = tuple[Operation, ...]

_BACKWARD = (Update, Expand, Accumulate)
"""Words of gradients alone."""
ANSWER_BYTES = GRADIENT_BYTES
"""Of a sample."""


def unchanged(facts: BatchFacts) -> BatchFacts:
    """The facts of a mini-batch whose victims nobody has trained: none is written back."""
    if WRITE_BACK not in facts.flows:
        return facts
    none = (Flow(),) * len(facts.flows[WRITE_BACK])
    return replace(facts, flows={**facts.flows, WRITE_BACK: none})


class ForwardOnly(Derived):
    """A system of training that answers queries instead."""

    def __init__(self, system: System, model: ModelConfig, machine: Topology) -> None:
        super().__init__(system)
        self._model, self._machine = model, machine
        program = system.stages(BatchFacts.of_nothing(model.batch_size))
        last = max(k for k, stage in enumerate(program) if any(map(_answers, stage.operations)))
        self._count = last + 1
        self.schedule = _cut(system.schedule, self._count)

    def stages(self, facts: BatchFacts) -> tuple[Stage, ...]:
        return self._sliced(self.system.stages(facts))

    def rank_stages(self, facts: BatchFacts, rank: int) -> tuple[Stage, ...]:
        return self._sliced(self.system.rank_stages(facts, rank))

    def _sliced(self, stages: tuple[Stage, ...]) -> tuple[Stage, ...]:
        dropped: set[str] = set()
        return tuple(self._stage(stage, dropped) for stage in stages[: self._count])

    def _stage(self, stage: Stage, dropped: set[str]) -> Stage:
        """What is left of `stage`; `dropped`: buffers of rows that stay where they are, by name."""
        steps = {word.name for word in stage.operations if _answers(word)}
        lanes = []
        for lane in stage.lanes:
            kept = tuple(self._kept(_to_the_answer(lane, steps), dropped))
            if any(not isinstance(word, Wait) for word in kept):
                lanes.append(kept)
        return Stage(stage.name, tuple(lanes))

    def _kept(self, lane: Iterable[Operation], dropped: set[str]) -> Iterator[Operation]:
        for word in lane:
            if isinstance(word, Dense):
                forward = forward_of(word, self._model)
                yield from () if forward is None else (forward,)
                yield from self._answer(word) if answers(word) else ()
            elif not (self._serves_gradients(word) or _leaves(word, dropped)):
                yield word

    def _serves_gradients(self, word: Operation) -> bool:
        names = self.system.for_gradients
        return isinstance(word, _BACKWARD) or word.name.partition("_dim")[0] in names

    def _answer(self, step: Dense) -> Lane:
        """The output of `step` to the host's memory, unless it is there."""
        machine = self._machine
        cpu = machine.only("cpu", "inference", near=step.at)
        if step.at == cpu:
            return ()
        above, below = (machine.memory(place).place for place in (step.at, cpu))
        answer = Buffer("answers", above, step.samples * ANSWER_BYTES)
        return Move("answers_to_cpu", above, answer, below), synchronize(step.at)


def _answers(word: Operation) -> TypeGuard[Dense]:
    return isinstance(word, Dense) and answers(word)


def _to_the_answer(lane: Sequence[Operation], steps: set[str]) -> Sequence[Operation]:
    """A lane up to its last answer; one without any up to what waits for one of `steps`."""
    last = max((k for k, word in enumerate(lane) if _answers(word)), default=None)
    if last is not None:
        return lane[: last + 1]
    after = next((k for k, word in enumerate(lane) if word.after in steps), len(lane))
    return lane[:after]


def _leaves(word: Operation, dropped: set[str]) -> bool:
    """Whether `word` is on the way of rows out of a cache; their buffers are added to `dropped`."""
    if isinstance(word, Gather) and word.reads.slotted:
        dropped.add(word.into.name)
        return True
    if isinstance(word, ZeroCopy):
        return word.reads.slotted
    if isinstance(word, Move):
        return word.what.name in dropped
    return isinstance(word, Scatter) and word.source.name in dropped


def _cut(schedule: Schedule, count: int) -> Schedule:
    """The first `count` stages; waits for others are for the last of them."""
    kept = schedule.names[:count]
    after = tuple(
        replace(wait, other=wait.other if wait.other in kept else kept[-1])
        for wait in schedule.after
        if wait.stage in kept and wait.ahead <= 0
    )
    return replace(schedule, stages=schedule.stages[:count], after=after)
