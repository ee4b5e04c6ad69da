"""How fast traces are drawn, described and read: `python benchmarks/traces.py`, one core.

Prints a table of million ids a second (best of some repeats, compilation not counted): whole
mini-batches of 8 tables of 10 M rows, 20 lookups, 2048 samples, unless said otherwise.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from simulator.config.trace import (
    CurveTraceConfig,
    DriftTraceConfig,
    SessionTraceConfig,
    StackTraceConfig,
    UniformTraceConfig,
    ZipfTraceConfig,
)
from simulator.traces import open_trace, stream_ids
from simulator.traces.pieces import Column
from simulator.traces.reuse import stack_histogram
from simulator.traces.writing import write_columns

KINDS = {
    "uniform": UniformTraceConfig(),
    "zipf 0.37": ZipfTraceConfig(alpha=0.37),
    "zipf 0.8": ZipfTraceConfig(alpha=0.8),
    "zipf 0.9": ZipfTraceConfig(alpha=0.9),
    "zipf 1.05": ZipfTraceConfig(alpha=1.05),
    "zipf 0.9, correlation 0.5": ZipfTraceConfig(alpha=0.9, correlation=0.5),
    "zipf 0.9, Poisson pooling": ZipfTraceConfig(alpha=0.9, pooling="poisson"),
    "curve": CurveTraceConfig(curve="session_retailrocket_items"),
    "drift": DriftTraceConfig(alpha=0.9, hot_fraction=0.01, replaced=0.1, period_batches=3),
    "session": SessionTraceConfig(alpha=0.9, repeat=0.5, length=8.0, concurrent=4096),
    "stack": StackTraceConfig(curve="session_retailrocket_items"),
}


def best(work: Callable[[int], object], repeats: int = 7) -> float:
    """Least seconds of some runs of `work`, each with another number."""
    work(0)
    times = []
    for repeat in range(1, repeats + 1):
        start = time.perf_counter()
        work(repeat)
        times.append(time.perf_counter() - start)
    return min(times)


def report(name: str, ids: int, seconds: float) -> None:
    print(f"{name:32} {ids / seconds / 1e6:8.1f} M ids/s")


def main() -> None:
    for name, config in KINDS.items():
        start = time.perf_counter()
        trace = open_trace(
            config, rows=(10_000_000,) * 8, lookups=(20,) * 8, batch_size=2048, seed=0
        )
        opened = time.perf_counter() - start
        report(f"{name} (opens in {opened:.2f} s)", 8 * 20 * 2048, best(trace.minibatch))
    ids = open_trace(
        KINDS["zipf 0.9"], rows=(10_000_000,), lookups=(20,), batch_size=50_000, seed=0
    )
    million = ids.minibatch(0).ids[0]
    report(
        "stack distances, 1 M of zipf 0.9", len(million), best(lambda _: stack_histogram(million))
    )
    with tempfile.TemporaryDirectory() as folder:
        long = np.tile(million, 10)
        for format in ("npy", "npz", "parquet", "oracle"):
            path = Path(folder) / f"trace.{format}"
            write_columns(path, format, [Column("x", long)])
            seconds = best(lambda _, p=path, f=format: sum(map(len, stream_ids(p, format=f))), 3)  # type: ignore[misc]
            report(f"read and check {format}", len(long), seconds)


if __name__ == "__main__":
    main()
