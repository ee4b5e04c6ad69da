"""Parameters that one measurement gives without a fit."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from simulator.calibration.sockets import GPU
from simulator.calibration.tables import pool, read_rows

__all__ = ["Direct", "DirectValue", "direct_values"]

_FILE = "micro_launch.csv"
_LAUNCHES = (
    "empty kernel via ctypes, back to back (per launch)",
    "copy of 4096 B, h2d, page-locked (per launch)",
)
"""What one submission costs the driver; the first that was measured counts."""
_WAIT = "empty kernel + stream sync"
_GRAPH, _KERNELS = "cuda graph of 100 tiny kernels (per replay)", 100
_PS_PER_US = 1_000_000


@dataclass(frozen=True)
class DirectValue:
    """A number that is no fit."""

    value: float
    source: str
    file: str
    """What measured it."""


Direct = dict[str, DirectValue]
"""By dotted path (under `platform.`)."""


def direct_values(folder: Path) -> Direct:
    """The numbers that the files in `folder` give on their own.

    The launch of a kernel, as it was measured. The wait: that of launching one and waiting for it,
    less the launch and what a kernel takes within a captured graph; only where the launch was
    measured with the same software. Raises `UsageError` for files that cannot be read.
    """
    rows = pool(_FILE, read_rows(folder, _FILE), lambda row: (row["what"],), "us")
    us = {str(what): pooled.value for (what,), pooled in rows.items()}
    values: Direct = {}
    launched = next((what for what in _LAUNCHES if what in us), None)
    if launched is None:
        return values
    source = f"measured: {_FILE}, {launched!r}"
    values[f"{GPU}.launch"] = DirectValue(us[launched] * _PS_PER_US, source, _FILE)
    if launched == _LAUNCHES[0] and _WAIT in us and _GRAPH in us:
        wait = max(0.0, us[_WAIT] - us[launched] - us[_GRAPH] / _KERNELS)
        source = f"measured: {_FILE}, {_WAIT!r} less the launch and a kernel of a graph"
        values[f"{GPU}.synchronize"] = DirectValue(wait * _PS_PER_US, source, _FILE)
    return values
