"""Hits of the processors' own caches: the CPU's last-level cache and the GPU's L2.

Counted exactly (LRU over rows, warmed with the mini-batch before) on some mini-batches; the others
get their mean share. Only streams of lookups repeat rows within a mini-batch; streams of unique
rows are taken to miss.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from simulator.caches import row_hits
from simulator.systems.base import BatchCounts, MovedRows, Rows

__all__ = ["with_hit_shares"]

_NOTHING: Rows = np.empty(0, np.int64)


def with_hit_shares(
    counts: Sequence[BatchCounts],
    *,
    samples: frozenset[int],
    cpu_cache_rows: int,
    gpu_cache_rows: int,
    keep_rows: bool,
) -> list[BatchCounts]:
    """`counts` with `cpu_hit_share` and `gpu_hit_share`.

    `samples`: mini-batches that keep their rows and are counted. `keep_rows`: leave the rows of
    the samples in, lookups without those that hit; else no rows are left.
    """
    counted: dict[int, BatchCounts] = {}
    before = MovedRows()
    for batch in counts:
        if batch.index in samples:
            counted[batch.index] = _counted(batch, before, cpu_cache_rows, gpu_cache_rows)
        before = batch.moved
    cpu, gpu = (_mean(counted, name) for name in ("cpu_hit_share", "gpu_hit_share"))
    result = []
    for batch in counts:
        one = counted.get(batch.index)
        if one is None:
            one = dataclasses.replace(batch, cpu_hit_share=cpu, gpu_hit_share=gpu)
        if not (keep_rows and batch.index in samples):
            one = dataclasses.replace(one, moved=MovedRows())
        result.append(one)
    return result


def _mean(counted: dict[int, BatchCounts], name: str) -> float:
    return float(np.mean([getattr(one, name) for one in counted.values()])) if counted else 0.0


def _counted(
    batch: BatchCounts, before: MovedRows, cpu_cache_rows: int, gpu_cache_rows: int
) -> BatchCounts:
    moved = batch.moved
    cpu = _hits(before.cpu_lookups, moved.cpu_lookups, cpu_cache_rows)
    gpu = _hits(before.gpu_lookups, moved.gpu_lookups, gpu_cache_rows)
    return dataclasses.replace(
        batch,
        cpu_hit_share=float(cpu.mean()) if len(cpu) else 0.0,
        gpu_hit_share=float(gpu.mean()) if len(gpu) else 0.0,
        moved=dataclasses.replace(
            moved,
            cpu_lookups=None if moved.cpu_lookups is None else moved.cpu_lookups[~cpu],
            gpu_lookups=None if moved.gpu_lookups is None else moved.gpu_lookups[~gpu],
        ),
    )


def _hits(before: Rows | None, lookups: Rows | None, capacity: int) -> npt.NDArray[np.bool_]:
    if lookups is None:
        return np.empty(0, np.bool_)
    return row_hits(_NOTHING if before is None else before, lookups, capacity)
