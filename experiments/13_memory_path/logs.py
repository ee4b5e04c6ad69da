"""What surviving a crash costs: an undo log in idle persistent memory, or snapshots on a drive."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from simulator.figures.charts import figure_grid, grouped_bars, legend_above, slanted
from simulator.figures.style import styled
from simulator.studies.base import Inputs, Tables
from simulator.studies.readme import columns_of

from .common import times

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["figures", "readme", "tables"]


def tables(inputs: Inputs) -> Tables:
    result = inputs.results["logs"]
    data = times(result)
    data["kept"] = [_kept(point) for point in result]
    told = [point.checkpoint or {} for point in result]
    data["lost"] = [_lost(point) for point in result]
    data["written_mb"] = [float(row.get("written_bytes") or 0.0) / 1e6 for row in told]
    data["waited"] = [100.0 * float(row.get("waited_share") or 0.0) for row in told]
    data["log_tb_per_day"] = [float(row.get("checkpoint_gb_per_day") or 0.0) / 1e3 for row in told]
    alone = data[data["kept"] == "nothing"].set_index("label")
    for column in ("time_ms", "energy_j"):
        base = data["label"].map(alone[column]).to_numpy(float)
        data[f"{column}_over_none"] = 100.0 * (data[column].to_numpy(float) / base - 1.0)
    return {"logs": data}


def _kept(point: Any) -> str:
    """What a point writes, and where."""
    log = point.point.checkpoint
    if log is None:
        return "nothing"
    place = {"pmem": "PMEM", "ssd": "drive"}[log.to]
    if log.kind == "undo_log":
        return f"undo log, {place}"
    return f"snapshot of {log.every}, {place}"


def _lost(point: Any) -> float:
    """Mini-batches that a crash loses at most; not a number where all of them."""
    log = point.point.checkpoint
    if log is None:
        return np.nan
    return 1.0 if log.kind == "undo_log" else 2.0 * log.every


def readme(tables: Tables) -> Tables:
    formats = {
        "label": "",
        "kept": "",
        "lost": ".0f",
        "time_ms": ".2f",
        "time_ms_over_none": "+.1f",
    }
    formats |= {"waited": ".1f", "energy_j_over_none": "+.1f", "written_mb": ".1f"}
    formats |= {"log_tb_per_day": ".0f"}
    names = {"label": "system", "kept": "written", "lost": "mini-batches lost at most"}
    names |= {"time_ms": "ms", "time_ms_over_none": "time, %", "waited": "waited, %"}
    names |= {"energy_j_over_none": "energy, %", "written_mb": "MB a mini-batch"}
    names |= {"log_tb_per_day": "TB a day"}
    return {"logs": columns_of(tables["logs"], formats).rename(columns=names)}


def figures(tables: Tables) -> dict[str, Figure]:
    data = tables["logs"]
    panels = (
        ("time_ms", "iteration time (ms)"),
        ("log_tb_per_day", "TB a day for it"),
    )
    with styled():
        figure, axes = figure_grid(1, 2, 7.2, 3.2)
        for panel, (column, heading) in zip(axes, panels, strict=True):
            grouped_bars(panel, data, group="kept", hue="label", value=column)
            panel.set_ylabel(heading)
            slanted(panel)
        legend_above(figure, axes[:1], 2, "Tables in persistent memory, exponent 0.9")
    return {"logs": figure}
