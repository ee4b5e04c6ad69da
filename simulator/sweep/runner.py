"""Runs the points of a sweep on any executor and survives what happens to them.

What comes out is the same byte for byte whatever the executor, the number of workers and the order
in which tasks finish: outcomes are looked up by key in the order of the points.
"""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor, CancelledError
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from simulator._machine import physical_memory
from simulator._threads import cores
from simulator.caches.plan.arrays import pages_kept
from simulator.config.point import PointConfig
from simulator.engine.beside import compiling_beside
from simulator.engine.drawn import DrawnResult
from simulator.errors import OutputError, ScratchPipeError
from simulator.results.finished import FinishedPoints, decode, relabelled
from simulator.results.finishing import finished_points
from simulator.results.record import PointResult
from simulator.results.seeds import each_seed
from simulator.sweep.estimate import require_memory
from simulator.sweep.executors import Executor, Inline, LocalPool
from simulator.sweep.keys import point_key
from simulator.sweep.shared import Common, commons
from simulator.sweep.tasks import divide
from simulator.sweep.watch import SweepProgress, Watch
from simulator.sweep.work import (
    Failure,
    Task,
    TaskOutcome,
    be_there,
    failure_of,
    make_replays,
    run_task,
)

__all__ = ["FailedPoint", "Plan", "Sweep", "Workers", "local_workers", "plan", "run_sweep"]


@dataclass(frozen=True)
class Workers:
    """An executor and how many tasks it runs at a time."""

    executor: Executor = field(default_factory=Inline)
    count: int = 1
    each_machine: int = 1
    """Tasks at a time on one machine: each gets that share of its cores and memory."""
    here: bool = True
    """Whether workers see this machine's files, and so can keep points themselves."""


@contextmanager
def local_workers(jobs: int = 1, *, at_once: bool = False) -> Iterator[Workers]:
    """`jobs` processes of this machine (0: one for each core); 1 is this process itself.

    `at_once`: they come into being now, not with the first task.
    """
    count = jobs or cores()
    if count == 1:
        yield Workers()
        return
    with LocalPool(count) as pool:
        if at_once:
            pool.begin()
        yield Workers(pool, count, each_machine=count)


@dataclass(frozen=True, slots=True)
class FailedPoint:
    """A point without a result."""

    point: PointConfig
    failure: Failure


@dataclass(frozen=True)
class Sweep:
    """What became of the points of a sweep."""

    result: DrawnResult
    """Those that have a result, in order."""
    failed: tuple[FailedPoint, ...] = ()
    reused: int = 0
    """Points that were finished before."""
    keys: tuple[str, ...] = ()
    """The key of each point that was asked for, once a seed, in order."""


def run_sweep(
    points: Sequence[PointConfig],
    *,
    workers: Workers | None = None,
    store: FinishedPoints | None = None,
    progress: Callable[[SweepProgress], None] | None = None,
    name: str = "sweep",
    stop_if_misconfigured: bool = True,
    resume: bool = True,
) -> Sweep:
    """Simulate `points`, those apart that `store` holds already; without `resume` those too.

    Points that fail are listed in the outcome; the others go on. But a system none of whose points
    can be simulated as configured (exit code 2: its cache is too small everywhere, the trace cannot
    be read) is a bad configuration: its error is raised as soon as it is known, unless
    `stop_if_misconfigured` is false. Raises `OutputError` where finished points cannot be kept.
    """
    team = workers or Workers()
    asked, points = points, tuple(one for point in points for one in each_seed(point))
    planned = plan(points, team, store if resume else None)
    keys, known = planned.keys, planned.known
    outcomes = _Outcomes(points if stop_if_misconfigured else (), keys)
    watch = Watch(
        planned.tasks,
        done=len(known),
        points=len(set(keys)),
        workers=team.count,
        report=progress,
    )
    if planned.tasks:
        with pages_kept(), compiling_beside() if team.count == 1 else nullcontext():
            _Run(team, store, outcomes, watch).run(planned.tasks)
    results = {**known, **outcomes.results(planned.tasks, store)}
    return Sweep(
        result=DrawnResult(name, finished_points(asked, _in_order(points, keys, results))),
        failed=tuple(
            FailedPoint(point, outcomes.failed[key])
            for key, point in zip(keys, points, strict=True)
            if key in outcomes.failed
        ),
        reused=_reused(asked, known),
        keys=keys,
    )


