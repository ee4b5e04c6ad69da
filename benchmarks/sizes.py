"""What a sweep of eight cache sizes costs: one pass that shares the trace, or eight of their own.

    python benchmarks/sizes.py

Default model, LRU, caches of 3 to 10 %, both cores. Milliseconds a mini-batch for all eight sizes
together, after 15 mini-batches, wall-clock and processor time. About 7 GB of memory.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from simulator.caches import Window
from simulator.caches.replays import PlannedReplay, Stream, run_replays
from simulator.config.trace import UniformTraceConfig, ZipfTraceConfig
from simulator.traces import Trace, open_trace

ROWS = 10_000_000
BATCHES, SETTLED = 60, 15


def replay_ms(trace: Trace, replays: Sequence[PlannedReplay]) -> tuple[float, float]:
    """(wall-clock, processor) milliseconds a mini-batch."""
    marks = {}

    def note(done: int) -> None:
        marks[done] = time.perf_counter(), time.process_time()

    run_replays(Stream(trace, BATCHES), replays, threads=2, progress=note)
    wall, cpu = (b - a for a, b in zip(marks[SETTLED], marks[BATCHES], strict=True))
    return wall / (BATCHES - SETTLED) * 1e3, cpu / (BATCHES - SETTLED) * 1e3


def main() -> None:
    replays = [
        PlannedReplay((percent * ROWS // 100,) * 8, "lru", window=Window(3, 2), prefill="steady")
        for percent in range(3, 11)
    ]
    traces = {"uniform": UniformTraceConfig()}
    traces |= {f"Zipf({alpha})": ZipfTraceConfig(alpha=alpha) for alpha in (0.9, 1.05)}
    for name, config in traces.items():
        trace = open_trace(
            config, rows=(ROWS,) * 8, lookups=(20,) * 8, batch_size=2048, seed=0, threads=2
        )
        alone = [replay_ms(trace, [replay]) for replay in replays]
        together = replay_ms(trace, replays)
        wall, cpu = (sum(column) for column in zip(*alone, strict=True))
        print(
            f"{name:10} together {together[0]:5.1f} ms wall-clock, {together[1]:5.1f} processor; "
            f"one by one {wall:5.1f} and {cpu:5.1f}"
        )


if __name__ == "__main__":
    main()
