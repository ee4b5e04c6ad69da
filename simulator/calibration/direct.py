"""Parameters that one measurement gives without a fit."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from statistics import median

from simulator.calibration.sockets import GPU
from simulator.calibration.tables import pool, read_rows

__all__ = ["Direct", "DirectValue", "direct_values"]

SOFTWARE = "operators.gpu"
_FILE = "micro_launch.csv"
_LAUNCHES = (
    "empty kernel via ctypes, back to back (per launch)",
    "copy of 4096 B, h2d, page-locked (per launch)",
)
"""What one submission costs the driver; the first that was measured counts."""
_WAIT = "empty kernel + stream sync"
_GRAPH, _KERNELS = "cuda graph of 100 tiny kernels (per replay)", 100
_PS_PER_US = 1_000_000
_KERNEL, _STREAM = "Triton kernel, back to back (per launch)", "enter and leave a stream"
_COLLECTIVES = "micro_nccl.csv"
_HANDED = "work handed to a thread of its own (per call)"
_SMALL = 1 << 16
"""Bytes of collectives whose calls count: larger ones wait for room in the queue."""


@dataclass(frozen=True)
class DirectValue:
    """A number that is no fit."""

    value: float
    source: str
    file: str
    """What measured it."""


Direct = dict[str, DirectValue]
"""By dotted path (under `platform.` or `operators.`)."""


def direct_values(folder: Path) -> Direct:
    """The numbers that the files in `folder` give on their own.

    The launch of a kernel, as it was measured. The wait: that of launching one and waiting for it,
    less the launch and what a kernel takes within a captured graph; only where the launch was
    measured with the same software. A submission: a kernel on a stream that is entered for it, less
    the launch; a collective: its call, less both. Work handed to another thread, as measured.

    Raises `UsageError` for files that cannot be read.
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
    if _HANDED in us:
        source = f"measured: {_FILE}, {_HANDED!r}"
        values[f"{SOFTWARE}.worker_call"] = DirectValue(us[_HANDED] * _PS_PER_US, source, _FILE)
    return values | _submissions(folder, us, us[launched])


def _submissions(folder: Path, us: dict[str, float], launch: float) -> Direct:
    """What the software adds to a launch of `launch` us, and a call of the library of collectives
    to that: where both were measured, which takes several GPUs."""
    calls = read_rows(folder, _COLLECTIVES)
    small = [row for row in calls if row.get("us_submit") and int(row["bytes"]) <= _SMALL]
    if not small or _KERNEL not in us or _STREAM not in us:
        return {}
    added = max(0.0, us[_KERNEL] + us[_STREAM] - launch)
    call = median(float(row["us_submit"]) for row in small)
    collective = max(0.0, call - launch - added)
    source = f"measured: {_FILE}, {_KERNEL!r} and {_STREAM!r} less the launch"
    told = f"measured: {_COLLECTIVES}, {call:.1f} us of the host a call less every submission's"
    return {
        f"{SOFTWARE}.submission": DirectValue(added * _PS_PER_US, source, _FILE),
        f"{SOFTWARE}.collective": DirectValue(collective * _PS_PER_US, told, _COLLECTIVES),
    }
