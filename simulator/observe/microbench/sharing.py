"""Two kernels on two streams at once: how they share the multiprocessors and the memory.

Both streams wait for a gate (a kernel that spins until everything is submitted), so that neither
has a head start but the order of submission. `both_*_ms` count from the gate's end; the rows come
in both orders where the kernels differ. What a program of row kernels needs of the device is told
by its grid: `grid` in the note.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from simulator.config.catalogue import load_named
from simulator.observe.microbench.cpu_bench import draw_rows
from simulator.observe.microbench.device import GpuBench
from simulator.observe.microbench.tables import Row, Subject
from simulator.observe.mlp import DenseStep

__all__ = ["sharing_subjects"]

_DIM = 128
_TABLE_ROWS = 20_000_000
_MANY = 2_000_000
"""Rows of a kernel that fills the multiprocessors for about as long as the MLPs' step takes."""
_PRODUCT = 4096
_FEW_BAGS = 64
"""Programs of a kernel that leaves most of the multiprocessors free."""
_GATE_CYCLES = 2_000_000
"""Of the spinning kernel: about a millisecond."""


@dataclass(frozen=True)
class _Kernel:
    """Something to launch on a stream, and how many blocks it has, in words."""

    name: str
    launch: Callable[[], object]
    grid: str


def sharing_subjects(gpu: GpuBench) -> list[Subject]:
    """The subjects of `micro_streams.csv`."""
    return [Subject("two streams at once", "micro_streams.csv", partial(_pairs, gpu))]


def _pairs(gpu: GpuBench) -> Iterator[Row]:
    known = {kernel.name: kernel for kernel in _kernels(gpu)}
    names = list(known)
    product, step, gather = "matrix product", "MLP step as a graph", "row gather"
    small = ("pooled gather of few bags", "spin of one block")
    pairs = [(name, name) for name in (product, gather, "pooled gather")]
    pairs += [(product, gather), (gather, product), (product, "pooled gather")]
    pairs += [(step, other) for other in names if other not in (product, step)]
    pairs += [(other, step) for other in (gather, "pooled gather", "row scatter")]
    pairs += [("row scatter", gather), ("sort", "pooled gather"), ("stream copy", gather)]
    pairs += [(few, full) for few in small for full in (product, gather)]
    for first, second in pairs:
        yield _row(gpu, known[first], known[second])


def _kernels(gpu: GpuBench) -> Iterator[_Kernel]:
    ops, torch = gpu.ops, gpu.torch
    rows = _MANY if ops.overlaps else 1000
    table = ops.empty((_TABLE_ROWS if ops.overlaps else 10_000, _DIM))
    size = _PRODUCT if ops.overlaps else 64
    a, b, c = (ops.empty((size, size)).normal_() for _ in range(3))
    yield _Kernel("matrix product", lambda: torch.matmul(a, b, out=c), f"fp32, {size} cubed")
    step = DenseStep(load_named("models", "default"), ops.device, 0)
    yield _Kernel("MLP step as a graph", step.run, "default model, fp32, captured")
    ids, blocks = ops.upload(draw_rows(len(table), rows, "uniform", 0)), f"{-(-rows // 8)} blocks"
    buffer = ops.empty((rows, _DIM))
    yield _Kernel("row gather", lambda: ops.gather(table, ids, buffer), blocks)
    yield _Kernel("row scatter", lambda: ops.scatter(table, ids, buffer), blocks)
    for name, bags in (("pooled gather", rows // 20), ("pooled gather of few bags", _FEW_BAGS)):
        offsets = ops.upload(
            np.linspace(0, rows // (1 if bags > _FEW_BAGS else 10), bags + 1).astype(np.int64)
        )
        sums = ops.empty((bags, _DIM))
        launch = partial(ops.pool, table, ids, offsets, sums)
        yield _Kernel(name, launch, f"{bags} blocks")
    keys = ids.to(torch.int32)
    yield _Kernel("sort", lambda: torch.sort(keys), f"{rows} keys")
    more = ops.empty((rows, _DIM))
    yield _Kernel("stream copy", lambda: more.copy_(buffer), f"{rows * _DIM * 4} B")
    yield _Kernel("spin of one block", partial(_spin, gpu), "1 block")


def _spin(gpu: GpuBench, cycles: int = _GATE_CYCLES) -> None:
    if gpu.ops.overlaps:
        gpu.torch.cuda._sleep(cycles)


def _row(gpu: GpuBench, first: _Kernel, second: _Kernel) -> Row:
    alone = [_alone(gpu, kernel) for kernel in (first, second)]
    samples = np.array([_at_once(gpu, first, second) for _ in range(12)])[2:]
    both = np.median(samples, axis=0)
    spread = np.percentile(samples.max(axis=1), [10, 90])
    return {
        "what": f"{first.name} | {second.name}",
        "first_ms": alone[0],
        "second_ms": alone[1],
        "both_ms": float(np.median(samples.max(axis=1))),
        "both_first_ms": float(both[0]),
        "both_second_ms": float(both[1]),
        "note": (
            f"grid: {first.grid} | {second.grid}; p10 {spread[0]:.4g}, p90 {spread[1]:.4g} of both"
        ),
    }


def _alone(gpu: GpuBench, kernel: _Kernel) -> float:
    return float(np.median([_gated(gpu, (kernel,))[0] for _ in range(8)][2:]))


def _at_once(gpu: GpuBench, first: _Kernel, second: _Kernel) -> list[float]:
    return _gated(gpu, (first, second))


def _gated(gpu: GpuBench, kernels: tuple[_Kernel, ...]) -> list[float]:
    """Milliseconds from the gate to the end of each kernel, each on a stream of its own."""
    ops = gpu.ops
    with ops.stream("gate"):
        _spin(gpu)
        gate = ops.mark()
    ends: list[Any] = []
    for number, kernel in enumerate(kernels):
        with ops.stream(f"kernel {number}"):
            if ops.overlaps:
                gpu.torch.cuda.current_stream().wait_event(gate)
            kernel.launch()
            ends.append(ops.mark())
    ops.synchronize()
    return [ops.between_us(gate, end) / 1e3 for end in ends]
