"""Reads the CSV files of micro-benchmarks and pools what several hosts measured."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from simulator.errors import UsageError
from simulator.streams import open_text, refusing

__all__ = [
    "FILES",
    "WITH_STATE",
    "Pooled",
    "Row",
    "optimizer_of",
    "pool",
    "read_rows",
    "with_optimizer",
]

Row = dict[str, str]

FILES: dict[str, tuple[str, ...]] = {
    "micro_cpu.csv": ("op", "impl", "dim", "threads", "n_rows", "dist", "ms", "note"),
    "micro_hbm.csv": ("op", "impl", "dim", "n_rows", "dist", "ms", "note"),
    "micro_pcie.csv": ("op", "mem", "bytes", "ms_event", "note"),
    "micro_sort.csv": ("op", "impl", "n", "dist", "ms"),
    "micro_plan.csv": ("slots", "n_lookups", "misses", "ms"),
    "micro_mlp.csv": ("what", "batch", "dim", "precision", "mode", "ms"),
    "micro_launch.csv": ("what", "us"),
    "micro_streams.csv": (
        "what", "first_ms", "second_ms", "both_ms", "both_first_ms", "both_second_ms",
    ),
    "contention.csv": ("victim", "background", "ms", "slowdown", "bg_h2d_GBps", "bg_d2h_GBps"),
    "micro_links.csv": ("op", "bytes", "gpus", "streams", "ms", "GBps_sum", "note"),
    "micro_nccl.csv": ("op", "impl", "bytes", "ms_event", "ms_backtoback", "us_submit"),
    "contention_2gpu.csv": (
        "victim", "background", "threads", "dma_gpus", "ms", "slowdown", "bg_h2d_GBps",
        "bg_d2h_GBps",
    ),
}  # fmt: skip
"""The files that a calibration reads, and the columns that it needs of each."""

WITH_STATE = ("adagrad", "rowwise_adagrad")
"""Optimizers that keep state beside the rows."""


@dataclass(frozen=True, slots=True)
class Pooled:
    """One condition, as measured once or on several hosts."""

    row: Row
    """The first row that measured it."""
    value: float
    """Geometric mean of its measurements."""
    spread: float
    """Largest measurement over the smallest."""


def read_rows(folder: Path, name: str) -> list[Row]:
    """The rows of a CSV file; none where the machine has no such file.

    Raises `UsageError` where columns are missing or a file is not text.
    """
    file = folder / name
    if not file.is_file():
        return []
    with refusing(file, UsageError), open_text(file) as stream:
        rows = list(csv.DictReader(stream))
    missing = [column for column in FILES[name] if rows and column not in rows[0]]
    if missing:
        raise UsageError(f"{file}: no column {', '.join(missing)}")
    return rows


def pool(
    file: str, rows: Iterable[Row], key: Callable[[Row], Sequence[object] | None], column: str
) -> dict[tuple[object, ...], Pooled]:
    """`rows` by `key` (None leaves a row out), each condition's values of `column` pooled.

    Geometric mean: hosts of one kind differ by a factor, and none of them is the right one.
    Raises `UsageError` for a value that is no positive number.
    """
    conditions: dict[tuple[object, ...], tuple[Row, list[float]]] = {}
    for row in rows:
        condition = key(row)
        if condition is None:
            continue
        conditions.setdefault(tuple(condition), (row, []))[1].append(_positive(file, row, column))
    return {
        condition: Pooled(row, math.exp(sum(map(math.log, v)) / len(v)), max(v) / min(v))
        for condition, (row, v) in conditions.items()
    }


def _positive(file: str, row: Row, column: str) -> float:
    try:
        value = float(row[column])
    except (TypeError, ValueError):
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise UsageError(f"{file}: {column} is {row[column]!r}: must be a number above 0 ({row})")
    return value


def optimizer_of(operator: str) -> str:
    """The optimizer of a measured update, which the operator's name ends with; SGD without one."""
    _, _, optimizer = operator.partition("update_")
    return optimizer if optimizer in WITH_STATE else "sgd"


def with_optimizer(operator: str) -> str:
    """What a point's condition says of its optimizer: nothing for SGD."""
    optimizer = optimizer_of(operator)
    return "" if optimizer == "sgd" else f", {optimizer}"
