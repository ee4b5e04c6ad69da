"""Pooled gathers whose list leaves rows out: at full length with holes, or compacted.

A static cache gives the CPU the lookups that no slot serves. As a list of all lookups with holes
(ids below 0) every entry is looked at; compacted, only those that are there, but somebody has to
write the list. The kernels of `observe` take compacted lists; the one with holes is here, to know
what a list of that form costs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from simulator.observe import rows as kernels
from simulator.observe.intrinsics import take_chunk
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
from simulator.observe.rows import ask_for

__all__ = ["cpu_skip_subjects", "gpu_skip_subjects", "pool_with_holes", "punched"]

Floats = npt.NDArray[np.float32]
Int64s = npt.NDArray[np.int64]

SHARES = (0.0, 0.25, 0.5, 0.75, 0.9, 0.99)
"""Of the lookups that are left out."""
_DIM = 128
_OP = "pooled_gather_skip"
_GPU_ROWS = 20_000_000


@kernels.parallel
def _pool_with_holes(
    table: Floats, ids: Int64s, offsets: Int64s, out: Floats, counter: Int64s, threads: int
) -> None:
    bags, dim = len(offsets) - 1, table.shape[1]
    for _ in numba.prange(threads):
        while True:
            begin = take_chunk(counter.ctypes.data, 16)
            if begin >= bags:
                break
            for bag in range(begin, min(bags, begin + 16)):
                out[bag, :] = 0.0
                for k in range(offsets[bag], offsets[bag + 1]):
                    ahead = ids[k + 8] if k + 8 < len(ids) else -1
                    if ahead >= 0:
                        ask_for(table, ahead, dim)
                    row = ids[k]
                    if row >= 0:
                        for d in range(dim):
                            out[bag, d] += table[row, d]


def pool_with_holes(table: Floats, ids: Int64s, offsets: Int64s, out: Floats, threads: int) -> None:
    """out[b] = sum of table[ids[k]] for k in offsets[b] .. offsets[b + 1]; ids below 0 left out.

    `table` (rows, dim) and `out` (bags, dim) fp32; `ids` (lookups,), `offsets` (bags + 1,) int64.
    """
    _pool_with_holes(table, ids, offsets, out, np.zeros(1, np.int64), threads)


def punched(sets: list[Int64s], share: float, seed: int = 0) -> list[Int64s]:
    """The sets with exactly `share` of the ids of each (rounded) at -1, drawn anywhere."""
    rng = np.random.default_rng(seed)
    out = []
    for ids in sets:
        holes = rng.permutation(len(ids))[: round(share * len(ids))]
        held = ids.copy()
        held[holes] = -1
        out.append(held)
    return out


def compacted(ids: Int64s, offsets: Int64s) -> tuple[Int64s, Int64s]:
    """The ids that are there, and the offsets of the bags among them."""
    there = ids >= 0
    return ids[there], np.concatenate([[0], np.cumsum(there)])[offsets].astype(np.int64)


def cpu_skip_subjects(bench: CpuBench) -> list[Subject]:
    return [Subject("cpu pooled gather with skips", CPU_FILE, partial(_on_cpu, bench))]


def gpu_skip_subjects(gpu: GpuBench) -> list[Subject]:
    return [Subject("gpu pooled gather with skips", HBM_FILE, partial(_on_gpu, gpu))]


def _on_cpu(bench: CpuBench) -> Iterator[Row]:
    """All cores, rows of 512 B; n_rows is the length of the list with holes."""
    table, threads, whole = bench.table(_DIM), bench.budget.cores, bench.budget.lookups
    kernels.use_threads(threads)
    offsets = np.append(np.arange(0, whole, POOLED), whole)
    staging = bench.staging(len(offsets) - 1, _DIM)
    sets = bench.rows(_DIM, whole)
    plain = Case(_OP, "own, holes", threads, whole, _DIM, "uniform", table.nbytes)
    for share in SHARES:
        holed = punched(sets, share)
        short = [compacted(ids, offsets) for ids in holed]

        def holes(k: int, holed: Any = holed) -> None:
            args = (holed[k % len(holed)], offsets, staging[k % len(staging)])
            pool_with_holes(table, *args, threads)

        def dense(k: int, short: Any = short) -> None:
            args = (*short[k % len(short)], staging[k % len(staging)])
            kernels.pool_rows(table, *args, threads)

        for impl, work in (("own, holes", holes), ("own, compacted", dense)):
            times = milliseconds(work, bench.budget, PAUSE_S)
            yield replace(plain, impl=impl).row(
                times, f"skipped={share:g}", payload=len(short[0][0]) * _DIM * 4
            )


def _on_gpu(gpu: GpuBench) -> Iterator[Row]:
    ops, whole = gpu.ops, gpu.budget.lookups
    table = ops.empty((_GPU_ROWS if ops.overlaps else 10_000, _DIM))
    offsets = np.append(np.arange(0, whole, POOLED), whole)
    sums = ops.empty((len(offsets) - 1, _DIM))
    sets = [draw_rows(len(table), whole, "uniform", seed) for seed in range(2)]
    for share in SHARES:
        holed = punched(sets, share)
        short = [compacted(ids, offsets) for ids in holed]
        lists = {
            "Triton, holes": [(ops.upload(ids), ops.upload(offsets)) for ids in holed],
            "Triton, compacted": [(ops.upload(i), ops.upload(o)) for i, o in short],
        }
        for impl, given in lists.items():
            work = _pooling(gpu, table, given, sums)
            times = gpu.time(work)
            size = len(short[0][0]) * _DIM * 4
            yield {
                "op": _OP, "impl": impl, "dim": _DIM, "n_rows": whole, "dist": "uniform", **times,
                "payload_GBps": size / times["ms"] / 1e6, "note": f"skipped={share:g}",
            }  # fmt: skip


def _pooling(gpu: GpuBench, table: Any, given: list[Any], sums: Any) -> Callable[[int], None]:
    return lambda k: gpu.ops.pool(table, *given[k % len(given)], sums)
