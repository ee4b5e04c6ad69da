"""How memory and time of a replay grow with rows, lookups, slots and tables.

    python benchmarks/scale.py

Each line is a ScratchPipe run in a process of its own: peak memory and wall-clock time of the
whole process, compilation cached. State grows with slots and with rows while Hit-Maps are dense
(2 GiB of words), with slots alone beyond; never with lookups.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time

CASES = (
    ("base: 8 x 10 M rows, 10 % slots, 40 batches", {}),
    ("4 x the batches (lookups)", {"run.batches": 160}),
    ("a tenth of the rows", {"model.rows_per_table": 1_000_000, "cache.if_too_small": "grow"}),
    ("a fifth of the slots", {"cache.fraction": 0.02, "cache.if_too_small": "grow"}),
    ("4 x the tables, same rows in all", {"model.tables": 32, "model.rows_per_table": 2_500_000}),
    (
        "1 TB: 64 x 31.25 M rows, 1 % slots",
        {
            "model.tables": 64,
            "model.rows_per_table": 31_250_000,
            "model.lookups_per_table": 5,
            "cache.fraction": 0.01,
            "platform.host.cpu.memory.capacity": "2 TB",
        },
    ),
)


def run(changes: dict[str, object]) -> None:
    """One case, in this process."""
    from simulator.engine import parse_experiment, simulate

    experiment = {
        "config_version": 1,
        "platform": "v100_p3",
        "model": "default",
        "trace": {"kind": "zipf", "alpha": 0.9},
        "systems": "scratchpipe",
        "cache": {"fraction": 0.1},
        "run": {"batches": 40, "warmup_batches": 0},
    }
    begin = time.perf_counter()
    row = simulate(parse_experiment(experiment, [f"{k}={v}" for k, v in changes.items()]))
    wall_s = time.perf_counter() - begin
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    rows = row.metrics()[0]
    batches = rows["batches"] + 6
    print(f"{rows['lookups_per_batch'] * batches / 1e6:8.1f} {peak:9.2f} {wall_s:7.1f}")


def main() -> None:
    print(f"{'case':46} {'M lookups':>8} {'peak, GiB':>9} {'wall, s':>7}")
    for title, _ in CASES:
        print(f"{title:46} ", end="", flush=True)
        subprocess.run([sys.executable, __file__, title], check=True)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        run(dict(CASES)[sys.argv[1]])
    else:
        main()
