"""Fused updates with Adagrad: a step of the optimizer for each row, its state behind its weights.

The same partition, sort and sums as SGD's update; what differs is the state that is read and
written with the row (as wide as the row, or one number a row) and the arithmetic of the step.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from simulator.observe import rows as kernels
from simulator.observe.microbench.cpu_bench import POOLED, Case, CpuBench, draw_rows
from simulator.observe.microbench.device import GpuBench
from simulator.observe.microbench.tables import (
    CPU_FILE,
    HBM_FILE,
    PAUSE_S,
    Row,
    Subject,
    milliseconds,
)

__all__ = ["adagrad_on_cpu", "adagrad_on_gpu"]

_DIM = 128
_WIDTHS = {"adagrad": 2 * _DIM, "rowwise_adagrad": _DIM + 1}
"""Elements of a row with its state."""
_RATE = 1e-3
_GPU_ROWS = 20_000_000


def adagrad_on_cpu(bench: CpuBench) -> list[Subject]:
    return [Subject("cpu update with Adagrad", CPU_FILE, partial(_on_cpu, bench))]


def adagrad_on_gpu(gpu: GpuBench) -> list[Subject]:
    return [Subject("gpu update with Adagrad", HBM_FILE, partial(_on_gpu, gpu))]


def _on_cpu(bench: CpuBench) -> Iterator[Row]:
    """On one thread and on all."""
    count = bench.budget.lookups
    bags = (np.arange(count) // POOLED).astype(np.int32)
    gradients = bench.own_staging(int(bags[-1]) + 1, _DIM)
    pairs = kernels.SortedPairs(count)
    for optimizer, width in _WIDTHS.items():
        table, sets = bench.table(width), bench.rows(width, count)
        for threads in sorted({1, bench.budget.cores}):
            kernels.use_threads(threads)

            def update(k: int, table: Any = table, sets: Any = sets, t: int = threads) -> None:
                pairs.sort(sets[k % len(sets)], len(table), t)
                arguments = (table, pairs, bags, gradients[k % len(gradients)], _RATE, t)
                kernels.coalesced_update(*arguments, optimizer)  # noqa: B023

            times = milliseconds(update, bench.budget, PAUSE_S)
            unique = int(np.mean([len(np.unique(rows)) for rows in sets[:4]]))
            op = f"coalesce_update_{optimizer}"
            impl = f"own (partition+radix sort+segment sum+{optimizer})"
            case = Case(op, impl, threads, count, _DIM, "uniform", table.nbytes)
            note = f"unique={unique}; payload = unique rows and their state read+written"
            yield case.row(times, note, payload=2 * unique * width * 4)


def _on_gpu(gpu: GpuBench) -> Iterator[Row]:
    ops, count = gpu.ops, gpu.budget.lookups
    own = ops.upload(np.arange(count, dtype=np.int32))
    gradients = ops.empty((count, _DIM))
    rows = _GPU_ROWS if ops.overlaps else 10_000
    for optimizer, width in _WIDTHS.items():
        table = ops.empty((rows, width))
        for dist in ("uniform", "zipf0.9"):
            drawn = [draw_rows(rows, count, dist, seed) for seed in range(2)]
            unique = int(np.mean([len(np.unique(ids)) for ids in drawn]))
            pairs = [ops.sort(ops.upload(ids), rows) for ids in drawn]

            def update(k: int, table: Any = table, pairs: Any = pairs) -> None:
                ops.update(table, pairs[k % 2], own, gradients, _RATE, optimizer)  # noqa: B023

            times = gpu.time(update)
            moved = count * _DIM * 4 + 2 * unique * width * 4 + 12 * count
            yield {
                "op": f"coalesced_update_{optimizer}", "impl": "Triton (sorted input)",
                "dim": _DIM, "n_rows": count, "dist": dist, **times,
                "payload_GBps": count * _DIM * 4 / times["ms"] / 1e6,
                "traffic_GBps": moved / times["ms"] / 1e6, "note": f"unique={unique}",
            }  # fmt: skip
        del table
