"""What the host thread pays: launches by kind, events, waits for a device that is idle, and work
that it hands to another thread.

All values are microseconds of host time for one call, but for graphs and the event span, whose
device time is given too. A wait of an idle device is the least that a wait costs: the device has
long been done. As training calls them: from Python, through PyTorch and Triton.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from simulator.config.catalogue import load_named
from simulator.observe.microbench.device import GpuBench
from simulator.observe.microbench.tables import Row, Subject, milliseconds, spread
from simulator.observe.mlp import DenseStep

__all__ = ["launch_subjects"]

_FILE = "micro_launch.csv"
_STREAMS = (1, 2, 4, 8)
_KERNELS = (1, 10, 30, 100, 300)
"""Kernels of a captured graph."""
_SMALL_COPY = 4096
_SORTED = 327_680
_WORK_S, _CALLS = 0.002, 200


def launch_subjects(gpu: GpuBench) -> list[Subject]:
    """The subjects of `micro_launch.csv`."""
    parts = {
        "launch and synchronise": _basic,
        "submissions by kind": _submissions,
        "graph replays": _graphs,
        "steps of the MLPs, submitted": _steps,
        "waits of an idle device": _waits,
        "work of another thread": _handed_over,
    }
    return [Subject(name, _FILE, partial(rows, gpu)) for name, rows in parts.items()]


def _tiny(gpu: GpuBench) -> Callable[[], Any]:
    data = gpu.ops.empty((8,))
    return lambda: data.add_(1.0)


def _in_us(times: dict[str, float]) -> dict[str, float]:
    return {name.replace("ms", "us"): value * 1e3 for name, value in times.items()}


def _basic(gpu: GpuBench) -> Iterator[Row]:
    tiny = _tiny(gpu)

    def waited(_: int) -> None:
        tiny()
        gpu.ops.synchronize()

    yield {"what": "empty kernel + stream sync"} | _in_us(milliseconds(waited, gpu.budget))
    what = "torch add_ on 8 floats, back to back (per launch)"
    yield {"what": what} | gpu.submitted(tiny, 100)
    event = gpu.torch.cuda.Event(enable_timing=True)
    yield {"what": "event record"} | gpu.submitted(event.record, 10)
    spans = gpu.time(lambda _: tiny(), flush=False)
    yield {"what": "event span around an empty kernel"} | _in_us(spans)


def _submissions(gpu: GpuBench) -> Iterator[Row]:
    """One call, by what it submits."""
    torch, ops = gpu.torch, gpu.ops
    table, out, rows = ops.empty((64, 128)), ops.empty((8, 128)), ops.empty((8,), "int64")
    square = ops.empty((64, 64))
    here = ops.staging((_SMALL_COPY,), "uint8")
    there, beside = (ops.empty((_SMALL_COPY,), "uint8") for _ in range(2))
    keys = ops.empty((_SORTED,), "int32")
    plain, stream = torch.cuda.Event(), torch.cuda.Stream()

    def switch() -> None:
        with torch.cuda.stream(stream):
            pass

    copy = f"copy of {_SMALL_COPY} B"
    calls: dict[str, tuple[Callable[[], object], int]] = {
        "Triton kernel, back to back (per launch)": (lambda: ops.gather(table, rows, out), 50),
        "torch matmul of 64x64 (per call)": (lambda: torch.matmul(square, square), 50),
        "torch zero_ (per call)": (there.zero_, 50),
        f"torch.sort of {_SORTED} int32 (per call)": (lambda: torch.sort(keys), 5),
        f"{copy}, h2d, page-locked (per launch)": (lambda: ops.copy(there, here), 20),
        f"{copy}, d2h, page-locked (per launch)": (lambda: ops.copy(here, there), 20),
        f"{copy}, on the device (per launch)": (lambda: ops.copy(beside, there), 20),
        "event made and recorded, with timing": (ops.mark, 10),
        "event record without timing": (plain.record, 10),
        "stream waits for an event": (lambda: stream.wait_event(plain), 10),
        "enter and leave a stream": (switch, 50),
    }
    for what, (work, count) in calls.items():
        yield {"what": what} | gpu.submitted(work, count)


def _captured(gpu: GpuBench, kernels: int) -> Any:
    tiny = _tiny(gpu)

    def many() -> None:
        for _ in range(kernels):
            tiny()

    return gpu.ops.captured(many)


def _graphs(gpu: GpuBench) -> Iterator[Row]:
    """Time on the device, and what the host pays to submit a replay."""
    for kernels in _KERNELS:
        replay = _captured(gpu, kernels)
        times = gpu.time(lambda _, replay=replay: replay(), flush=False)
        yield {"what": f"cuda graph of {kernels} tiny kernels (per replay)"} | _in_us(times)
        what = f"cuda graph of {kernels} tiny kernels, submitted (per replay)"
        yield {"what": what} | gpu.submitted(replay)


def _steps(gpu: GpuBench) -> Iterator[Row]:
    model = load_named("models", "default")
    for name, graph in (("as a graph", True), ("eager", False)):
        step = DenseStep(model, gpu.ops.device, 0, graph=graph)
        what = f"training step of the default MLPs, {name}, submitted (per step)"
        yield {"what": what} | gpu.submitted(step.run)


def _waits(gpu: GpuBench) -> Iterator[Row]:
    for count in _STREAMS:
        several = _Several(gpu, count)
        several.launch()
        gpu.torch.cuda.synchronize()
        for what, work in several.calls().items():
            yield {"what": what} | gpu.submitted(work)


def _handed_over(gpu: GpuBench) -> Iterator[Row]:
    """What it takes beside the work itself, during which both threads sleep: about as long as the
    CPU's operators of a cycle take."""
    del gpu
    with ThreadPoolExecutor(1) as worker:
        spent = [_call_us(worker) for _ in range(_CALLS)]
    yield {"what": "work handed to a thread of its own (per call)"} | spread("us", spent)


