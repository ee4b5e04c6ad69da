"""Stage times of a run: host clock for what the host waits for, stream events for the rest."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from simulator.observe.accelerator import Accelerator

__all__ = ["BatchCountsSeen", "Clock", "Measured"]


@dataclass(frozen=True, slots=True)
class BatchCountsSeen:
    """What one mini-batch did, as the training code saw it."""

    lookups: int
    unique_rows: int
    misses: int | None = None
    victims: int | None = None
    write_backs: int | None = None


@dataclass
class Measured:
    """Times in microseconds and counts, by mini-batch."""

    iteration_us: dict[int, float] = field(default_factory=dict)
    stage_us: dict[tuple[int, str], float] = field(default_factory=dict)
    counts: dict[int, BatchCountsSeen] = field(default_factory=dict)


class Clock:
    """Collects moments while training runs and turns them into times afterwards.

    A lane of a stage lasts as long as all its parts, on host and GPU, one after the other; a stage
    lasts as long as its longest lane.
    """

    def __init__(self, accelerator: Accelerator, meet: Callable[[], object] = lambda: None) -> None:
        """`meet`: what comes before each iteration and is not timed."""
        self._accelerator, self._meet = accelerator, meet
        self._host: dict[tuple[int, str, int], float] = {}
        self._moments: list[tuple[int, str, int, Any, Any]] = []
        self._iterations: dict[int, float] = {}

    @contextmanager
    def host(self, batch: int, stage: str, lane: int = 0) -> Iterator[None]:
        """Host time spent inside."""
        begin = time.perf_counter()
        yield
        self.add_host(batch, stage, lane, (time.perf_counter() - begin) * 1e6)

    def add_host(self, batch: int, stage: str, lane: int, microseconds: float) -> None:
        """Host time measured elsewhere."""
        key = (batch, stage, lane)
        self._host[key] = self._host.get(key, 0.0) + microseconds

    @contextmanager
    def gpu(
        self, batch: int, stage: str, lane: int = 0, *, follows: bool = False
    ) -> Iterator[None]:
        """Time on the current stream from the first to the last operation launched inside.
        `follows`: it begins where the one before it has ended."""
        begin = self._moments[-1][4] if follows else self._accelerator.mark()
        yield
        self._moments.append((batch, stage, lane, begin, self._accelerator.mark()))

    @contextmanager
    def iteration(self, batch: int) -> Iterator[None]:
        """One mini-batch (of a pipeline: one cycle), until everything in it is done."""
        self._meet()
        begin = time.perf_counter()
        yield
        self._accelerator.synchronize()
        self._iterations[batch] = (time.perf_counter() - begin) * 1e6

    def finish(self) -> Measured:
        """All times; waits for the GPU."""
        self._accelerator.synchronize()
        lanes = dict(self._host)
        for batch, stage, lane, begin, end in self._moments:
            spent = self._accelerator.between_us(begin, end)
            lanes[batch, stage, lane] = lanes.get((batch, stage, lane), 0.0) + spent
        stages: dict[tuple[int, str], float] = {}
        for (batch, stage, _), spent in lanes.items():
            stages[batch, stage] = max(spent, stages.get((batch, stage), 0.0))
        return Measured(dict(self._iterations), stages)
