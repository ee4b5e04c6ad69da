"""Speed of the cache replay, measured side by side: `python benchmarks/caches.py [LOOKUPS]`.

Per lookup: against libcachesim 0.3.5 (C) in the same process, on Zipf(0.9) ids over 10 M rows with
a cache of 6 % of the rows; the hits must be equal. Per batch: the default model (8 tables of 10 M
rows, 2048 samples of 20 lookups, window (3, 2), a cache of 10 %), steady state, on one thread and
on two. Only ratios travel from one machine to another; all figures are the best of several runs.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

import numpy as np
import numpy.typing as npt

from simulator.caches import Window, build_planners, plan_batches
from simulator.caches.per_lookup.base import next_positions, replay_lookups
from simulator.traces.base import MiniBatch

Int64s = npt.NDArray[np.int64]

ROWS = 10_000_000
CAPACITY = 600_000
THEIRS = {
    "lru": ("LRU", 8),
    "fifo": ("FIFO", 8),
    "belady": ("Belady", 8),
    "lfu": ("LFU", 4),
    "clock": ("Clock", None),
    "sieve": ("Sieve", None),
    "s3fifo": ("S3FIFO", None),
    "arc": ("ARC", None),
    "2q": ("TwoQ", None),
}
RECORD = np.dtype([("time", "<u4"), ("id", "<u8"), ("size", "<u4"), ("next", "<i8")])


def zipf(rng: np.random.Generator, count: int, alpha: float) -> Int64s:
    """Ids by a continuous approximation of Zipf, ranks spread over the rows by a bijection."""
    if alpha == 0:
        return rng.integers(0, ROWS, count)
    power = 1 - alpha
    ranks = ((rng.random(count) * ((ROWS + 1) ** power - 1) + 1) ** (1 / power)).astype(np.int64)
    return np.asarray((np.minimum(ranks - 1, ROWS - 1) * 7919 + 13) % ROWS)


def best(run: Callable[[], float], times: int) -> float:
    return min(run() for _ in range(times))


def per_lookup(lookups: int) -> None:
    import libcachesim

    ids = zipf(np.random.default_rng(0), lookups, 0.9)
    capacity = max(100, CAPACITY * lookups // 20_000_000)
    records = np.zeros(lookups, dtype=RECORD)
    records["time"], records["id"], records["size"] = np.arange(lookups), ids, 1
    later = next_positions([ids], ROWS)[0]
    records["next"] = np.where(later < 0, -1, later + 1)
    print(f"{lookups:,} lookups, Zipf(0.9), {ROWS:,} rows, {capacity:,} slots")
    print(f"{'policy':8} {'libcachesim':>12} {'here':>12} {'ratio':>7} {'goal':>5}  hits")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.oracleGeneral.bin"
        records.tofile(path)
        for policy, (name, goal) in THEIRS.items():
            kind = libcachesim.TraceType.ORACLE_GENERAL_TRACE
            options = libcachesim.ReaderInitParam(ignore_obj_size=True)
            reader = libcachesim.TraceReader(str(path), kind, options)
            cache = getattr(libcachesim, name)(cache_size=capacity)
            start = perf_counter()
            miss_ratio, _ = cache.process_trace(reader)
            theirs = lookups / (perf_counter() - start) / 1e6
            del cache
            replay_lookups(policy, ids[:5000], 100, ROWS)
            misses = 0

            def run(policy: str = policy) -> float:
                nonlocal misses
                start = perf_counter()
                misses = replay_lookups(policy, ids, capacity, ROWS).misses
                return perf_counter() - start

            ours = lookups / best(run, 3) / 1e6
            equal = "equal" if misses == round(miss_ratio * lookups) else "DIFFERENT"
            print(
                f"{policy:8} {theirs:9.1f} M/s {ours:9.1f} M/s {ours / theirs:6.1f}x "
                f"{f'{goal}x' if goal else '':>5}  {equal}"
            )


def per_batch(alpha: float, policy: str, threads: int) -> None:
    rng = np.random.default_rng(1)
    tables, lookups, window = 8, 40_960, Window(3, 2)
    hottest = zipf_rank_rows(ROWS // 10)
    planners = build_planners(
        policy,
        [ROWS] * tables,
        [ROWS // 10] * tables,
        window,
        hottest=[hottest] * tables,
        preload=[hottest] * tables,
    )
    speeds = []
    for _ in range(4):
        batches = [
            MiniBatch(i, tuple(zipf(rng, lookups, alpha) for _ in range(tables)), ())
            for i in range(25)
        ]
        start = perf_counter()
        for _ in plan_batches(batches, planners, window, threads=threads):
            pass
        speeds.append(25 * tables * lookups / (perf_counter() - start))
    fastest = max(speeds[1:])
    print(
        f"{policy:10} Zipf({alpha}) {threads} thread(s): {fastest / 1e6:6.1f} M lookups/s, "
        f"{tables * lookups / fastest * 1e3:6.1f} ms a batch"
    )


def zipf_rank_rows(count: int) -> Int64s:
    """Rows of the `count` lowest ranks."""
    return np.asarray((np.arange(count) * 7919 + 13) % ROWS)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("lookups", type=int, nargs="?", default=20_000_000)
    per_lookup(parser.parse_args().lookups)
    for policy in ("lru", "lfu", "fifo", "random", "clock", "static_hot", "belady"):
        for alpha in (0, 0.9):
            for threads in (1, 2) if policy == "lru" else (1,):
                per_batch(alpha, policy, threads)


if __name__ == "__main__":
    main()
