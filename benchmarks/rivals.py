"""What a point of each system costs beside one of ScratchPipe with the same lookups.

    python benchmarks/rivals.py [--systems NAME ...] [--turns 2] [--batches 20]

Every system of `scratchpipe list systems` on the machine that `explain` shows it on, default model,
random and medium locality, cache 10 %. Each point runs in a process of its own: seconds of the
processor, wall-clock seconds and peak memory of the whole process. Of several turns the least of
each counts: kernels are compiled in the first, and other work on the machine slows some. Ratios are
over `scratchpipe` in the same turns. The table is Markdown, as it stands in
`docs/speed.md`.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from typing import Any, NamedTuple

LOCALITIES = ("random", "medium")
BASELINE = "scratchpipe"
SMALLER = {"recross": {"model.rows_per_table": 8_000_000}}
"""What is changed where a machine does not hold the default model; the lookups stay."""
OTHERS: dict[str, dict[str, Any]] = {
    "bagpipe": {"name": "bagpipe", "look_ahead": 20},
    "fbgemm_cached lfu": {"name": "fbgemm_cached", "algorithm": "lfu"},
}
"""Entries that are not a name alone: the run has less mini-batches than Bagpipe looks ahead by
default, and LFU has kernels of its own."""


class Cost(NamedTuple):
    """Seconds and GiB of a process that simulated one point."""

    processor_s: float
    wall_s: float
    peak_gib: float


def experiment(system: str, locality: str, batches: int) -> tuple[dict[str, Any], list[str]]:
    """A point of a system on a machine that has what it needs, and what is changed in it."""
    from simulator.systems import system_class

    entry = OTHERS.get(system, {"name": system})
    kind = system_class(entry["name"])
    data: dict[str, Any] = {
        "config_version": 1,
        "platform": "p3_16xlarge" if system == "gpu_only" else kind.shown_on,
        "model": "default",
        "operators": "tuned",
        "trace": {"kind": "locality", "locality": locality},
        "systems": [entry],
        "cache": {"fraction": 0.1},
        "run": {"batches": batches, "warmup_batches": 10},
    }
    if kind.no_training:
        data["run"]["mode"] = "inference"
    return data, [f"{key}={value}" for key, value in SMALLER.get(system, {}).items()]


def simulate_here(system: str, locality: str, batches: int) -> None:
    """Simulate one point in this process; prints its cost as JSON."""
    begin, spent = time.perf_counter(), time.process_time()
    from simulator.engine import parse_experiment, simulate

    simulate(parse_experiment(*experiment(system, locality, batches)))
    wall, spent = time.perf_counter() - begin, time.process_time() - spent
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(json.dumps([spent, wall, peak]))


def cost(system: str, locality: str, batches: int) -> Cost | str:
    """The cost of one point in a process of its own, or why there is none."""
    case = [system, locality, str(batches)]
    done = subprocess.run(
        [sys.executable, __file__, "--run", *case], capture_output=True, text=True
    )
    if done.returncode:
        return done.stderr.strip().splitlines()[-1]
    return Cost(*json.loads(done.stdout.splitlines()[-1]))


def least(known: Cost | str | None, new: Cost | str) -> Cost | str:
    """The least of each figure of two costs; an error stays one."""
    if known is None or isinstance(new, str):
        return new
    return known if isinstance(known, str) else Cost(*map(min, known, new))


def line(system: str, locality: str, found: Cost | str, baseline: Cost) -> str:
    """A row of the table."""
    if isinstance(found, str):
        return f"| `{system}` | {locality} | {found} | | | | | |"
    ratios = (own / theirs for own, theirs in zip(found, baseline, strict=True))
    times, walls, peaks = (f"{ratio:.2f}" for ratio in ratios)
    return (
        f"| `{system}` | {locality} | {found.processor_s:.1f} | {times} | {found.wall_s:.1f} | "
        f"{walls} | {found.peak_gib:.2f} | {peaks} |"
    )


def main() -> None:
    """Print the table."""
    from simulator.systems import names

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--systems", nargs="+", default=[*names(), "fbgemm_cached lfu"])
    parser.add_argument("--localities", nargs="+", default=list(LOCALITIES))
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--batches", type=int, default=20)
    asked = parser.parse_args()
    print(
        "| system | locality | processor, s | ratio | wall-clock, s | ratio | peak, GiB | ratio |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for locality in asked.localities:
        costs: dict[str, Cost | str] = {}
        for _ in range(asked.turns):
            for system in dict.fromkeys([BASELINE, *asked.systems]):
                new = cost(system, locality, asked.batches)
                costs[system] = least(costs.get(system), new)
        baseline = costs[BASELINE]
        if isinstance(baseline, str):
            raise SystemExit(f"{BASELINE}: {baseline}")
        for system, found in costs.items():
            print(line(system, locality, found, baseline), flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--run"]:
        simulate_here(sys.argv[2], sys.argv[3], int(sys.argv[4]))
    else:
        main()
