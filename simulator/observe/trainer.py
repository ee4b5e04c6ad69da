"""One system trained for real: its program bound to memory, run in its schedule, measured."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from simulator.hardware.program import Exchange, Stage, Wait
from simulator.hardware.topology import Topology
from simulator.observe.clock import BatchCountsSeen, Clock, Measured
from simulator.observe.dataflow import Dataflow
from simulator.observe.inputs import Inputs, count_distinct
from simulator.observe.items import COLD, Position
from simulator.observe.lru import COUNTED
from simulator.observe.rules import bind, require_rules, rules_for
from simulator.observe.runner import Lanes, captured, run_cycles, run_serial
from simulator.observe.steps import Step
from simulator.observe.workspace import Place, Workspace

__all__ = ["Trainer", "kinds_of", "undisturbed"]

_SWITCH_S = 1e-4

Floats = npt.NDArray[np.float32]
Int64s = npt.NDArray[np.int64]


@contextmanager
def undisturbed() -> Iterator[None]:
    """No garbage collection inside, and Python's threads take turns quickly."""
    interval, collecting = sys.getswitchinterval(), gc.isenabled()
    gc.collect()
    gc.disable()
    sys.setswitchinterval(_SWITCH_S)
    try:
        yield
    finally:
        sys.setswitchinterval(interval)
        if collecting:
            gc.enable()


def kinds_of(machine: Topology) -> Callable[[str], str]:
    """The kind of the device at a place: a processor, or what brings a memory."""

    def kind(place: str) -> str:
        device = place if place in machine.devices else machine.memory(place).device
        return machine.devices[device].part.kind

    return kind


def with_sums(stage: Stage, lanes: Sequence[Sequence[Sequence[Step]]]) -> list[list[Step]]:
    """The steps of each lane, from those of its words.

    A sum over all GPUs that is a lane of its own is launched with the first lane, behind its last
    all-to-all (collectives of a GPU run in the order of their launches), and waited for at its end;
    it runs on a stream of the library's own.
    """
    words = [list(lane) for lane in lanes]
    for k, lane in enumerate(stage.lanes[1:], 1):
        if len(lane) == 1 and isinstance(lane[0], Exchange) and words[0]:
            begin, *end = words[k][0]
            last = [n for n, word in enumerate(stage.lanes[0]) if isinstance(word, Exchange)]
            words[0].insert(max(last, default=-1) + 1, [begin])
            waits = isinstance(stage.lanes[0][-1], Wait)
            words[0].insert(len(words[0]) - waits, end)
            words[k] = []
    return [[step for steps in lane for step in steps] for lane in words]


class Trainer:
    """One system: `run()` trains all mini-batches and measures them.

    Raises `UsageError` for a program that observe cannot execute.
    """

    def __init__(self, inputs: Inputs, place: Place) -> None:
        self.inputs = inputs
        kind_of = kinds_of(inputs.machine)
        programs = inputs.programs
        self._rules = rules_for(inputs.point.operators)
        require_rules(programs[0], kind_of, self._rules)
        flow = Dataflow(programs, inputs.facts, inputs.share, kind_of)
        self.work = Workspace(inputs, place, flow)
        meet = place.peers.meet if place.peers else lambda: None
        self.clock = Clock(place.accelerator, meet)
        lanes = sum(len(stage.lanes) for program in programs for stage in program)
        place.accelerator.prepare_marks(2 * lanes)
        self._cold: dict[int, Int64s] = {}
        """Lookups without a slot, by mini-batch."""
        self._splits = any(COLD in given for given in flow.gives.values())
        schedule = inputs.system.schedule
        arrange = run_cycles if schedule.overlaps else run_serial
        bound = self._bound(programs)
        stages = zip(schedule.names, bound[0], strict=True)
        self._worked = {name for name, lanes in stages if any(lanes)}
        """Stages that have steps."""
        self._run_all = arrange(bound, schedule.stages, self.clock, place.accelerator, self._note)

    def _bound(self, programs: Sequence[tuple[Stage, ...]]) -> list[list[Lanes]]:
        """The steps of every mini-batch: by stage, lane by lane."""
        pairs: dict[tuple[Position, int], Any] = {}
        graphs: dict[Any, Callable[[], Any]] = {}

        def bound(number: int, s: int, stage: Stage) -> Lanes:
            lanes = [
                [bind(self.work, (s, k, n), number, pairs, self._rules) for n in range(len(lane))]
                for k, lane in enumerate(stage.lanes)
            ]
            joined = with_sums(stage, lanes)
            if not self.work.same_bags:
                return joined
            turn = self.work.turn(number)
            return [
                captured(lane, self.work.gpu, graphs, (s, k, turn)) for k, lane in enumerate(joined)
            ]

        return [
            [bound(number, s, stage) for s, stage in enumerate(program)]
            for number, program in enumerate(programs)
        ]

    def run(self) -> Measured:
        """Train every mini-batch in order; the times of each, stages in the order of the
        schedule."""
        self.work.gpu.synchronize()
        if self.work.place.peers is not None:
            self.work.place.peers.begin()
        with undisturbed():
            self._run_all()
        measured = self.clock.finish()
        names = self.inputs.system.schedule.names
        worked = [key for key in measured.stage_us if key[1] in self._worked]
        order = sorted(worked, key=lambda key: (key[0], names.index(key[1])))
        measured.stage_us = {key: measured.stage_us[key] for key in order}
        measured.counts.update((k, self._counts(k)) for k in range(len(self.inputs.batches)))
        return measured

    def tables(self) -> Floats:
        """Every row after training, shape (rows, dim)."""
        return self.work.trained()

    def _note(self, number: int) -> None:
        """Keep what the mini-batch did where the next one overwrites it. Nothing is computed yet:
        it would cool the host's caches and let its threads fall asleep before the next."""
        if self._splits:
            cold = self.work.buffer(COLD, "cpu", number)
            self._cold[number] = cold.host_ids[: cold.count].copy()

    def _counts(self, number: int) -> BatchCountsSeen:
        """What the mini-batch did; misses of a split are those that the GPU listed. With a planner
        of its own they are what that counted; with another policy nothing is said of the cache."""
        batch = self.inputs.batches[number]
        if self.work.lru is not None:
            counted = {n: self.work.lru.counted(number, n) for n in COUNTED if n != "short"}
            return BatchCountsSeen(len(batch.ids), **counted)
        misses = count_distinct(self._cold[number]) if self._splits else None
        if self.work.flow.probes:
            misses = self.work.tagged.missed_rows(number)
        return BatchCountsSeen(len(batch.ids), batch.unique_rows, misses)
