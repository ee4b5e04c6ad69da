"""Is the simulator faster than the machine it models?

    python benchmarks/realtime.py [--batches N] [--warmup N]

ScratchPipe on the study's V100 server, default model, four localities, cache 10 % and 2 % (grown
where the window does not fit). Prints simulated over wall-clock time of each point, and where the
wall-clock time goes. Garbage and freed memory are treated as in the sweep of a `scratchpipe run`.
Kernels are compiled before, by a short run.
"""

from __future__ import annotations

import argparse
from itertools import product
from typing import Any

from simulator._garbage import collect_seldom
from simulator._heap import keep_heap
from simulator.caches.plan.arrays import pages_kept
from simulator.engine import parse_experiment, simulate
from simulator.engine.beside import compile_events

PARTS = ("draw", "plan", "memory", "events")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batches", type=int, default=200)
    parser.add_argument("--warmup", type=int, default=50)
    parser.add_argument("--platform", default="v100_p3")
    options = parser.parse_args()
    collect_seldom()
    keep_heap()
    compile_events()
    factor(options.platform, "high", 0.1, batches=2, warmup=0)
    print(f"{'locality':9} {'cache':>7} {'ms/iter':>8} {'realtime':>9}   share of wall-clock time")
    with pages_kept():
        for fraction, locality in product((0.1, 0.02), ("random", "low", "medium", "high")):
            row = factor(options.platform, locality, fraction, options.batches, options.warmup)
            shares = "  ".join(f"{p} {row[f'wall_{p}_s'] / row['wall_s']:.0%}" for p in PARTS)
            print(
                f"{locality:9} {row['cache_fraction']:7.2%} "
                f"{row['iteration_time_us'] / 1000:8.2f} {row['realtime_factor']:9.2f}   {shares}"
            )


def factor(
    platform: str, locality: str, fraction: float, batches: int, warmup: int
) -> dict[str, Any]:
    """The metrics of a point that was simulated just now."""
    experiment = {
        "config_version": 1,
        "platform": platform,
        "model": "default",
        "trace": {"locality": locality},
        "systems": "scratchpipe",
        "cache": {"fraction": fraction, "if_too_small": "grow"},
        "run": {"batches": batches, "warmup_batches": warmup},
    }
    return simulate(parse_experiment(experiment)).metrics()[0]


if __name__ == "__main__":
    main()
