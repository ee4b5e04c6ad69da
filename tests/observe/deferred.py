"""A GPU that is never ahead of what the host waited for: streams as CUDA orders them, no more.

What is launched waits in its stream until the host waits, and then streams go on in any order that
keeps each of them in its own: a launch that needs another stream's result without a wait in between
meets old data.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from simulator.observe.accelerator import CpuTensors
from simulator.observe.mlp import DenseStep

LATER = ("copy", "add", "pool", "gather", "scatter", "update", "split")
LATER += ("count_idle", "find_missed", "put", "touch", "plan", "send")


class Deferred(CpuTensors):
    """CPU tensors behind streams; `log` has the streams of launches, and `wait`."""

    overlaps = True

    def __init__(self, seed: int = 0) -> None:
        super().__init__(1)
        self.streams: dict[str, deque[Callable[[], Any]]] = {}
        self.current = "main"
        self.log: list[str] = []
        self._rng = np.random.default_rng(seed)
        for name in LATER:
            setattr(self, name, self._deferred(getattr(self, name)))

    def _deferred(self, work: Callable[..., Any]) -> Callable[..., None]:
        return lambda *arguments: self.later(lambda: work(*arguments))

    def later(self, work: Callable[[], Any]) -> None:
        self.streams.setdefault(self.current, deque()).append(work)
        self.log.append(self.current)

    @contextmanager
    def stream(self, name: str) -> Iterator[None]:
        before, self.current = self.current, name
        yield
        self.current = before

    def sort(self, ids: Any, rows: int) -> Any:
        """A box that holds the pairs once they are sorted."""
        box: list[Any] = []
        self.later(lambda: box.append(CpuTensors.sort(self, ids, rows)))
        return box

    def update(self, table: Any, pairs: Any, *rest: Any) -> None:
        CpuTensors.update(self, table, pairs.pop(), *rest)

    def synchronize(self) -> None:
        self.log.append("wait")
        while waiting := [name for name, works in self.streams.items() if works]:
            self.streams[waiting[self._rng.integers(len(waiting))]].popleft()()


def defer_dense(monkeypatch: Any, gpu: Deferred) -> None:
    """The dense step is launched, too."""
    run = DenseStep.run
    monkeypatch.setattr(DenseStep, "run", lambda self: gpu.later(lambda: run(self)))
