"""Columns of the CSV files, how long to repeat, and how samples become a row."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from simulator._machine import physical_memory
from simulator._threads import cores
from simulator.files import replace_file

__all__ = [
    "CPU_FILE",
    "FILES",
    "HBM_FILE",
    "PAUSE_S",
    "Budget",
    "Row",
    "Subject",
    "milliseconds",
    "spread",
    "write_rows",
]

Row = Mapping[str, Any]

_MS = ("ms", "ms_p10", "ms_p90")
_RATES = ("payload_GBps", "traffic_GBps")

FILES: dict[str, tuple[str, ...]] = {
    "micro_cpu.csv": (
        "measurement", "op", "impl", "dim", "threads", "n_rows", "table_GB", "dist", *_MS, *_RATES,
        "note",
    ),
    "micro_hbm.csv": ("op", "impl", "dim", "n_rows", "dist", *_MS, *_RATES, "note"),
    "micro_pcie.csv": (
        "op", "mem", "bytes", "ms_event", "ms_event_p10", "ms_event_p90", "ms_wall", "ms_wall_p10",
        "ms_wall_p90", "GBps_event", "GBps_wall", "note",
    ),
    "micro_sort.csv": ("op", "impl", "n", "dist", *_MS, "unique"),
    "micro_plan.csv": ("slots", "n_lookups", "miss_fraction_target", "misses", *_MS),
    "micro_mlp.csv": ("what", "network", "batch", "dim", "precision", "mode", *_MS),
    "micro_launch.csv": ("what", "us", "us_p10", "us_p90"),
    "micro_streams.csv": (
        "what", "first_ms", "second_ms", "both_ms", "both_first_ms", "both_second_ms", "note",
    ),
    "contention.csv": (
        "measurement", "victim", "background", *_MS, "GBps", "alone_ms", "slowdown",
        "bg_h2d_GBps", "bg_d2h_GBps", "note",
    ),
    "micro_links.csv": (
        "session", "op", "bytes", "gpus", "streams", *_MS, "GBps_sum", "GBps_each", "note",
    ),
    "micro_nccl.csv": (
        "session", "op", "impl", "bytes", "ms_event", "ms_event_p10", "ms_event_p90",
        "ms_event_last_rank", "ms_backtoback", "us_submit", "us_submit_busy", "GBps_event",
        "GBps_bus_event", "GBps_bus_backtoback", "note",
    ),
    "contention_2gpu.csv": (
        "session", "victim", "background", "threads", "dma_gpus", *_MS, "GBps", "alone_ms",
        "slowdown", "bg_h2d_GBps", "bg_d2h_GBps", "bg_sum_GBps", "note",
    ),
}  # fmt: skip
"""The columns of each file. `payload_GBps` counts each row once, `traffic_GBps` all that must move;
`dim` counts fp32 elements; `impl` names the role of a kernel, `note` the software it was made
with; `slowdown` is against the victim alone, `bg_*` the copies' own rate meanwhile. Of
`micro_streams.csv`: two kernels alone, and launched at once on two streams: from their common start
to the end of both, of the first and of the second. Of `micro_nccl.csv`: `ms_event` is the rank that
waits least, `ms_backtoback` one of many in a row."""

CPU_FILE, HBM_FILE = "micro_cpu.csv", "micro_hbm.csv"

TABLE_BYTES = 40_960_000_000
"""The table of the full measurement: 80 M rows of 512 B, far beyond any cache."""
LOOKUPS = 327_680
"""Rows of a mini-batch of the default model: 2048 samples x 8 tables x 20 lookups."""
FRESH_ROWS = 8_000_000
"""Rows that the sets of an operator hold together: when one has its next turn, neither its rows
nor the page tables that lead to them are cached any more. Training never repeats a set."""


@dataclass(frozen=True)
class Subject:
    """One thing to measure: its name, the file that its rows go to, and what measures them."""

    name: str
    file: str
    rows: Callable[[], Iterable[Row]]

    @property
    def text(self) -> str:
        """What it is asked for by: a part of this."""
        return f"{self.name} {self.file}"


@dataclass(frozen=True)
class Budget:
    """How much to measure."""

    quick: bool

    @property
    def seconds(self) -> float:
        """Time for the repetitions of one value."""
        return 0.06 if self.quick else 0.25

    @property
    def dims(self) -> tuple[int, ...]:
        return (64, 128, 256) if self.quick else (16, 32, 64, 128, 256)

    @property
    def lookups(self) -> int:
        return LOOKUPS

    @property
    def fresh_rows(self) -> int:
        return FRESH_ROWS

    @property
    def cores(self) -> int:
        return cores()

    @property
    def threads(self) -> tuple[int, ...]:
        """1, 2, 4 .. up to all cores; quick: one, a quarter and all of them."""
        if self.quick:
            return tuple(sorted({1, max(1, self.cores // 4), self.cores}))
        powers = [1 << k for k in range(self.cores.bit_length()) if 1 << k < self.cores]
        return (*powers, self.cores)

    @property
    def table_floats(self) -> int:
        """fp32 elements of the CPU's table: a third of the memory at most, quick or not (address
        translation of a small table is cheaper)."""
        return max(1 << 22, min(TABLE_BYTES, physical_memory() // 3)) // 4


PAUSE_S = 1e-3
"""Host time between two CPU operators of a training iteration: about that of the dense step."""


def milliseconds(
    work: Callable[[int], object],
    budget: Budget,
    pause_s: float = 0.0,
    before: Callable[[int], object] | None = None,
) -> dict[str, float]:
    """Median and percentiles of the wall-clock of `work(repetition)`, after one to warm up.

    `before(repetition)`: what comes before it and is not timed. `pause_s`: the calling thread waits
    busily before each repetition, as it waits for a GPU during training: threads of a pool fall
    asleep meanwhile and have to be woken.
    """
    prepare = before or (lambda _: None)
    prepare(0)
    work(0)
    samples: list[float] = []
    until = time.perf_counter() + budget.seconds
    while len(samples) < 3 or (time.perf_counter() < until and len(samples) < 200):
        prepare(len(samples) + 1)
        begin = time.perf_counter()
        while time.perf_counter() < begin + pause_s:
            pass
        begin = time.perf_counter()
        work(len(samples) + 1)
        samples.append((time.perf_counter() - begin) * 1e3)
    return spread("ms", samples)


def spread(name: str, samples: Iterable[float]) -> dict[str, float]:
    """`name`: median; `name`_p10 and `name`_p90."""
    values = np.asarray(list(samples))
    low, middle, high = np.percentile(values, [10, 50, 90])
    return {name: float(middle), f"{name}_p10": float(low), f"{name}_p90": float(high)}


def write_rows(out_dir: Path, name: str, rows: Iterable[Row]) -> None:
    """Write `rows` as `name`; floats in six digits, what a row leaves out is empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, FILES[name], lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()})
    replace_file(out_dir / name, text.getvalue().encode())
