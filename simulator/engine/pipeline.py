"""Runs the stages of consecutive mini-batches on a machine, in SimPy.

Five modes. `serial`: a mini-batch is done before the next one starts. `lockstep`: in cycle *c*
stage *s* works on mini-batch *c - s*; a barrier ends the cycle. `async`: stage *s* of mini-batch
*i* starts as soon as these are done: its previous stage of *i*, itself of *i* - 1, and every later
stage *t* of mini-batch *i - (t - s) - 1*. Those are what lockstep has done by then, without its
barrier: they bound how far stages run apart (each has one output buffer that fills while the
other is emptied), and with them the same hold window keeps both modes correct. `ahead`: as
`serial`, but the first stage of mini-batch *i* + 1 runs beside the other stages of *i*, once that
has taken over what its first stage brought. `streams`: after its previous stage of *i* and itself
of *i* - 1, a stage waits for what its schedule names alone.

A schedule that is *fed* has a stage before those of its mode, which makes mini-batches a few ahead
of them (`AHEAD`); the others follow each other as without it, and wait for what it makes. One that
is *logged* has a stage before all that writes what must be durable before rows are updated: it
begins when those of the mini-batch before are, and no stage but only updates wait for it.

Operations start no earlier than the host thread has submitted them (`simulator.engine.submission`).
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import simpy

from simulator.engine.run_spans import RunSpans, Span
from simulator.engine.submission import StageSubmission
from simulator.errors import InvariantError
from simulator.hardware.demand import StageDemand
from simulator.hardware.machine import Machine
from simulator.systems.schedule import Beside
from simulator.systems.schedule import Order as Mode

__all__ = [
    "ALONE",
    "ONE_PROGRAM",
    "Beside",
    "Mode",
    "Span",
    "StageTime",
    "Waits",
    "conditions",
    "run_pipeline",
]
__all__ += ["require_retired", "stage_times", "submitted"]

ALONE = Beside()
"""No stage runs beside those of the order."""
AHEAD = 2
"""Mini-batches that are made and not taken, or in the making, where a schedule is fed (the default
of PyTorch's data loader)."""
Waits = Sequence[tuple[int, int, int]]
"""(stage, other stage, mini-batches ahead): see `Schedule.waits`."""


def conditions(
    mode: Mode,
    stages: int,
    batch: int,
    stage: int,
    waits: Waits = (),
    *,
    beside: Beside = ALONE,
) -> list[tuple[int, int]]:
    """The (mini-batch, stage) that must be done before `stage` of `batch`, of `stages`, starts;
    `waits`: what the schedule adds to `streams`; `beside`: stages before those of the order."""
    if beside.count:
        return _conditions_beside(mode, stages, batch, stage, waits, beside)
    last = stages - 1
    if mode == "serial":
        before = [(batch, stage - 1)] if stage else [(batch - 1, last)]
    elif mode == "ahead":
        before = [(batch, stage - 1), (batch - 1, last)] if stage else []
        before += [(batch - 1, 0), (batch - 2, last)] if not stage else []
    elif mode == "async":
        later = [(batch - (t - stage) - 1, t) for t in range(stage + 1, last + 1)]
        before = [(batch, stage - 1), (batch - 1, stage), *later]
    elif mode == "streams":
        named = [(batch + ahead, other) for own, other, ahead in waits if own == stage]
        before = [(batch, stage - 1), (batch - 1, stage), *named]
    else:  # every stage of the cycle before
        cycle = batch + stage - 1
        before = [(cycle - other, other) for other in range(stages)]
    return [(b, s) for b, s in before if b >= 0 and 0 <= s <= last]


def _conditions_beside(
    mode: Mode, stages: int, batch: int, stage: int, waits: Waits, beside: Beside
) -> list[tuple[int, int]]:
    count, feeder = beside.count, beside.feeder
    if stage < count:
        released = (batch - AHEAD, count) if stage == feeder else (batch - 1, beside.logged)
        return [key for key in ((batch - 1, stage), released) if key[0] >= 0]
    own = [(mine - count, other - count, ahead) for mine, other, ahead in waits]
    after = conditions(mode, stages - count, batch, stage - count, own)
    before = [(b, s + count) for b, s in after]
    return [*before, (batch, feeder)] if stage == count and feeder >= 0 else before


ONE_PROGRAM: tuple[Mode, ...] = ("serial", "ahead")
"""Modes in which a host thread submits all stages as one program."""


def submitted(mode: Mode, batches: int, stages: range) -> Iterator[tuple[int, int]]:
    """(mini-batch, stage) in the order in which that program submits them; `ahead`: the first stage
    of the next mini-batch before the others of this one."""
    early = 1 if mode == "ahead" else 0
    first, *others = stages
    for batch in range(-early, batches):
        if batch + early < batches:
            yield batch + early, first
        if batch >= 0:
            yield from ((batch, stage) for stage in others)


class _Run:
    """State of one run: events of (mini-batch, stage), spans in order of their end."""

    def __init__(
        self,
        machine: Machine,
        mode: Mode,
        stages: int,
        waits: Waits,
        *,
        beside: Beside,
        arrivals: Sequence[int],
    ) -> None:
        self.machine, self.mode, self.stages, self.waits = machine, mode, stages, waits
        self.beside, self.arrivals = beside, arrivals
        self.one_program = mode in ONE_PROGRAM and not (mode == "ahead" and arrivals)
        """Whether a host thread submits all stages as one program; one that has to wait for the
        next mini-batch to come does not submit its first stage ahead."""
        self.env = machine.env
        self.done: dict[tuple[int, int], simpy.Event] = {}
        self.ends: dict[tuple[int, int], int] = {}
        self.submissions: dict[tuple[int, int], StageSubmission] = {}
        """Of the stages that run or were submitted ahead."""
        self.spans: list[Span] = []
        self.waited: dict[int, int] = {}
        """Picoseconds that updates of a mini-batch waited for what must be durable."""

    def event(self, batch: int, stage: int) -> simpy.Event:
        key = (batch, stage)
        if key not in self.done:
            self.done[key] = self.env.event()
        return self.done[key]

    def come(self, batch: int) -> Generator[simpy.Event, Any, None]:
        """Wait until a mini-batch is there."""
        if self.arrivals and self.arrivals[batch] > self.env.now:
            yield self.env.timeout(self.arrivals[batch] - self.env.now)

    def submission(self, batch: int, number: int, work: StageDemand) -> StageSubmission:
        """The submissions of a stage, made when first asked for."""
        key = (batch, number)
        if key not in self.submissions:
            self.submissions[key] = StageSubmission.of(self.machine, work)
            if self.beside.logged:
                self.submissions[key].durable = self.event(batch, 0)
        return self.submissions[key]

    def host_program(
        self, works: Sequence[tuple[StageDemand, ...]]
    ) -> Generator[simpy.Event, Any, None]:
        """One host thread submits stage after stage, ahead of them where it can."""
        feeder, stages = self.beside.feeder, range(self.beside.count, self.stages)
        for batch, number in submitted(self.mode, len(works), stages):
            if feeder >= 0 and number == stages.start:
                made = self.event(batch, feeder)
                if not made.processed:
                    yield made
            if number == 0:
                yield from self.come(batch)
            submission = self.submission(batch, number, works[batch][number])
            yield from submission.submit()
            if not submission.free.processed:
                yield submission.free

    def stage(
        self, batch: int, number: int, work: StageDemand, batches: int
    ) -> Generator[simpy.Event, Any, None]:
        beside = self.beside
        before = conditions(self.mode, self.stages, batch, number, self.waits, beside=beside)
        wanted = [key for key in before if key[0] < batches]
        if wanted:
            yield self.env.all_of([self.event(*key) for key in wanted])
        if number == 0:
            yield from self.come(batch)
        start = int(self.env.now)
        after = max(wanted, key=lambda key: (self.ends[key], key)) if wanted else None
        submission = self.submission(batch, number, work)
        if not self.one_program or number < self.beside.count:
            self.env.process(submission.submit())
        lanes = range(len(work.lanes))
        if len(lanes) == 1:
            yield from submission.run_lane(0)
        else:
            yield self.env.all_of([self.env.process(submission.run_lane(k)) for k in lanes])
        waited = self.submissions.pop((batch, number)).waited_ps
        self.waited[batch] = max(self.waited.get(batch, 0), waited)
        end = int(self.env.now)
        self.ends[batch, number] = end
        self.spans.append(Span(batch, number, start, end, after))
        self.event(batch, number).succeed()


def run_pipeline(
    machine: Machine,
    batches: Iterable[tuple[StageDemand, ...]],
    mode: Mode,
    *,
    waits: Waits = (),
    beside: Beside = ALONE,
    watch: Callable[[int], None] | None = None,
    arrivals: Sequence[int] = (),
    waited: dict[int, int] | None = None,
) -> tuple[Span, ...]:
    """Run all mini-batches to their end; spans by end time. `beside`: see `conditions`; `waited`:
    gets picoseconds that updates of each mini-batch waited for what must be durable.

    `arrivals`: picoseconds at which each mini-batch is there, rising; empty: all are at once.
    `watch(batch)` is called at the simulated moment when the last stage of `batch` ends. Raises
    `InvariantError` where a mini-batch never retires (a deadlock).
    """
    works = list(batches)
    if not works:
        return ()
    run = _Run(machine, mode, len(works[0]), waits, beside=beside, arrivals=arrivals)
    if run.one_program:
        machine.env.process(run.host_program(works))

    def one_stage(number: int) -> Generator[simpy.Event, Any, None]:
        for batch, stages in enumerate(works):
            yield from run.stage(batch, number, stages[number], len(works))
            if watch is not None and number == run.stages - 1:
                watch(batch)

    for number in range(run.stages):
        machine.env.process(one_stage(number))
    machine.env.run()
    last = run.stages - 1
    require_retired([(batch, last) in run.ends for batch in range(len(works))], len(works))
    if waited is not None:
        waited.update(run.waited)
    return tuple(run.spans)


def require_retired(retired: Sequence[bool] | npt.NDArray[np.bool_], batches: int) -> None:
    """Raise `InvariantError` where a mini-batch has not `retired` in the end; those behind the last
    that is told have not."""
    waiting = [batch for batch in range(batches) if batch >= len(retired) or not retired[batch]]
    if waiting:
        raise InvariantError(f"mini-batches never retired: {waiting[:5]} of {batches}")


@dataclass(frozen=True, slots=True)
class StageTime:
    """Picoseconds of one stage in a window of time: `exposed_ps` + `hidden_ps` = `busy_ps`."""

    busy_ps: int
    """It ran, for whichever mini-batch."""
    exposed_ps: int
    """Of that: it was the stage that the end of the window waited for."""

    @property
    def hidden_ps(self) -> int:
        """It ran while another stage was waited for."""
        return self.busy_ps - self.exposed_ps


def stage_times(spans: Sequence[Span], first: int, last: int) -> dict[int, StageTime]:
    """Times of each stage between the end of mini-batch `first` - 1 and that of `last`.

    A stage works on one mini-batch at a time, so that it is busy for at most the elapsed time; the
    part of a span outside of the window does not count. Exposed is what lies on the critical path,
    which leads back from the end of the window: from a span to the one whose end let it start, that
    is to the very moment, so that the exposed times of all stages add up to the elapsed time. The
    path may pass through mini-batches after `last`, where a barrier waits for them. What let a span
    start stands before it, in its group or one before.
    """
    own = RunSpans.of(spans)
    count, ends = own.stages, own.ends_ps()
    since = max(0, int(ends[first - 1])) if first else 0
    busy, exposed = [0] * count, [0] * count
    wanted = last * count + count - 1
    for group in own.groups(back=True):
        inside = np.minimum(group.end_ps, ends[last]) - np.maximum(group.start_ps, since)
        inside = np.maximum(0, inside)
        for stage in range(count):
            busy[stage] += int(inside[group.stage == stage].sum())
        lowest = int(group.key.min(initial=0))
        places = np.full(1 + int(group.key.max(initial=0)) - lowest, -1, np.int64)
        places[group.key - lowest] = np.arange(len(group))
        while 0 <= wanted - lowest < len(places) and places[wanted - lowest] >= 0:
            place = int(places[wanted - lowest])
            if group.end_ps[place] <= since:
                wanted = -1
                break
            exposed[wanted % count] += int(inside[place])
            wanted = int(group.after[place])
    return {stage: StageTime(*times) for stage, times in enumerate(zip(busy, exposed, strict=True))}
