"""Reads the CSV files of micro-benchmarks and pools what several hosts measured."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from simulator.calibration.facts import MACHINE
from simulator.errors import UsageError
from simulator.streams import open_text, refusing
from simulator.systems.networks import NETWORKS

__all__ = [
    "FILES",
    "WITH_STATE",
    "Pooled",
    "Row",
    "check_threads",
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

_WHOLE = ("dim", "n_rows", "bytes", "n", "slots", "n_lookups", "batch", "threads")
"""Columns of sizes."""
_TEXTS = ("op", "impl", "dist", "note", "mem", "what", "mode", "victim", "background", "gpus")
_OF_NOTHING = "parallel_region"
"""What begins so works on no rows: its sizes are 0."""
_LARGEST = 10**13
_PRECISIONS = ("fp32", "tf32", "fp16", "bf16")
_MEASURED = ("ms", "us")
_SPREADS = ("ms_p10", "ms_p90")
_NETWORK = "network"
"""Columns that are read where they are there: MLPs without a network are of the default one."""
_THREADS = re.compile(r"\bcpu .* (\d+)t\b", re.ASCII)
"""Threads of a victim, in its name."""
_BITS = re.compile(r".* ([1-9]|[1-5]\d|6[0-4]) bit", re.ASCII)

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

    Raises `UsageError` where columns are missing, a file is not text, or a line has more or fewer
    fields than the first or a number that is none.
    """
    return [row for _, row in _numbered(folder / name)]


def check_threads(folder: Path, cores: int) -> None:
    """Raise `UsageError` for the first row on more threads than the machine has `cores`: it was
    measured on another, or is no measurement."""
    for name in FILES:
        for line, row in _numbered(folder / name):
            threads = _threads(row)
            if threads > cores:
                raise UsageError(
                    f"{folder / name}: line {line}: {threads} threads on a machine with {cores} "
                    f"cores: take the row out, or say in {MACHINE} how many `cores` were measured"
                )


def _threads(row: Row) -> int:
    """Of the operator that a row measures; 0 where it does not say."""
    in_name = _THREADS.search(row.get("victim", ""))
    return int(row.get("threads") or (in_name[1] if in_name else 0))


def _numbered(file: Path) -> list[tuple[int, Row]]:
    """The rows of a file with their lines."""
    name = file.name
    if not file.is_file():
        return []
    rows: list[tuple[int, Row]] = []
    with refusing(file, UsageError), open_text(file) as stream:
        reader = csv.DictReader(stream)
        for row in reader:
            missing = [column for column in FILES[name] if column not in row]
            if missing:
                raise UsageError(f"{file}: no column {', '.join(missing)}")
            _check(f"{file}: line {reader.line_num}", name, row)
            rows.append((reader.line_num, row))
    return rows


def _check(where: str, name: str, row: Row) -> None:
    """Raise `UsageError` for a row that is cut, too long or holds what its column cannot."""
    if None in row or None in row.values():
        raise UsageError(f"{where}: more or fewer fields than the first line has")
    for column in (*FILES[name], *(spread for spread in _SPREADS if spread in row)):
        text = row[column]
        if column in _TEXTS or (text == "" and _may_be_empty(name, column)):
            continue
        if column == "precision":
            fits, wanted = text in _PRECISIONS, f"one of {', '.join(_PRECISIONS)}"
        elif text == "0" and row.get("op", "").startswith(_OF_NOTHING):
            continue
        elif column in _WHOLE:
            fits, wanted = _between(text, 1, int), "a whole number above 0"
        elif column in _MEASURED:
            fits, wanted = _between(text, 1e-9, float), "a number above 0"
        else:
            fits, wanted = _between(text, 0, float), "a number from 0"
        if not fits:
            raise UsageError(f"{where}: {column} is {text!r}: expected {wanted}")
    if row.get(_NETWORK) and row[_NETWORK] not in NETWORKS:
        known = ", ".join(NETWORKS)
        raise UsageError(f"{where}: {_NETWORK} is {row[_NETWORK]!r}: expected one of {known}")
    if row.get("op") == "sort_pairs" and not _BITS.fullmatch(row["impl"]):
        raise UsageError(f"{where}: impl is {row['impl']!r}: expected `NAME 32 bit` or other bits")


def _may_be_empty(name: str, column: str) -> bool:
    """Whether a column is empty in rows that measure something else."""
    return name.startswith("contention") or column in ("ms_event", *_SPREADS)


def _between(text: str, least: float, kind: Callable[[str], float]) -> bool:
    try:
        return text.isascii() and least <= kind(text) <= _LARGEST
    except ValueError:
        return False


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
