"""What a worker does: the points of one task, each kept as soon as it is finished.

Runs in this process, in a process of a local pool or on another machine; what goes in and what
comes out can be pickled, and outcomes travel as the bytes that are stored.
"""

from __future__ import annotations

import platform
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simulator import errors
from simulator._garbage import collect_seldom
from simulator._heap import keep_heap
from simulator._threads import cores
from simulator.caches.plan.arrays import give_back, pages_kept
from simulator.config.point import PointConfig
from simulator.engine import Ahead, read_ahead, replays_ahead, simulate_each, write_ahead
from simulator.errors import OutputError, ScratchPipeError
from simulator.results.finished import FinishedPoints, encode
from simulator.results.record import Progress
from simulator.sweep.keys import point_key

__all__ = [
    "Event",
    "Failure",
    "Task",
    "TaskOutcome",
    "be_there",
    "begin_process",
    "failure_of",
    "make_replays",
    "report_to",
    "run_task",
    "sending",
]

_EVERY_S = 0.1
"""Least time between two reports of a task."""


@dataclass(frozen=True)
class Task:
    """Points of one trace that one worker simulates together."""

    number: int
    keys: tuple[str, ...]
    points: tuple[PointConfig, ...]
    cost: float = 1.0
    """Seconds of one core that it is expected to take."""
    replays_share: float = 0.0
    """What its replays take of that."""
    shares: int | None = None
    """Tasks with one number have replays in common; None: it has its own."""
    replays: Path | None = None
    """The file of those that it has in common with others; None: it makes all."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a point has no result."""

    error: str
    """Name of the exception's class."""
    message: str
    details: str = ""
    """The traceback, where the error is none that this package raises on purpose."""

    @property
    def kind(self) -> type[ScratchPipeError]:
        """The class of the error, `ScratchPipeError` where it is none of this package's."""
        error_class = getattr(errors, self.error, None)
        known = isinstance(error_class, type) and issubclass(error_class, ScratchPipeError)
        return error_class if known else ScratchPipeError  # type: ignore[return-value]

    @property
    def misconfigured(self) -> bool:
        """Whether the configuration is wrong, or a file that it names."""
        return self.kind.exit_code == 2


@dataclass(frozen=True)
class TaskOutcome:
    """Outcomes and failures of a task, by key."""

    finished: dict[str, bytes | None]
    """Encoded; None: the store has it, and nobody holds it beside that."""
    failed: dict[str, Failure]


@dataclass(frozen=True, slots=True)
class Event:
    """How far a task is."""

    task: int
    done: int
    """Points that are finished or failed."""
    share: float
    """Share of the whole task, 0 to 1."""
    label: str


_send: Callable[[Event], None] | None = None
_process = ExitStack()
"""What lasts as long as a process that does nothing but tasks."""


@contextmanager
def sending(send: Callable[[Event], None] | None) -> Iterator[None]:
    """Where tasks of this process report to, meanwhile."""
    before = _send
    report_to(send)
    try:
        yield
    finally:
        report_to(before)


def report_to(send: Callable[[Event], None] | None) -> None:
    """Where tasks of this process report to, from now on."""
    global _send
    _send = send


def run_task(
    task: Task,
    share: int,
    store: FinishedPoints | None,
    last_chances: tuple[frozenset[str], ...] = (),
) -> TaskOutcome:
    """Simulate the points of `task` with one `share`-th of this machine's cores.

    Writes each finished point to `store`, where this worker sees the same file system. Points that
    fail do not stop the others, unless all keys of one set in `last_chances` turn out to be wrongly
    configured. Raises `OutputError` where the store cannot be written.
    """
    finished: dict[str, bytes | None] = {}
    failed = _mismatched(task)
    numbers = [n for n, key in enumerate(task.keys) if key not in failed]
    points = [task.points[n] for n in numbers]
    options: dict[str, Any] = {} if task.replays is None else {"ahead": _read(task.replays)}
    options |= {"progress": _reporter(task), "threads": max(1, cores() // share)}
    for position, outcome in simulate_each(points, **options):
        key = task.keys[numbers[position]]
        if isinstance(outcome, Exception):
            failed[key] = failure_of(outcome)
            misconfigured = {key for key, failure in failed.items() if failure.misconfigured}
            if any(keys <= misconfigured for keys in last_chances):
                break
            continue
        data = encode(key, outcome)
        if store is not None:
            store.put(key, data)
        finished[key] = data if store is None else None
    return TaskOutcome(finished, failed)


def make_replays(task: Task, points: tuple[PointConfig, ...], file: Path) -> None:
    """Make the replays of `points` for `task` and those that share them, on all cores."""
    write_ahead(file, replays_ahead(points, progress=_reporter(task)))
    give_back()  # those tasks make none


def begin_process() -> None:
    """Settings of a process that does nothing but tasks."""
    collect_seldom()
    keep_heap()
    _process.enter_context(pages_kept())


def be_there() -> None:
    """What a worker does while another makes replays: it begins, which takes seconds."""


def _read(file: Path) -> Ahead | None:
    """The replays in `file`; None where it is not there: they are made anew."""
    try:
        return read_ahead(file)
    except OSError:
        return None


def _mismatched(task: Task) -> dict[str, Failure]:
    """Points that this worker would simulate differently: other code, another trace file."""
    failed = {}
    for key, point in zip(task.keys, task.points, strict=True):
        try:
            same = point_key(point) == key
        except ScratchPipeError as error:
            failed[key] = failure_of(error)
            continue
        if not same:
            message = (
                f"the worker on {platform.node()} has another version of scratchpipe or of the "
                "trace file: install the same on all machines"
            )
            failed[key] = Failure("OutputError", message)
    return failed


def failure_of(error: BaseException) -> Failure:
    """`error` as data."""
    if isinstance(error, OutputError):
        raise error
    if isinstance(error, MemoryError):
        return Failure("MemoryError", "there is not enough memory")
    details = ""
    if not isinstance(error, ScratchPipeError):
        details = "".join(traceback.format_exception(error))
    return Failure(type(error).__name__, str(error), details)


def _reporter(task: Task) -> Callable[[Progress], None] | None:
    """Turns the engine's progress into events, not too many of them."""
    if _send is None:
        return None
    send, last, done = _send, 0.0, -1

    def report(now: Progress) -> None:
        nonlocal last, done
        moment = time.monotonic()
        if now.point != done or moment - last > _EVERY_S:
            last, done = moment, now.point
            ahead = task.replays_share if task.replays is None else 0.0
            timed = now.share if now.replayed == 1.0 else 0.0
            share = ahead * now.replayed + (1.0 - ahead) * (now.point + timed) / max(now.points, 1)
            send(Event(task.number, now.point, min(share, 1.0), now.label))

    return report
