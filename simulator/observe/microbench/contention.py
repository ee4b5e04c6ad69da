"""What copies over the link cost the memories at both ends, and what they keep themselves."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from simulator.observe.accelerator import CudaGpu
from simulator.observe.microbench.cpu import LOOKUPS, POOLED, CpuBench, draw_rows
from simulator.observe.microbench.tables import Row, spread

__all__ = ["measure_contention"]

_PIECE = 1 << 26
"""Bytes of one background copy."""
_DIM = 128
_GPU_TABLE = 20_000_000
_BACKGROUNDS = ("h2d", "d2h", "h2d+d2h")

Work = Callable[[int], object]


class _Copies:
    """Copies that run on streams of their own while something else is timed."""

    def __init__(self, gpu: CudaGpu) -> None:
        self._gpu = gpu
        pieces = [gpu.staging((_PIECE // 4,)) for _ in range(4)]
        self._host = {"h2d": pieces[:2], "d2h": pieces[2:]}
        self._there = {way: gpu.empty((_PIECE // 4,)) for way in ("h2d", "d2h")}

    def start(self, background: str, pieces: int) -> dict[str, tuple[Any, Any]]:
        """Launch `pieces` copies each way; the moments of their begin and end."""
        moments = {}
        for way in background.split("+"):
            with self._gpu.stream(f"copies_{way}"):
                begin = self._gpu.mark()
                for k in range(pieces):
                    host, there = self._host[way][k % 2], self._there[way]
                    target, source = (there, host) if way == "h2d" else (host, there)
                    self._gpu.copy(target, source)
                moments[way] = (begin, self._gpu.mark())
        return moments

    def rates(self, moments: dict[str, tuple[Any, Any]], pieces: int) -> dict[str, float]:
        """GB/s of each direction from its begin to its end."""
        self._gpu.synchronize()
        return {
            f"bg_{way}_GBps": pieces * _PIECE / self._gpu.between_us(*ends) / 1e3
            for way, ends in moments.items()
        }


def measure_contention(gpu: CudaGpu, bench: CpuBench) -> Iterator[Row]:
    """The rows of `contention.csv`."""
    budget = bench.budget
    copies = _Copies(gpu)
    pieces = 10 if budget.quick else 25
    for background in _BACKGROUNDS:
        rates = copies.rates(copies.start(background, pieces), pieces)
        rates = copies.rates(copies.start(background, pieces), pieces)
        yield {"measurement": "m1", "victim": "(none)", "background": background, **rates}
    for name, work, size in _hbm_victims(gpu):
        yield from _victim(gpu, copies, name, work, size, pieces, on_gpu=True)
    for name, work, size in _cpu_victims(bench):
        yield from _victim(gpu, copies, name, work, size, pieces, on_gpu=False)


def _victim(
    gpu: CudaGpu, copies: _Copies, name: str, work: Work, size: int, pieces: int, *, on_gpu: bool
) -> Iterator[Row]:
    """Alone, then beside each background; samples taken only while the copies still run."""
    timed = _on_stream if on_gpu else _on_host
    for _ in range(3):
        timed(gpu, work, 0)
    alone = [timed(gpu, work, k) for k in range(20)]
    middle = float(np.median(alone))
    facts = {"measurement": "m1", "victim": name}
    yield facts | _times(alone, size, middle) | {"background": "none"}
    for background in _BACKGROUNDS:
        samples: list[float] = []
        for _ in range(4):
            moments = copies.start(background, pieces)
            while True:
                spent = timed(gpu, work, len(samples))
                if any(end.query() for _, end in moments.values()):
                    break
                samples.append(spent)
            rates = copies.rates(moments, pieces)
        if samples:
            tail = "the copies' rate includes a tail alone"
            yield facts | _times(samples, size, middle) | rates | {
                "background": background, "note": f"samples={len(samples)}; {tail}",
            }  # fmt: skip


def _times(samples: list[float], size: int, alone: float) -> dict[str, Any]:
    times = spread("ms", samples)
    rate = size / times["ms"] / 1e6
    return times | {"GBps": rate, "alone_ms": alone, "slowdown": times["ms"] / alone}


def _on_host(_gpu: CudaGpu, work: Work, k: int) -> float:
    begin = time.perf_counter()
    work(k)
    return (time.perf_counter() - begin) * 1e3


def _on_stream(gpu: CudaGpu, work: Work, k: int) -> float:
    with gpu.stream("victim"):
        begin = gpu.mark()
        work(k)
        end = gpu.mark()
    end.synchronize()
    return gpu.between_us(begin, end) / 1e3


def _hbm_victims(gpu: CudaGpu) -> Iterator[tuple[str, Work, int]]:
    table = gpu.empty((_GPU_TABLE, _DIM))
    rows = [gpu.upload(draw_rows(_GPU_TABLE, LOOKUPS, "uniform", seed)) for seed in range(3)]
    buffer = gpu.empty((LOOKUPS, _DIM))
    offsets = gpu.upload(np.arange(0, LOOKUPS + 1, POOLED))
    pairs = [gpu.sort(ids, _GPU_TABLE) for ids in rows]
    own = gpu.upload(np.arange(LOOKUPS, dtype=np.int32))
    size = LOOKUPS * _DIM * 4
    label = f"{LOOKUPS}x{_DIM * 4}B"
    yield f"hbm gather {label}", lambda k: gpu.gather(table, rows[k % 3], buffer), size
    yield (
        f"hbm pooled gather {label}",
        lambda k: gpu.pool(table, rows[k % 3], offsets, buffer),
        size,
    )
    yield (
        f"hbm coalesced update {label}",
        lambda k: gpu.update(table, pairs[k % 3], own, buffer, 1e-3),
        size,
    )
    a, b = gpu.empty((1 << 28,)), gpu.empty((1 << 28,))
    yield "hbm stream copy 1 GB", lambda _: b.copy_(a), 1 << 30


def _cpu_victims(bench: CpuBench) -> Iterator[tuple[str, Work, int]]:
    sets = bench.rows(_DIM, LOOKUPS)
    size = LOOKUPS * _DIM * 4
    label = f"{LOOKUPS}x{_DIM * 4}B"
    budget = bench.budget
    some = [t for t in budget.threads if t >= 4] or [budget.cores]
    for threads in some:
        for name, op, bytes_ in (
            (f"cpu gather {label} {threads}t", "gather", size),
            (f"cpu scatter {label} {threads}t", "scatter", size),
            (f"cpu gather+scatter 2x{label} {threads}t", "gather+scatter", 2 * size),
            (f"cpu pooled gather {threads}t", "pooled", size),
        ):
            yield name, bench.operator(op, _DIM, threads, sets), bytes_
