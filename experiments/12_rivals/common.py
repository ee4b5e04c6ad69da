"""What the questions share: times with the errors of a calibrated machine, and marks of systems."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from simulator.figures.style import look, title
from simulator.results.resources import title_of
from simulator.results.trust import iteration_errors
from simulator.studies.frames import metrics_frame
from simulator.systems import system_class

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from simulator.results.record import Result

__all__ = ["by_system", "error_of", "times", "trains_right"]

CALIBRATED = {"H200": "h200"}
"""Machines of the study whose iterations were compared with measured ones, as the validation calls
them."""

_COPIED = ("system", "label", "locality", "operators", "cache_fraction", "batch_size")


def error_of(platform: str) -> float:
    """Worst error of whole iterations on a machine, as a share; 0 where it is not known."""
    errors = iteration_errors(CALIBRATED.get(platform, platform))
    return 0.0 if errors is None else errors[1]


def trains_right(system: str) -> bool:
    """Whether no row is read without its last update."""
    consistency = system_class(system).consistency
    return consistency is None or consistency.result != "stale"


def times(result: Result) -> pd.DataFrame:
    """A row a point: what it is, its time (ms), rows fetched, bottleneck, error of its machine."""
    metrics = metrics_frame(result)
    data = metrics[list(_COPIED)].copy()
    data["platform"] = [str(name).rstrip("*") for name in metrics["platform"]]
    data["trains_right"] = [trains_right(str(name)) for name in data["system"]]
    data["time_ms"] = metrics["iteration_time_us"] / 1e3
    data["misses_per_batch"] = metrics["misses_per_batch"].astype(float)
    data["lookup_hit_rate"] = metrics["lookup_hit_rate"].astype(float)
    data["bottleneck"] = [
        name if name == "latency" else title_of(str(name)) for name in metrics["bottleneck"]
    ]
    data["error"] = [error_of(name) for name in data["platform"]]
    return data


def by_system(axes: Axes, data: pd.DataFrame, x: str, y: str, systems: Sequence[str]) -> None:
    """One line a system over `x`, with the errors of its machine as whiskers."""
    for name in systems:
        rows = data[data["system"] == name].sort_values(x)
        style, height = look(name), rows[y].to_numpy(float)
        error = height * rows["error"].to_numpy(float)
        axes.errorbar(
            rows[x].to_numpy(float),
            height,
            yerr=error if np.any(error) else None,
            color=style.color,
            linestyle=style.dash,
            marker=style.marker,
            markeredgecolor="#222222",
            markeredgewidth=0.4,
            elinewidth=0.7,
            label=title(name),
        )
