"""A GPU that is none: `GpuBench` on CPU tensors, with streams, events and graphs that do nothing.

What runs on it is the code that measures, not a measurement: every call is done when it returns,
moments are those of the host's clock.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from simulator.observe.accelerator import CpuTensors
from simulator.observe.microbench import tables
from simulator.observe.microbench.device import GpuBench
from simulator.observe.microbench.tables import Budget


class FakeEvent:
    """Recorded moments, in milliseconds apart."""

    def __init__(self, **_: object) -> None:
        self._at = 0.0

    def record(self) -> None:
        self._at = time.perf_counter()

    def query(self) -> bool:
        """Whether what was recorded is done: as long after as a short copy takes."""
        return time.perf_counter() > self._at + 2e-3

    def synchronize(self) -> None:
        """Nothing is under way."""

    def elapsed_time(self, end: FakeEvent) -> float:
        return max(1e-6, (end._at - self._at) * 1e3)


class FakeStream:
    """A stream on which nothing waits."""

    def __init__(self, device: int | None = None) -> None:
        self.device = device
        self.waited: list[object] = []

    def synchronize(self) -> None:
        """Nothing is under way."""

    def wait_event(self, event: object) -> None:
        self.waited.append(event)


class FakeCuda:
    """What `torch.cuda` offers to those who measure; two devices."""

    Event, Stream = FakeEvent, FakeStream

    def __init__(self) -> None:
        self.synchronized: list[int | None] = []

    def synchronize(self, device: int | None = None) -> None:
        self.synchronized.append(device)

    def current_stream(self) -> FakeStream:
        return FakeStream()

    @contextmanager
    def stream(self, _stream: FakeStream) -> Iterator[None]:
        yield

    def device_count(self) -> int:
        return 2

    def can_device_access_peer(self, _one: int, _other: int) -> bool:
        return True

    def mem_get_info(self) -> tuple[int, int]:
        return 1 << 26, 1 << 26


class FakeTorch:
    """PyTorch, but for its CUDA and for devices that are not there."""

    def __init__(self, torch: Any) -> None:
        self._torch = torch
        self.cuda = FakeCuda()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._torch, name)

    def zeros(self, *shape: Any, **options: Any) -> Any:
        options.pop("device", None)
        return self._torch.zeros(*shape, **options)


class FakeGpu(CpuTensors):
    """CPU tensors whose moments are events, as a GPU's are."""

    def mark(self) -> FakeEvent:
        event = FakeEvent()
        event.record()
        return event

    def between_us(self, begin: FakeEvent, end: FakeEvent) -> float:
        return begin.elapsed_time(end) * 1e3


def fake_bench(quick: bool = True) -> GpuBench:
    """A bench on a GPU that is none."""
    gpu = GpuBench(Budget(quick), FakeGpu(1))
    gpu.torch = FakeTorch(gpu.torch)
    return gpu


def shrink(patch: pytest.MonkeyPatch) -> None:
    """Measurements of a second: small tables, the fewest repetitions, two threads."""
    patch.setattr(tables, "TABLE_BYTES", 1 << 22)
    patch.setattr(tables, "LOOKUPS", 2_000)
    patch.setattr(tables, "FRESH_ROWS", 4_000)
    patch.setattr(tables.Budget, "seconds", 0.0)
    patch.setattr(tables.Budget, "dims", (16, 128))
    patch.setattr(tables.Budget, "cores", 2)
    patch.setattr(tables.Budget, "threads", (1, 2))
