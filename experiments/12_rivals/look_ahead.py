"""How much looking ahead pays in a cache of one size: rows fetched, and time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from simulator._drawing import logarithmic
from simulator.figures.charts import figure_grid, from_zero, legend_above
from simulator.figures.style import styled
from simulator.studies.base import Inputs, Tables
from simulator.studies.readme import columns_of

from .common import by_system, times

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["figures", "readme", "tables"]

_KNOWN = {"torchrec_prefetch": 2, "scratchpipe": 6, "hugectr_etc": 10}
"""Mini-batches whose ids are known, with the one that trains; others have a key for it, or know
that one alone."""
_WINDOWS = ("cdlrm", "hugectr_etc")
_APART = 1.1
"""From mark to mark of systems that know as many mini-batches (the axis is logarithmic)."""


def tables(inputs: Inputs) -> Tables:
    result = inputs.results["look_ahead"]
    data = times(result)
    data["known"] = [_known(point.point.system) for point in result]
    data["rows_fetched"] = [_fetched(point) for point in result]
    data["rows_over_serial"] = data["rows_fetched"] / _of(data, "straw_man", "rows_fetched")
    data["time_over_serial"] = data["time_ms"] / _of(data, "straw_man", "time_ms")
    return {"look_ahead": data}


def _known(system: Any) -> int:
    return _KNOWN.get(system.name) or int(system.parameters.get("look_ahead", 1))


def _fetched(point: Any) -> float:
    """Rows brought to the GPU a mini-batch. Of systems that load windows or passes, which may miss
    nothing while they train, all bytes that the link brings, in rows."""
    if point.point.system.name not in _WINDOWS:
        return float(point.metrics["misses_per_batch"])
    brought = sum(use["bytes"] or 0.0 for use in point.devices if use["resource"] == "pcie.down")
    return float(brought / point.point.model.row_bytes)


def _of(data: pd.DataFrame, label: str, column: str) -> pd.Series:
    """`column` of the system called `label` on the same trace."""
    return data["locality"].map(data[data["label"] == label].set_index("locality")[column])


def readme(tables: Tables) -> Tables:
    formats = {"locality": "", "label": "", "known": "d", "rows_fetched": ",.0f"}
    formats |= {"time_ms": ".2f", "bottleneck": ""}
    names = {"label": "system", "known": "mini-batches known", "rows_fetched": "rows fetched"}
    shown = columns_of(tables["look_ahead"], formats).rename(columns=names)
    return {"look_ahead": shown.rename(columns={"time_ms": "ms"})}


def figures(tables: Tables) -> dict[str, Figure]:
    data = tables["look_ahead"]
    beside = (
        data.groupby("known").cumcount() - data.groupby("known")["known"].transform("size") // 2
    )
    data = data.assign(x=data["known"] * _APART**beside)
    systems = list(dict.fromkeys(data["system"]))
    panels = (
        (data.assign(error=0.0), "rows_fetched", "rows fetched a mini-batch"),
        (data, "time_ms", "iteration time (ms)"),
    )
    with styled():
        figure, axes = figure_grid(1, 2, 7.2, 3.2)
        for panel, (rows, column, heading) in zip(axes, panels, strict=True):
            by_system(panel, rows, "x", column, systems)
            logarithmic(panel, "x")
            from_zero(panel)
            panel.set_xlabel("mini-batches known (log)")
            panel.set_ylabel(heading)
        share, locality = data["cache_fraction"].max(), data["locality"].iloc[0]
        heading = f"One cache of {share:.0%} of the rows, {locality.capitalize()} locality"
        legend_above(figure, axes[:1], 4, heading)
    return {"look_ahead": figure}
