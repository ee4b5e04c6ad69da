"""Speed of the memory model: simulated requests a second on one core.

    python -m benchmarks.memory

Medians of several runs of process time, so that other work on the machine matters less; the
first, compiling run is left out.
"""

from __future__ import annotations

import statistics
import time

from simulator.hardware.catalogue import load_part
from simulator.hardware.devices.dram import Dram
from simulator.hardware.dram import measure

REQUESTS = 400_000
RUNS = 7
CASES = (
    ("ddr4_2400", "ramulator", "gather", 64, "bgi", 32),
    ("ddr4_2400", "ramulator", "gather", 256, "row", 32),
    ("ddr4_2400", "ramulator", "gather", 512, "row", 32),
    ("ddr4_2400", "ramulator", "gather", 2048, "row", 32),
    ("ddr4_2400", "ramulator", "seq", 64, "bgi", 32),
    ("ddr4_2400", "ramulator", "scatter", 512, "row", 32),
    ("ddr4_2400", "ramulator", "mixed", 512, "row", 32),
    ("ddr4_2400", "ramulator", "gather", 64, "bgi", 128),
    ("ddr4_2400", "ramulator", "gather", 512, "row", 128),
    ("hbm2_pc64", "ramulator", "gather", 512, "bgi", 32),
    ("ddr4_2400", "dramsim3", "gather", 64, "bgi", 32),
    ("ddr4_2400", "dramsim3", "gather", 512, "row", 32),
)


def requests_per_s(
    memory: str, controller: str, pattern: str, row_bytes: int, order: str, queue: int
) -> float:
    """Median over the runs, in requests a second of process time."""
    config = load_part(memory, {"controller": controller, "order": order}, Dram)
    measure(config, pattern, row_bytes, 1000, queue=queue)
    seconds = []
    for _ in range(RUNS):
        start = time.process_time()
        measure(config, pattern, row_bytes, REQUESTS, queue=queue)
        seconds.append(time.process_time() - start)
    return REQUESTS / statistics.median(seconds)


def main() -> None:
    """Print one line a case."""
    for case in CASES:
        memory, controller, pattern, row_bytes, order, queue = case
        rate = requests_per_s(*case) / 1e6
        print(
            f"{memory:10} {controller:9} {pattern:8} {row_bytes:5} B  {order:3}  queue {queue:3}  "
            f"{rate:6.2f} M requests/s"
        )


if __name__ == "__main__":
    main()
