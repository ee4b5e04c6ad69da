"""Points of a sweep a second where all share one replay, and what each of them costs.

    python benchmarks/points.py [--points 1000] [--system scratchpipe] [--batches 50]

A sweep of one platform constant over one replay: points a second with and without the replay, peak
memory, and where the time of a point goes. Beside it the events of one point in SimPy and compiled,
in turns, so that both see the same load of the machine; seconds are those of the processor.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable, Sequence
from statistics import median

from simulator.config.expand import expand
from simulator.config.experiment import PointConfig
from simulator.engine import parse_experiment, timer
from simulator.engine.points import simulate_each
from simulator.engine.running import run_compiled, run_in_simpy
from simulator.results.record import PointResult

KEY = "platform.host.cpu.memory_latency"
TURNS = 7


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


def results(points: Sequence[PointConfig]) -> list[PointResult]:
    """All of them; the first error is raised."""
    found = []
    for _, outcome in simulate_each(points):
        if isinstance(outcome, Exception):
            raise outcome
        found.append(outcome)
    return found


def events(point: PointConfig) -> tuple[float, float]:
    """Milliseconds that the stages of a point take in SimPy, and compiled."""
    calls: list[tuple[object, ...]] = []
    run_stages = timer.run_stages

    def noted(*arguments: object, **options: object) -> object:
        calls.append(arguments)
        return run_stages(*arguments, **options)  # type: ignore[arg-type]

    timer.run_stages = noted  # type: ignore[assignment]
    results([point])
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
    begin, spent = time.perf_counter(), time.process_time()
    found = results(points)
    wall, spent = time.perf_counter() - begin, time.process_time() - spent
    first = found[0].metrics
    replay = first["wall_draw_s"] + first["wall_plan_s"]
    prices, timed = (
        1e3 * median(result.metrics[name] for result in found)
        for name in ("wall_memory_s", "wall_events_s")
    )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{len(points)} points of {told.system}, {told.batches} timed mini-batches, one replay")
    print(f"resolving {1e3 * resolved / len(points):.1f} ms a point")
    print(f"simulating {wall:.1f} s ({spent:.1f} s of processor), {replay:.1f} s of it the replay")
    print(
        f"{len(points) / wall:.0f} points/s, {len(points) / (wall - replay):.0f} after the replay"
    )
    print(f"a point: prices {prices:.1f} ms, events {timed:.1f} ms; peak memory {peak:.2f} GiB")
    print(
        f"events of a point: SimPy {simpy_ms:.1f} ms, compiled {compiled_ms:.1f} ms of processor,"
    )
    print(f"ratio {simpy_ms / compiled_ms:.1f}")


if __name__ == "__main__":
    main()
