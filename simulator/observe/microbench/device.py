"""A GPU under measurement: times by events, and what a call costs the host thread."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from simulator.observe.accelerator import CpuTensors, CudaGpu
from simulator.observe.microbench.tables import Budget, spread

__all__ = ["GpuBench"]

FLUSH_BYTES = 1 << 28
"""Written before a kernel that is timed: more than L2 holds."""


class GpuBench:
    """`ops` launches; `torch` is PyTorch; `budget` says how much to measure."""

    def __init__(self, budget: Budget, ops: CpuTensors | None = None) -> None:
        self.ops = ops or CudaGpu(budget.cores)
        self.torch: Any = self.ops.torch
        self.budget = budget
        self._flush = self.ops.empty((FLUSH_BYTES // 4,))

    def time(
        self,
        work: Callable[[int], object],
        *,
        flush: bool = True,
        before: Callable[[int], object] | None = None,
        most: int = 200,
    ) -> dict[str, float]:
        """Milliseconds of `work(repetition)` on the current stream, by events.

        `flush`: with nothing in L2. `before(repetition)`: what comes first and is not timed.
        `most`: repetitions at most.
        """
        for k in range(2):
            work(k)
        self.ops.synchronize()
        samples: list[float] = []
        until = time.perf_counter() + self.budget.seconds
        while len(samples) < 5 or (time.perf_counter() < until and len(samples) < most):
            if before:
                before(len(samples))
            if flush:
                self._flush.fill_(len(samples))
            begin = self.ops.mark()
            work(len(samples))
            end = self.ops.mark()
            self.ops.synchronize()
            samples.append(self.ops.between_us(begin, end) / 1e3)
        return spread("ms", samples)

    def submitted(self, work: Callable[[], object], calls: int = 1) -> dict[str, float]:
        """Microseconds of the host thread for one of `calls` calls of `work` in a row, made while
        the GPU is idle before the first and whatever it does after the last."""
        work()
        self.ops.synchronize()
        samples: list[float] = []
        until = time.perf_counter() + self.budget.seconds
        while len(samples) < 5 or (time.perf_counter() < until and len(samples) < 200):
            self.ops.synchronize()
            begin = time.perf_counter()
            for _ in range(calls):
                work()
            samples.append((time.perf_counter() - begin) * 1e6 / calls)
        self.ops.synchronize()
        return spread("us", samples)
