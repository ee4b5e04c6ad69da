"""How time and memory grow with lookups, rows, slots, tables, GPUs and points.

    python benchmarks/scale.py [AXIS ...]

Every line is a run in a process of its own with compiled kernels at hand: seconds of the processor
and peak memory of the whole process, and both as multiples of the first line of its axis, beside
the multiple of what was varied. The table is Markdown, as it stands in `docs/speed.md`.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from typing import Any

Changes = dict[str, Any]

BASE: Changes = {
    "config_version": 1,
    "platform": "v100_p3",
    "model": "default",
    "trace": {"kind": "zipf", "alpha": 0.9},
    "systems": "scratchpipe",
    "cache": {"fraction": 0.1, "if_too_small": "grow"},
    "run": {"batches": 40, "warmup_batches": 0},
}
SMALL: Changes = {"model.rows_per_table": 20_000, "model.batch_size": 64}
TERABYTE: Changes = {
    "model.tables": 64,
    "model.rows_per_table": 31_250_000,
    "model.lookups_per_table": 5,
    "cache.fraction": 0.01,
    "platform.host.cpu.memory.capacity": "2 TB",
}
SLOTS = 500_000
"""Of each table where its rows are varied."""


def _gpus(count: int) -> Changes:
    system = {"name": "scratchpipe", "gpus": count}
    return {"platform": "p3_16xlarge", "systems": json.dumps([system])}


def _hosts(count: int) -> Changes:
    """Hosts of eight GPUs, tables in HBM."""
    model = {"base": "mlperf_dcnv2", "placement": "hugectr", "sharding": "auto"}
    return {
        "platform": "hgx_h100",
        "platform.hosts": count,
        "model": json.dumps(model | {"batch_size": 65_536}),
        "trace.alpha": 1.05,
        "systems": "gpu_only",
        "operators": "hugectr_2023",
        "run.batches": 50,
        "run.warmup_batches": 1,
    }


def _points(count: int) -> Changes:
    values = [f"{60_000 + 50 * number} ps" for number in range(count)]
    return SMALL | {"sweep": json.dumps({"platform.host.cpu.memory_latency": values})}


AXES: dict[str, dict[int, Changes]] = {
    "mini-batches": {count: {"run.batches": count} for count in (40, 80, 160)},
    "rows a table": {
        rows: {"model.rows_per_table": rows, "cache.fraction": SLOTS / rows}
        for rows in (2_500_000, 5_000_000, 10_000_000)
    },
    "slots a table": {
        round(share * 10_000_000): {"cache.fraction": share} for share in (0.05, 0.1, 0.2)
    },
    "tables": {
        count: {"model.tables": count, "model.rows_per_table": 2_500_000} for count in (8, 32)
    },
    "GPUs": {count: _gpus(count) for count in (1, 2, 8)},
    "hosts of 8 GPUs": {count: _hosts(count) for count in (16, 128)},
    "points of one replay": {count: _points(count) for count in (10, 20, 40)},
    "mini-batches, small model": {
        count: SMALL | {"run.batches": count} for count in (1_000, 10_000, 30_000)
    },
    "mini-batches, 1 TB": {count: TERABYTE | {"run.batches": count} for count in (40, 1536)},
}


def run(changes: Changes) -> None:
    """One case in this process; prints its lookups, seconds and GiB as JSON."""
    from simulator.config.expand import expand
    from simulator.engine import parse_experiment
    from simulator.engine.points import simulate_each

    base = BASE | {"sweep": json.loads(changes.pop("sweep"))} if "sweep" in changes else BASE
    begin = time.process_time()
    experiment = parse_experiment(base, [f"{key}={value}" for key, value in changes.items()])
    lookups = 0.0
    for _, outcome in simulate_each(expand(experiment)):
        if isinstance(outcome, Exception):
            raise outcome
        row = outcome.metrics
        lookups = row["lookups_per_batch"] * row["batches"]
    seconds = time.process_time() - begin
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(json.dumps([lookups / 1e6, seconds, peak]))


def main() -> None:
    """Print the table of the axes asked for, all by default."""
    wanted = sys.argv[1:] or list(AXES)
    print("| axis | value | M lookups | processor, s | peak, GiB | size x | time x | memory x |")
    print("|---|---|---|---|---|---|---|---|")
    for axis in wanted:
        first: list[float] = []
        for value in AXES[axis]:
            command = [sys.executable, __file__, "--run", axis, str(value)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            lookups, seconds, peak = json.loads(done.stdout.splitlines()[-1])
            first = first or [value, seconds, peak]
            size, slower, larger = value / first[0], seconds / first[1], peak / first[2]
            print(
                f"| {axis} | {value:,} | {lookups:.1f} | {seconds:.1f} | {peak:.2f} | "
                f"{size:.3g} | {slower:.2f} | {larger:.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--run"]:
        run(dict(AXES[sys.argv[2]][int(sys.argv[3])]))
    else:
        main()
