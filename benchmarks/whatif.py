"""What variations of one point cost beside the point: `python benchmarks/whatif.py`.

The default model on the server of the study, locality medium, a cache of 10 %, 10 warm-up and 50
timed mini-batches. Wall-clock and processor time, once compiled: the point alone, then with all of
its levers (faster, free, slower), then with `--pair` too.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from simulator.config.expand import expand
from simulator.config.point import PointConfig
from simulator.engine import parse_experiment, simulate_points
from simulator.engine.levers import levers_of
from simulator.engine.whatif import what_if

SYSTEMS = ("hybrid", "scratchpipe")
FACTOR = 2.0
_MANY = 40
"""Variations by which the demand counts: they may cost twice the point."""


def point_of(system: str) -> PointConfig:
    """The point that is varied."""
    data = {
        "config_version": 1,
        "platform": "v100_p3",
        "model": "default",
        "trace": {"locality": "medium"},
        "systems": [system],
        "run": {"batches": 50, "warmup_batches": 10},
    }
    (point,) = expand(parse_experiment(data))
    return point


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Wall-clock and processor seconds of `work`."""
    wall, own = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - own


def main() -> None:
    """Print a row a system."""
    print(
        "system, variations: point s (processor), all s (processor), with pair; "
        f"ratios (processor): all, with pair, of {_MANY}"
    )
    for system in SYSTEMS:
        point = point_of(system)
        list(what_if([point], FACTOR, pair=True))  # compiles
        simulate_points([point])
        alone = timed(lambda point=point: simulate_points([point]))
        every = timed(lambda point=point: list(what_if([point], FACTOR)))
        both = timed(lambda point=point: list(what_if([point], FACTOR, pair=True)))
        told = [f"{wall:.2f} s ({own:.2f})" for wall, own in (alone, every, both)]
        ratios = [f"{each[1] / alone[1]:.2f}" for each in (every, both)]
        count = 3 * len(levers_of(point))
        ratios.append(f"{1 + (every[1] / alone[1] - 1) * _MANY / count:.2f} for {_MANY}")
        print(f"{system}, {count} variations: {', '.join(told)}; processor {', '.join(ratios)}")


if __name__ == "__main__":
    main()
