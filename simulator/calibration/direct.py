"""Parameters that one measurement gives without a fit."""

from __future__ import annotations

from pathlib import Path

from simulator.calibration.sockets import GPU
from simulator.calibration.tables import pool, read_rows

__all__ = ["direct_values"]

_FILE = "micro_launch.csv"
_LAUNCHES = (
    "empty kernel via ctypes, back to back (per launch)",
    "copy of 4096 B, h2d, page-locked (per launch)",
)
"""What one submission costs the driver; the first that was measured counts."""
_WAIT = "empty kernel + stream sync"
_GRAPH, _KERNELS = "cuda graph of 100 tiny kernels (per replay)", 100
_PS_PER_US = 1_000_000


def direct_values(folder: Path) -> dict[str, tuple[float, str]]:
    """Value and source by dotted path (under `platform.`).

    The launch of a kernel, as it was measured. The wait: that of launching one and waiting for it,
    less the launch and what a kernel takes within a captured graph; only where the launch was
    measured with the same software.
    """
    rows = pool(_FILE, read_rows(folder, _FILE), lambda row: (row["what"],), "us")
    us = {str(what): pooled.value for (what,), pooled in rows.items()}
    values: dict[str, tuple[float, str]] = {}
    launched = next((what for what in _LAUNCHES if what in us), None)
    if launched is None:
        return values
    source = f"measured: {_FILE}, {launched!r}"
    values[f"{GPU}.launch"] = (us[launched] * _PS_PER_US, source)
    if launched == _LAUNCHES[0] and _WAIT in us and _GRAPH in us:
        wait = us[_WAIT] - us[launched] - us[_GRAPH] / _KERNELS
        source = f"measured: {_FILE}, {_WAIT!r} less the launch and a kernel of a graph"
        values[f"{GPU}.synchronize"] = (max(0.0, wait) * _PS_PER_US, source)
    return values
