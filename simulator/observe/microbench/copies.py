"""Copies over the link: one way and both, page-locked and pageable, by what cores did before.

Lines that cores still hold slow a copy down. States of a page-locked buffer before a copy: in no
cache; read by every core; read by the cores, each its share (as a scatter reads its staging);
written by the cores with plain stores; written past the caches (as a gather writes its staging).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from simulator.observe import rows as kernels
from simulator.observe.microbench.cpu_bench import CpuBench
from simulator.observe.microbench.device import GpuBench
from simulator.observe.microbench.passes import READ, WRITE, WRITE_NT, pass_over, read_by_each
from simulator.observe.microbench.tables import Row, Subject, milliseconds, spread

__all__ = ["copy_subjects"]

_FILE = "micro_pcie.csv"
_STATE_POWERS = (14, 16, 18, 20, 22, 23, 24, 26)
_FEW_STATE_POWERS = (16, 20, 23, 26)


def copy_subjects(gpu: GpuBench, bench: CpuBench) -> list[Subject]:
    """The subjects of `micro_pcie.csv`; `bench`: the CPU's table, to empty the caches."""
    return [
        Subject("copies", _FILE, partial(_copies, gpu)),
        Subject("copies by state of the buffer", _FILE, partial(_states, gpu, bench)),
    ]


class _Pair:
    """A buffer on the host and one on the GPU, and copies between them."""

    def __init__(self, gpu: GpuBench, size: int, pinned: bool = True) -> None:
        self._ops, torch = gpu.ops, gpu.torch
        here = gpu.ops.staging((size,), "uint8") if pinned else torch.empty(size, dtype=torch.uint8)
        self.here = here.fill_(1)
        self.there = gpu.ops.empty((size,), "uint8")

    def h2d(self, _: int) -> None:
        self._ops.copy(self.there, self.here)

    def d2h(self, _: int) -> None:
        self._ops.copy(self.here, self.there)


def _copies(gpu: GpuBench) -> Iterator[Row]:
    for mem in ("pinned", "pageable"):
        for power in range(12, 29, 2):
            size, pinned = 1 << power, mem == "pinned"
            up, down = _Pair(gpu, size, pinned), _Pair(gpu, size, pinned)
            for op, work in (("h2d", up.h2d), ("d2h", down.d2h)):
                yield _row(op, mem, size, gpu.time(work, flush=False), _wall(gpu, work))
            if pinned:
                yield from _both_ways(gpu, size, up.h2d, down.d2h)


def _wall(gpu: GpuBench, work: Callable[[int], object]) -> dict[str, float]:
    def whole(k: int) -> None:
        work(k)
        gpu.ops.synchronize()

    return milliseconds(whole, gpu.budget)


def _both_ways(
    gpu: GpuBench, size: int, h2d: Callable[[int], None], d2h: Callable[[int], None]
) -> Iterator[Row]:
    samples: dict[str, list[float]] = {"both_h2d": [], "both_d2h": []}
    walls = []
    for k in range(4 + (8 if gpu.budget.quick else 30)):
        begin = time.perf_counter()
        moments = {}
        for op, work in (("both_h2d", h2d), ("both_d2h", d2h)):
            with gpu.ops.stream(op):
                start = gpu.ops.mark()
                work(k)
                moments[op] = (start, gpu.ops.mark())
        gpu.ops.synchronize()
        if k >= 4:
            walls.append((time.perf_counter() - begin) * 1e3)
            for op, (start, end) in moments.items():
                samples[op].append(gpu.ops.between_us(start, end) / 1e3)
    for op, times in samples.items():
        row = _row(op, "pinned", size, spread("ms", times), spread("ms", walls))
        yield row | {"note": "wall of both copies"}


def _row(
    op: str,
    mem: str,
    size: int,
    event: dict[str, float],
    wall: dict[str, float] | None = None,
    note: str = "",
) -> dict[str, Any]:
    row: dict[str, Any] = {
        "op": op, "mem": mem, "bytes": size, "note": note,
        **{name.replace("ms", "ms_event"): value for name, value in event.items()},
        "GBps_event": size / event["ms"] / 1e6,
    }  # fmt: skip
    if wall:
        row |= {name.replace("ms", "ms_wall"): value for name, value in wall.items()}
        row["GBps_wall"] = size / wall["ms"] / 1e6
    return row


def _states(gpu: GpuBench, bench: CpuBench) -> Iterator[Row]:
    cores = bench.budget.cores
    kernels.use_threads(cores)
    for power in _FEW_STATE_POWERS if gpu.budget.quick else _STATE_POWERS:
        pair = _Pair(gpu, 1 << power)
        floats = pair.here.numpy().view(np.float32)
        over = partial(pass_over, a=floats, b=floats, threads=cores)
        states: dict[str, Callable[[], object]] = {
            "cold": bench.evictor,
            f"read by all {cores} cores": partial(read_by_each, floats, cores),
            f"read by {cores} cores, each its share": partial(over, READ),
            f"written by {cores} cores (plain stores)": partial(over, WRITE),
            f"written by {cores} cores (streaming stores)": partial(over, WRITE_NT),
        }
        for state, make in states.items():
            for op, work in (("h2d", pair.h2d), ("d2h", pair.d2h)):
                times = gpu.time(work, flush=False, before=lambda _, make=make: make(), most=20)
                yield _row(op, "pinned", 1 << power, times, note=f"buffer state: {state}")
