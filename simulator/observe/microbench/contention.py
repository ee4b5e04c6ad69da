"""What copies over the link cost the memories at both ends, and what they keep themselves."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from simulator.observe.accelerator import CpuTensors
from simulator.observe.microbench.cpu_bench import POOLED, CpuBench, Work, draw_rows
from simulator.observe.microbench.device import GpuBench
from simulator.observe.microbench.tables import Row, Subject, spread

__all__ = ["PIECE", "Victim", "contention_subjects", "cpu_victims", "on_host"]

_FILE = "contention.csv"

PIECE = 1 << 26
"""Bytes of one background copy."""
_DIM = 128
_GPU_TABLE = 20_000_000
_STREAM = 1 << 30
_BACKGROUNDS = ("h2d", "d2h", "h2d+d2h")


class _Copies:
    """Copies that run on streams of their own while something else is timed."""

    def __init__(self, gpu: CpuTensors) -> None:
        self._gpu = gpu
        pieces = [gpu.staging((PIECE // 4,)) for _ in range(4)]
        self._host = {"h2d": pieces[:2], "d2h": pieces[2:]}
        self._there = {way: gpu.empty((PIECE // 4,)) for way in ("h2d", "d2h")}

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
            f"bg_{way}_GBps": pieces * PIECE / self._gpu.between_us(*ends) / 1e3
            for way, ends in moments.items()
        }


def contention_subjects(gpu: GpuBench, bench: CpuBench) -> list[Subject]:
    """The subjects of `contention.csv`."""
    budget = bench.budget
    pieces = 10 if budget.quick else 25
    copies = partial(_Copies, gpu.ops)
    some = [t for t in budget.threads if t >= 4] or [budget.cores]

    def on_gpu() -> Iterator[Row]:
        held = copies()
        for victim in _hbm_victims(gpu.ops, budget.lookups):
            yield from _victim(gpu.ops, held, victim, pieces, timed=_on_stream)

    def on_cpu() -> Iterator[Row]:
        held = copies()
        for victim in cpu_victims(bench, some):
            yield from _victim(gpu.ops, held, victim, pieces, timed=lambda _, *work: on_host(*work))

    return [
        Subject("copies as a background", _FILE, lambda: _alone(copies(), pieces)),
        Subject("gpu beside copies", _FILE, on_gpu),
        Subject("cpu beside copies", _FILE, on_cpu),
    ]


def _alone(copies: _Copies, pieces: int) -> Iterator[Row]:
    for background in _BACKGROUNDS:
        copies.rates(copies.start(background, pieces), pieces)
        rates = copies.rates(copies.start(background, pieces), pieces)
        yield {"measurement": "m1", "victim": "(none)", "background": background, **rates}


def _victim(
    gpu: CpuTensors,
    copies: _Copies,
    victim: Victim,
    pieces: int,
    timed: Callable[[CpuTensors, Work, int], float],
) -> Iterator[Row]:
    """Alone, then beside each background; samples taken only while the copies still run."""
    work, size = victim.work, victim.size
    for _ in range(3):
        timed(gpu, work, 0)
    alone = [timed(gpu, work, k) for k in range(20)]
    middle = float(np.median(alone))
    facts = {"measurement": "m1", "victim": victim.name}
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


def on_host(work: Work, k: int) -> float:
    """Milliseconds of the host's clock."""
    begin = time.perf_counter()
    work(k)
    return (time.perf_counter() - begin) * 1e3


def _on_stream(gpu: CpuTensors, work: Work, k: int) -> float:
    with gpu.stream("victim"):
        begin = gpu.mark()
        work(k)
        end = gpu.mark()
    end.synchronize()
    return gpu.between_us(begin, end) / 1e3


def _hbm_victims(gpu: CpuTensors, lookups: int) -> Iterator[Victim]:
    table = gpu.empty((_GPU_TABLE, _DIM))
    rows = [gpu.upload(draw_rows(_GPU_TABLE, lookups, "uniform", seed)) for seed in range(3)]
    buffer = gpu.empty((lookups, _DIM))
    offsets = gpu.upload(np.arange(0, lookups + 1, POOLED))
    pairs = [gpu.sort(ids, _GPU_TABLE) for ids in rows]
    own = gpu.upload(np.arange(lookups, dtype=np.int32))
    size = lookups * _DIM * 4
    label = f"{lookups}x{_DIM * 4}B"
    works: dict[str, Work] = {
        "hbm gather": lambda k: gpu.gather(table, rows[k % 3], buffer),
        "hbm pooled gather": lambda k: gpu.pool(table, rows[k % 3], offsets, buffer),
        "hbm coalesced update": lambda k: gpu.update(table, pairs[k % 3], own, buffer, 1e-3),
    }
    for name, work in works.items():
        yield Victim(f"{name} {label}", work, size)
    a, b = gpu.empty((_STREAM // 4,)), gpu.empty((_STREAM // 4,))
    yield Victim("hbm stream copy 1 GB", lambda _: b.copy_(a), _STREAM)


@dataclass(frozen=True)
class Victim:
    """What is slowed down: its name in the file, what it does, the bytes of its rows."""

    name: str
    work: Work
    size: int
    threads: int = 0


def cpu_victims(bench: CpuBench, threads: Iterable[int]) -> Iterator[Victim]:
    """Gather, scatter, both at once and pooled gather, on each number of threads."""
    lookups = bench.budget.lookups
    sets = bench.rows(_DIM, lookups)
    size = lookups * _DIM * 4
    label = f"{lookups}x{_DIM * 4}B"
    for count in threads:
        for name, op, bytes_ in (
            (f"cpu gather {label} {count}t", "gather", size),
            (f"cpu scatter {label} {count}t", "scatter", size),
            (f"cpu gather+scatter 2x{label} {count}t", "gather+scatter", 2 * size),
            (f"cpu pooled gather {count}t", "pooled", size),
        ):
            yield Victim(name, bench.operator(op, _DIM, count, sets), bytes_, count)