@dataclass(frozen=True)
class Plan:
    """What a sweep has to do."""

    keys: tuple[str, ...]
    """Of each point, in order."""
    known: Mapping[str, PointResult]
    """Points that were finished before."""
    tasks: tuple[Task, ...]


def plan(points: Sequence[PointConfig], team: Workers, store: FinishedPoints | None) -> Plan:
    """The tasks for `team`, without the points that `store` holds. Equal points are one.

    Raises `ConfigError` where a point has more mini-batches than memory holds the facts of.
    """
    keys = tuple(point_key(point) for point in points)
    unique: dict[str, PointConfig] = {}
    for key, point in zip(keys, points, strict=True):
        unique.setdefault(key, point)
    known = _known(unique, store)
    missing = {key: point for key, point in unique.items() if key not in known}
    require_memory(missing.values(), physical_memory())
    memory = physical_memory() // 2 // team.each_machine
    return Plan(keys, known, divide(missing, workers=team.count, memory=memory))


def _known(
    points: Mapping[str, PointConfig], store: FinishedPoints | None
) -> dict[str, PointResult]:
    """Points that were finished before."""
    finished = {key: store.get(key, point) if store else None for key, point in points.items()}
    return {key: result for key, result in finished.items() if result is not None}


def _reused(asked: Sequence[PointConfig], known: Mapping[str, PointResult]) -> int:
    """How many points were finished before with all of their seeds."""
    if not known:
        return 0
    return sum(all(point_key(one) in known for one in each_seed(point)) for point in asked)


def _in_order(
    points: Sequence[PointConfig], keys: Sequence[str], results: Mapping[str, PointResult]
) -> list[PointResult]:
    pairs = zip(keys, points, strict=True)
    return [relabelled(results[key], point) for key, point in pairs if key in results]


class _Outcomes:
    """What is known of the points so far."""

    def __init__(self, points: Sequence[PointConfig], keys: Sequence[str]) -> None:
        self.finished: dict[str, bytes | None] = {}
        self.failed: dict[str, Failure] = {}
        self._labels: dict[str, list[str]] = {}
        for key, point in zip(keys, points, strict=False):
            self._labels.setdefault(point.system.label, []).append(key)

    def add(self, outcome: TaskOutcome) -> None:
        self.finished |= outcome.finished
        self.failed |= outcome.failed
        for keys in self._labels.values():
            if all(self._misconfigured(key) for key in keys):
                first = self.failed[keys[0]]
                raise first.kind(first.message)

    def last_chances(self, task: Task) -> tuple[frozenset[str], ...]:
        """For each system that fails everywhere outside of `task`, its points inside."""
        inside = set(task.keys)
        return tuple(
            frozenset(inside.intersection(keys))
            for keys in self._labels.values()
            if inside.intersection(keys)
            and all(self._misconfigured(key) for key in keys if key not in inside)
        )

    def _misconfigured(self, key: str) -> bool:
        return key in self.failed and self.failed[key].misconfigured

    def results(
        self, tasks: Sequence[Task], store: FinishedPoints | None
    ) -> dict[str, PointResult]:
        """Of all points that are finished; encoded ones are let go."""
        results = {}
        for key, point in ((k, p) for t in tasks for k, p in zip(t.keys, t.points, strict=True)):
            if key in self.finished:
                data = self.finished.pop(key)
                kept = store.get(key, point) if store is not None and data is None else None
                result = kept if data is None else decode(key, point, data)
                if result is None:
                    raise OutputError("a worker's result was damaged on its way: run again")
                results[key] = result
        return results


