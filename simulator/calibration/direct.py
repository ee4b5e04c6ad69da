"""Parameters that one measurement gives without a fit."""

from __future__ import annotations

from pathlib import Path

from simulator.calibration.sockets import GPU, gpu_of
from simulator.calibration.tables import Row, pool, read_rows
from simulator.config.machine import MachineConfig

__all__ = ["direct_values"]

_LAUNCH, _MLP = "micro_launch.csv", "micro_mlp.csv"
_SYNCHRONIZE = "empty kernel + stream sync"
_PS_PER_US = 1_000_000


def direct_values(folder: Path, config: MachineConfig) -> dict[str, tuple[float, str]]:
    """Value and source by dotted path (under `platform.`)."""
    values: dict[str, tuple[float, str]] = {}
    for pooled in pool(_LAUNCH, read_rows(folder, _LAUNCH), _synchronize, "us").values():
        source = f"measured: {_LAUNCH}, {_SYNCHRONIZE!r}"
        values[f"{GPU}.synchronize"] = (pooled.value * _PS_PER_US, source)
    for pooled in pool(_MLP, read_rows(folder, _MLP), _large_product, "ms").values():
        row = pooled.row
        n, m, k = int(row["batch"]), int(row["dim"]), int(row["batch"])
        rate = 2 * n * m * k / (pooled.value / 1e3)
        source = f"measured: {_MLP}, {row['what']} in {row['precision']}: {rate / 1e12:.1f} TFLOP/s"
        share = min(1.0, rate / gpu_of(config).peak.fp32)
        values[f"{GPU}.gemm_efficiency"] = (share, source)
    return values


def _synchronize(row: Row) -> tuple[str] | None:
    return (row["what"],) if row["what"] == _SYNCHRONIZE else None


def _large_product(row: Row) -> tuple[str] | None:
    """Square products only: batch and dim give all three sizes."""
    square = row["what"].startswith("gemm") and row["batch"] == row["dim"]
    return (row["what"],) if square and row["precision"] == "fp32" else None
