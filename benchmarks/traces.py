"""How fast traces are drawn, described and read: `python benchmarks/traces.py`, one core.

Prints a table of million ids a second (best of some repeats, compilation not counted): whole
mini-batches of 8 tables of 10 M rows, 20 lookups, 2048 samples, unless said otherwise.

`python benchmarks/traces.py --stack` prints instead how far the `stack` generator is from each
data set that comes along: the largest error of the LRU hit rate and of the popularity at 2 to 10 %,
in points, as large as the data set and eight times as large.
"""

from __future__ import annotations

import sys
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
from simulator.traces.arrange import FITTED_FRACTIONS
from simulator.traces.curves import read_distances, read_popularity, shipped
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


def stack_errors(name: str, scale: int) -> tuple[float, float]:
    """(LRU, popularity) errors in points over one lap of a trace `scale` times the data set."""
    curve, distances = read_popularity(name), read_distances(name)
    rows, lap = scale * curve.ids, scale * curve.accesses
    trace = open_trace(
        StackTraceConfig(curve=name, tolerance=1.0),
        rows=(rows,),
        lookups=(1,),
        batch_size=lap,
        seed=0,
    )
    ids = trace.minibatch(0).ids[0]
    histogram = np.zeros(rows + 1)
    counted = stack_histogram(ids)[0]
    histogram[: len(counted)] -= counted
    if scale == 1:  # with the cold misses of the data set
        histogram *= -1
    else:  # scaled traces have no beginning: the second lap
        both = stack_histogram(np.append(ids, trace.minibatch(1).ids[0]))[0]
        histogram[: len(both)] += both
    fractions = np.array(FITTED_FRACTIONS)
    sizes, every = fractions * rows, np.arange(rows + 1)
    rate = np.interp(sizes, every, np.cumsum(histogram)) / lap
    counts = np.sort(np.bincount(ids, minlength=rows))[::-1]
    share = np.interp(sizes, every, np.append(0, np.cumsum(counts))) / lap
    real = np.interp(fractions, np.append(0, curve.fraction), np.append(0, curve.share))
    errors = rate - distances.hit_rate(fractions), share - real
    return 100 * float(np.abs(errors[0]).max()), 100 * float(np.abs(errors[1]).max())


def stack_table() -> None:
    with shipped("stack_distance_hist.csv").open() as lines:
        names = dict.fromkeys(line.split(",")[0] for line in list(lines)[1:])
    for name in names:
        (lru, hot), (lru8, hot8) = stack_errors(name, 1), stack_errors(name, 8)
        print(f"{name:44} LRU {lru:4.2f}, 8x {lru8:4.2f}; popularity {hot:4.2f}, 8x {hot8:4.2f}")


def main() -> None:
    if "--stack" in sys.argv[1:]:
        stack_table()
        return
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