class _Run:
    """Hands out tasks and takes in what comes back."""

    def __init__(
        self,
        team: Workers,
        store: FinishedPoints | None,
        outcomes: _Outcomes,
        watch: Watch,
    ) -> None:
        self._team, self._store = team, store
        self._outcomes, self._watch = outcomes, watch
        self._back: queue.SimpleQueue[tuple[Task | Common, Any]] = queue.SimpleQueue()
        self._away = 0
        self._retries: list[Task] = []  # their worker died: run again, one at a time
        listen = getattr(team.executor, "listen", None)
        if listen is not None:
            listen(watch.event)

    def run(self, tasks: Sequence[Task]) -> None:
        """Tasks with replays in common wait for these, where workers see the files of this
        machine."""
        if self._store is None or not self._team.here or self._team.count < 2:
            self._run(tasks)
            return
        with commons(tasks, self._store.folder) as found:
            for common in found:
                self._begin(common)
            waiting = {task.number for common in found for task in common.tasks}
            self._run([task for task in tasks if task.number not in waiting])

    def _begin(self, common: Common) -> None:
        """Have the replays of tasks made, by one worker; the others come into being meanwhile."""
        submit, first = self._team.executor.submit, common.tasks[0]
        self._away += 1
        self._watch.began(first)
        try:
            future = submit(make_replays, first, common.points, common.file)
            for _ in common.tasks[1:]:
                submit(be_there)
        except BrokenExecutor as error:
            self._back.put((common, error))
            return
        future.add_done_callback(lambda done: self._back.put((common, done)))

    def _run(self, tasks: Sequence[Task]) -> None:
        for task in tasks:
            self._submit(task)
            while not self._back.empty():
                self._take()
        while self._away:
            self._take()
        for task in self._retries:
            self._submit(task)
            self._take(alone=True)

    def _submit(self, task: Task) -> None:
        team = self._team
        store = self._store if team.here else None
        self._away += 1
        self._watch.began(task)
        try:
            last_chances = self._outcomes.last_chances(task)
            future = team.executor.submit(run_task, task, team.each_machine, store, last_chances)
        except BrokenExecutor as error:
            self._back.put((task, error))
            return
        future.add_done_callback(lambda done: self._back.put((task, done)))

    def _take(self, alone: bool = False) -> None:
        task, done = self._back.get()
        self._away -= 1
        if isinstance(task, Common):
            for waiting in task.with_file() if _is_made(done) else task.tasks:
                self._submit(waiting)
            return
        outcome = self._outcome(task, done, alone)
        if outcome is None:
            return
        if self._store is not None and not self._team.here:
            for key, data in outcome.finished.items():
                if data is not None:
                    self._store.put(key, data)
                    outcome.finished[key] = None
        self._watch.ended(task, failed=len(outcome.failed))
        self._outcomes.add(outcome)

    def _outcome(self, task: Task, done: Any, alone: bool) -> TaskOutcome | None:
        """What came back; None where a worker died that may not have died of this task."""
        try:
            if isinstance(done, BaseException):
                raise done
            outcome: TaskOutcome = done.result()
        except OutputError:
            raise
        except _cancellations() as error:
            message = "the executor dropped its tasks (is its scheduler gone?): run again to go on"
            raise ScratchPipeError(message) from error
        except Exception as error:
            if isinstance(error, BrokenExecutor) and not alone:
                self._retries.append(task)
                return None
            failure = _failure_of_task(error)
            return TaskOutcome({}, dict.fromkeys(task.keys, failure))
        return outcome


def _is_made(done: Any) -> bool:
    """Whether replays are there: where not, tasks make them themselves and say what is wrong."""
    return not isinstance(done, BaseException) and done.exception() is None


def _cancellations() -> tuple[type[BaseException], ...]:
    """What executors raise for a task that they dropped."""
    from asyncio import CancelledError as Cancelled  # slow to import, and rarely asked for

    return Cancelled, CancelledError


def _failure_of_task(error: Exception) -> Failure:
    """Why a task brought nothing back."""
    if isinstance(error, BrokenExecutor) or type(error).__name__ == "KilledWorker":
        message = "its worker process died, probably for want of memory: use fewer --jobs"
        return Failure("MemoryError", message)
    return failure_of(error)