def _call_us(worker: ThreadPoolExecutor) -> float:
    begin = time.perf_counter()
    inside = worker.submit(_asleep).result()
    return (time.perf_counter() - begin - inside) * 1e6


def _asleep() -> float:
    begin = time.perf_counter()
    time.sleep(_WORK_S)
    return time.perf_counter() - begin


class _Several:
    """`count` streams, and an event on each."""

    def __init__(self, gpu: GpuBench, count: int) -> None:
        self._cuda, self._tiny, self._count = gpu.torch.cuda, _tiny(gpu), count
        self._streams = [self._cuda.Stream() for _ in range(count)]
        self._events = [self._cuda.Event() for _ in range(count)]

    def launch(self) -> None:
        """An empty kernel and an event on each stream."""
        for stream, event in zip(self._streams, self._events, strict=True):
            with self._cuda.stream(stream):
                self._tiny()
                event.record()

    def calls(self) -> dict[str, Callable[[], object]]:
        """Waits while the device is idle, and with something to wait for."""
        count, launched = self._count, f"empty kernel and event on each of {self._count} streams"
        by_stream = partial(_in_turn, self._streams)
        return {
            f"synchronise an idle device, {count} streams used": self._cuda.synchronize,
            f"synchronise {count} idle streams in turn": by_stream,
            f"synchronise {count} done events in turn": partial(_in_turn, self._events),
            f"stream waits for {count} done events": self._wait_for_events,
            launched: self.launch,
            f"{launched} + device sync": partial(self._then, self._cuda.synchronize),
            f"{launched} + stream syncs in turn": partial(self._then, by_stream),
        }

    def _wait_for_events(self) -> None:
        for event in self._events:
            self._cuda.current_stream().wait_event(event)

    def _then(self, wait: Callable[[], object]) -> None:
        self.launch()
        wait()


def _in_turn(things: Sequence[Any]) -> None:
    for thing in things:
        thing.synchronize()
