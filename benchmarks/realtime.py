"""Is the simulator faster than the machine it models?

    python benchmarks/realtime.py [--batches N] [--warmup N]

ScratchPipe on the study's V100 server, default model, four localities, cache 10 % and 2 % (grown
where the window does not fit). Prints simulated over wall-clock time of each point, and where the
wall-clock time goes. Garbage and freed memory are treated as in `scratchpipe run`. The first run
compiles kernels: run it twice.
"""

from __future__ import annotations

import argparse

from simulator._garbage import collect_seldom
from simulator._heap import keep_heap
from simulator.engine import parse_experiment, simulate

PARTS = ("draw", "plan", "memory", "events")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batches", type=int, default=200)
    parser.add_argument("--warmup", type=int, default=50)
    parser.add_argument("--platform", default="v100_p3")
    options = parser.parse_args()
    collect_seldom()
    keep_heap()
    print(f"{'locality':9} {'cache':>7} {'ms/iter':>8} {'realtime':>9}   share of wall-clock time")
    for fraction in (0.1, 0.02):
        for locality in ("random", "low", "medium", "high"):
            row = simulate(
                parse_experiment(
                    {
                        "config_version": 1,
                        "platform": options.platform,
                        "model": "default",
                        "trace": {"locality": locality},
                        "systems": "scratchpipe",
                        "cache": {"fraction": fraction, "if_too_small": "grow"},
                        "run": {"batches": options.batches, "warmup_batches": options.warmup},
                    }
                )
            ).metrics()[0]
            shares = "  ".join(f"{p} {row[f'wall_{p}_s'] / row['wall_s']:.0%}" for p in PARTS)
            print(
                f"{locality:9} {row['cache_fraction']:7.2%} "
                f"{row['iteration_time_us'] / 1000:8.2f} {row['realtime_factor']:9.2f}   {shares}"
            )


if __name__ == "__main__":
    main()
