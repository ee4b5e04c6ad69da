"""Parameters that one measurement gives without a fit."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from simulator.calibration.sockets import GPU, gpu_of
from simulator.calibration.tables import Row, pool, read_rows
from simulator.config.machine import MachineConfig

__all__ = ["Direct", "DirectValue", "direct_values"]

_LAUNCH, _MLP = "micro_launch.csv", "micro_mlp.csv"
_SYNCHRONIZE = "empty kernel + stream sync"
_PS_PER_US = 1_000_000


@dataclass(frozen=True)
class DirectValue:
    """A number that is no fit."""

    value: float
    source: str
    file: str = ""
    """What measured it; empty where it was chosen."""


Direct = dict[str, DirectValue]
"""By dotted path (under `platform.`)."""


def direct_values(folder: Path, config: MachineConfig) -> Direct:
    """The numbers that the files in `folder` give on their own. Raises `UsageError` for files that
    cannot be read."""
    values: Direct = {}
    for pooled in pool(_LAUNCH, read_rows(folder, _LAUNCH), _synchronize, "us").values():
        source = f"measured: {_LAUNCH}, {_SYNCHRONIZE!r}"
        value = pooled.value * _PS_PER_US
        values[f"{GPU}.synchronize"] = DirectValue(value, source, _LAUNCH)
    for pooled in pool(_MLP, read_rows(folder, _MLP), _large_product, "ms").values():
        row = pooled.row
        n, m, k = int(row["batch"]), int(row["dim"]), int(row["batch"])
        rate = 2 * n * m * k / (pooled.value / 1e3)
        source = f"measured: {_MLP}, {row['what']} in {row['precision']}: {rate / 1e12:.1f} TFLOP/s"
        share = min(1.0, rate / gpu_of(config).peak.fp32)
        values[f"{GPU}.gemm_efficiency"] = DirectValue(share, source, _MLP)
    return values


def _synchronize(row: Row) -> tuple[str] | None:
    return (row["what"],) if row["what"] == _SYNCHRONIZE else None


def _large_product(row: Row) -> tuple[str] | None:
    """Square products only: batch and dim give all three sizes."""
    square = row["what"].startswith("gemm") and row["batch"] == row["dim"]
    return (row["what"],) if square and row["precision"] == "fp32" else None
