"""Points of a sweep a second where all share one replay, and what each of them costs.

    python benchmarks/points.py [--points 1000] [--system scratchpipe] [--batches 50]

A sweep of one platform constant over one replay: points a second with and without the replay, peak
memory, and where the time of a point goes. Beside it the events of one point in SimPy and compiled,
and its prices mini-batch by mini-batch and all together, in turns, so that both see the same load
of the machine; seconds are those of the processor.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable, Iterator, Sequence
from statistics import median
from typing import TypeVar

from simulator.config.expand import expand
from simulator.config.point import PointConfig
from simulator.engine import parse_experiment, pricing, timer
from simulator.engine.points import simulate_each
from simulator.engine.running import run_compiled, run_in_simpy
from simulator.engine.together import Groups, divided, one_by_one
from simulator.results.rows import Row

KEY = "platform.host.cpu.memory_latency"
TURNS = 7
TIMES = ("wall_memory_s", "wall_events_s")
T = TypeVar("T")


def sweep(count: int, system: str, batches: int) -> tuple[PointConfig, ...]:
    """Points of one replay whose CPU waits longer and longer for its memory."""
    values = [f"{60_000 + 50 * number} ps" for number in range(count)]
    data = {
        "config_version": 1,
        "platform": "v100_p3",
        "model": "default",
        "trace": {"kind": "locality", "locality": "medium"},
        "systems": [system],
        "run": {"batches": batches, "warmup_batches": 10},
        "sweep": {KEY: values},
    }
    return expand(parse_experiment(data))


def metrics(points: Sequence[PointConfig]) -> Iterator[Row]:
    """Of each point as soon as it is timed, nothing else of it kept; the first error is raised."""
    for _, outcome in simulate_each(points):
        if isinstance(outcome, Exception):
            raise outcome
        yield outcome.metrics


def prices(point: PointConfig) -> tuple[float, float]:
    """Milliseconds of processor that the prices of a point take mini-batch by mini-batch, and all
    together."""
    calls: list[tuple[Groups, Callable[[Groups], object]]] = []

    def noted(groups: Groups, compute: Callable[[Groups], T]) -> tuple[Groups, T]:
        calls.append((groups, compute))
        return divided(groups, compute)

    pricing.divided = noted  # type: ignore[assignment]
    list(metrics([point]))
    pricing.divided = divided
    groups, compute = calls[-1]
    alone = one_by_one(sorted(int(place) for group in groups for place in group))
    took: dict[int, list[float]] = {len(alone): [], len(groups): []}
    for _ in range(TURNS):
        for tried in (alone, groups):
            begin = time.process_time()
            divided(tried, compute)
            took[len(tried)].append(1e3 * (time.process_time() - begin))
    return median(took[len(alone)]), median(took[len(groups)])


def events(point: PointConfig) -> tuple[float, float]:
    """Milliseconds that the stages of a point take in SimPy, and compiled."""
    calls: list[tuple[object, ...]] = []
    run_stages = timer.run_stages

    def noted(*arguments: object, **options: object) -> object:
        calls.append(arguments)
        return run_stages(*arguments, **options)  # type: ignore[arg-type]

    timer.run_stages = noted  # type: ignore[assignment]
    list(metrics([point]))
    timer.run_stages = run_stages
    (arguments,) = calls
    took: dict[Callable[..., object], list[float]] = {run_in_simpy: [], run_compiled: []}
    for _ in range(TURNS):
        for run, times in took.items():
            begin = time.process_time()
            run(*arguments)
            times.append(1e3 * (time.process_time() - begin))
    return median(took[run_in_simpy]), median(took[run_compiled])


def main() -> None:
    """Print the figures of `docs/speed.md`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=1000)
    parser.add_argument("--system", default="scratchpipe")
    parser.add_argument("--batches", type=int, default=50)
    told = parser.parse_args()
    begin = time.perf_counter()
    points = sweep(told.points, told.system, told.batches)
    resolved = time.perf_counter() - begin
    simpy_ms, compiled_ms = events(points[0])
    alone_ms, together_ms = prices(points[0])
    begin = time.perf_counter()
    rows = metrics(points)
    first = next(rows)
    replay, spent = time.perf_counter() - begin, time.process_time()
    found = [first, *({name: row[name] for name in TIMES} for row in rows)]
    wall, spent = time.perf_counter() - begin, time.process_time() - spent
    priced, timed = (1e3 * median(row[name] for row in found) for name in TIMES)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{len(points)} points of {told.system}, {told.batches} timed mini-batches, one replay")
    print(f"resolving {1e3 * resolved / len(points):.1f} ms a point")
    others = max(1, len(points) - 1)
    print(f"simulating {wall:.1f} s, {replay:.1f} s of it the replay and the first point")
    print(
        f"{others / (wall - replay):.0f} points/s after that, each {1e3 * spent / others:.1f} ms "
        f"of processor: {others / spent:.0f} points a second of one"
    )
    print(f"a point: prices {priced:.1f} ms, events {timed:.1f} ms; peak memory {peak:.2f} GiB")
    print(f"prices of a point: one by one {alone_ms:.1f} ms, together {together_ms:.1f} ms of")
    print(f"processor, ratio {alone_ms / together_ms:.1f}")
    print(
        f"events of a point: SimPy {simpy_ms:.1f} ms, compiled {compiled_ms:.1f} ms of processor,"
    )
    print(f"ratio {simpy_ms / compiled_ms:.1f}")


if __name__ == "__main__":
    main()
