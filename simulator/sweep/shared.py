"""Replays that tasks have in common: one worker makes them, the others take them from a file.

The file lies in the folder of finished points while the sweep runs, under a name that the next run
into that folder removes where this one is killed. Whatever goes wrong with it, tasks make their
replays themselves, and get the same results.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from simulator.config.point import PointConfig
from simulator.engine import replay_key
from simulator.sweep.work import Task

__all__ = ["Common", "commons"]


@dataclass(frozen=True)
class Common:
    """Tasks with replays in common."""

    tasks: tuple[Task, ...]
    file: Path

    @property
    def points(self) -> tuple[PointConfig, ...]:
        """Points that have all replays of the tasks between them, of each software that looks at
        other facts."""
        first: dict[tuple[str, bool, int], PointConfig] = {}
        for task in self.tasks:
            for point in task.points:
                software = point.operators
                hottest, bits = software.follows_hottest, software.accumulate.range_bits
                first.setdefault((replay_key(point), hottest, bits), point)
        return tuple(first.values())

    def with_file(self) -> tuple[Task, ...]:
        """The tasks, which take their replays from the file."""
        return tuple(replace(task, replays=self.file) for task in self.tasks)


@contextmanager
def commons(tasks: Sequence[Task], folder: Path) -> Iterator[tuple[Common, ...]]:
    """Those of `tasks`, with files in `folder` until the context ends."""
    shared: dict[int, list[Task]] = {}
    for task in tasks:
        if task.shares is not None:
            shared.setdefault(task.shares, []).append(task)
    found = tuple(
        Common(tuple(own), folder / f".replays.{number}.part") for number, own in shared.items()
    )
    if found:
        folder.mkdir(parents=True, exist_ok=True)
    try:
        yield found
    finally:
        for common in found:
            with suppress(OSError):
                common.file.unlink(missing_ok=True)
