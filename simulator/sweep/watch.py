"""How far a sweep is: what people see while it runs. Nothing of it goes into results."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from simulator.sweep.estimate import lookups_of_batch
from simulator.sweep.work import Event, Task

__all__ = ["Running", "SweepProgress", "Watch"]


TOLD = 0.25
"""Share of the work whose speed says how fast the rest goes: the first includes what a process does
once (loading kernels, memory touched first)."""


@dataclass(frozen=True, slots=True)
class Running:
    """A task under way."""

    label: str
    share: float
    points: int


@dataclass(frozen=True, slots=True)
class SweepProgress:
    """How far a sweep is."""

    done: int
    """Points that are finished, failed, or were finished before."""
    points: int
    failed: int
    share: float
    """Share of the expected work of the missing points, 0 to 1."""
    elapsed_s: float
    left_s: float
    """Time left at the speed so far; what the model of costs expects before anything is done, and
    both in part until `TOLD` of the work is."""
    points_per_s: float
    lookups_per_s: float
    """Lookups of finished work a second, each counted once for each point."""
    running: tuple[Running, ...]


class Watch:
    """Adds up the events of all tasks; may be called from several threads."""

    def __init__(
        self,
        tasks: Sequence[Task],
        *,
        done: int,
        points: int,
        workers: int,
        report: Callable[[SweepProgress], None] | None,
    ) -> None:
        self._report, self._points, self._before = report, points, done
        self._workers = workers
        self._tasks = {task.number: task for task in tasks}
        self._lookups = {task.number: _lookups(task) for task in tasks} if report else {}
        self._cost = sum(task.cost for task in tasks)
        self._events: dict[int, Event] = {}
        self._ended: set[int] = set()
        self._failed = 0
        self._begin = time.monotonic()
        self._lock = threading.Lock()

    def began(self, task: Task) -> None:
        """`task` was handed out."""
        first = task.points[0]
        self.event(Event(task.number, 0, 0.0, f"{first.locality}, waiting"))

    def event(self, event: Event) -> None:
        """A worker says how far it is."""
        with self._lock:
            if event.task not in self._ended:
                self._events[event.task] = event
        self._tell()

    def ended(self, task: Task, failed: int) -> None:
        """`task` came back."""
        with self._lock:
            self._ended.add(task.number)
            self._events.pop(task.number, None)
            self._failed += failed
        self._tell()

    def _tell(self) -> None:
        if self._report is not None:
            with self._lock:
                self._report(self._now())

    def _now(self) -> SweepProgress:
        elapsed = max(time.monotonic() - self._begin, 1e-9)
        shares = dict.fromkeys(self._ended, 1.0) | {n: e.share for n, e in self._events.items()}
        spent = sum(self._tasks[number].cost * share for number, share in shares.items())
        share = spent / self._cost if self._cost else 1.0
        here = sum(len(self._tasks[number].keys) for number in self._ended)
        here += sum(event.done for event in self._events.values())
        lookups = sum(part * self._lookups[number] for number, part in shares.items())
        return SweepProgress(
            done=self._before + here,
            points=self._points,
            failed=self._failed,
            share=min(share, 1.0),
            elapsed_s=elapsed,
            left_s=self._left_s(elapsed, share),
            points_per_s=here / elapsed,
            lookups_per_s=lookups / elapsed,
            running=tuple(
                Running(event.label, event.share, len(self._tasks[number].keys))
                for number, event in sorted(self._events.items())
            )[: self._workers],
        )

    def _left_s(self, elapsed: float, share: float) -> float:
        told = min(share / TOLD, 1.0)
        expected = (1.0 - told) * self._cost / self._workers
        return (1.0 - share) * (expected + (told * elapsed / share if share > 0.0 else 0.0))


def _lookups(task: Task) -> float:
    """Lookups of the points of `task`, timed and warm-up mini-batches."""
    return sum(
        (point.run.warmup_batches + point.run.batches) * lookups_of_batch(point)
        for point in task.points
    )
