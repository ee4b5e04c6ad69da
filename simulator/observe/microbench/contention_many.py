"""What copies of several GPUs cost the CPU's operators, and what they keep themselves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np

from simulator.observe.microbench.contention import PIECE, Victim, cpu_victims, on_host
from simulator.observe.microbench.cpu_bench import CpuBench
from simulator.observe.microbench.device import GpuBench
from simulator.observe.microbench.links import HostLanes, Lane, wait_for_all
from simulator.observe.microbench.tables import Row, Subject, spread

__all__ = ["many_subjects"]

_FILE = "contention_2gpu.csv"
_WAYS = ("h2d", "d2h", "h2d+d2h")
_ROUNDS = 3


def many_subjects(gpu: GpuBench, bench: CpuBench) -> list[Subject]:
    """The subject of `contention_2gpu.csv`; two GPUs at least."""
    return [Subject("cpu beside copies of several GPUs", _FILE, partial(_all, gpu, bench))]


def _all(gpu: GpuBench, bench: CpuBench) -> Iterator[Row]:
    numbers = list(range(gpu.torch.cuda.device_count()))
    lanes = HostLanes(gpu, numbers, PIECE)
    backgrounds = [
        (f"{way} gpu{'+'.join(map(str, gpus))}", len(gpus), lanes.of(way, gpus))
        for gpus in ([0], numbers)
        for way in _WAYS
    ]
    pieces = 10 if bench.budget.quick else 25
    for name, gpus, some in backgrounds:
        _rates(gpu, some, pieces, _start(some, pieces))
        rates = _rates(gpu, some, pieces, _start(some, pieces))
        yield _facts("(none)", name, gpus) | rates
    for victim in cpu_victims(bench, _threads(bench)):
        yield from _victim(gpu, victim, backgrounds, pieces)


def _threads(bench: CpuBench) -> list[int]:
    """All cores, half and a quarter of them."""
    cores = bench.budget.cores
    return sorted({max(1, cores // k) for k in ((1,) if bench.budget.quick else (1, 2, 4))})


def _facts(victim: str, background: str, gpus: int) -> dict[str, object]:
    return {"session": "m1", "victim": victim, "background": background, "dma_gpus": gpus}


def _start(lanes: Sequence[Lane], pieces: int) -> list[tuple[object, object]]:
    return [lane.start(PIECE, pieces) for lane in lanes]


def _rates(
    gpu: GpuBench, lanes: Sequence[Lane], pieces: int, moments: Sequence[tuple[object, object]]
) -> dict[str, float]:
    """GB/s of each direction, summed over the GPUs; waits for the copies."""
    wait_for_all(gpu, lanes)
    rates: dict[str, float] = {}
    for lane, ends in zip(lanes, moments, strict=True):
        column = "bg_h2d_GBps" if lane.from_host else "bg_d2h_GBps"
        rate = pieces * PIECE / gpu.ops.between_us(*ends) / 1e3
        rates[column] = rates.get(column, 0.0) + rate
    return rates | {"bg_sum_GBps": sum(rates.values())}


def _victim(
    gpu: GpuBench,
    victim: Victim,
    backgrounds: Sequence[tuple[str, int, Sequence[Lane]]],
    pieces: int,
) -> Iterator[Row]:
    """Alone, then beside each background; samples taken only while all copies still run."""
    name, work, size, threads = victim.name, victim.work, victim.size, victim.threads
    for k in range(3):
        on_host(work, k)
    alone = [on_host(work, k) for k in range(20)]
    middle = float(np.median(alone))

    def row(samples: list[float], background: str, gpus: int) -> dict[str, object]:
        times = spread("ms", samples)
        return _facts(name, background, gpus) | times | {
            "threads": threads, "GBps": size / times["ms"] / 1e6, "alone_ms": middle,
            "slowdown": times["ms"] / middle,
            "note": f"samples={len(samples)}; bg_* summed over the GPUs, including a tail alone",
        }  # fmt: skip

    yield row(alone, "none", 0)
    for background, gpus, lanes in backgrounds:
        samples: list[float] = []
        rates: dict[str, float] = {}
        for _ in range(_ROUNDS):
            moments = _start(lanes, pieces)
            while True:
                spent = on_host(work, len(samples))
                if any(end.query() for _, end in moments):  # type: ignore[attr-defined]
                    break
                samples.append(spent)
            rates = _rates(gpu, lanes, pieces, moments)
        if samples:
            yield row(samples, background, gpus) | rates
