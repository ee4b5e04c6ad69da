"""Logic beside persistent memory and flash, each beside hybrid on the same memory: training, and
queries that are answered inside a drive."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import pandas as pd

from simulator._drawing import logarithmic
from simulator.figures.charts import figure_grid, from_zero, legend_above
from simulator.figures.style import styled
from simulator.results.record import Result
from simulator.studies.base import Inputs, Tables
from simulator.studies.readme import side_by_side

from .common import by_skew, times

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["figures", "readme", "tables"]

_PANELS = {
    "near_data": ("training", ("training_cxl", "ndrec")),
    "queries": ("queries (inference only)", ("recssd", "rm_ssd", "screc")),
}
"""Of the figure: what a table is of, and its systems."""


def tables(inputs: Inputs) -> Tables:
    beside, cached = (inputs.settings[name] for name in ("same_memory", "cached"))
    return {name: _compared(inputs.results[name], beside, cached) for name in _PANELS}


def _compared(result: Result, beside: Mapping[str, str], cached: Mapping[str, str]) -> pd.DataFrame:
    """A row a point: its time and energy, those of `beside` over them, and the time of what
    `cached` names over its own."""
    data = times(result)
    log = [point.checkpoint or {} for point in result]
    data["waited"] = [100.0 * float(row.get("waited_share") or 0.0) for row in log]
    compared = (
        ("time_ms", "over_same", beside),
        ("energy_j", "energy_over_same", beside),
        ("time_ms", "over_cached", cached),
    )
    for column, name, others_of in compared:
        known = data.set_index(["alpha", "label"])[column].to_dict()
        others = [
            known[alpha, others_of.get(label, label)]
            for alpha, label in zip(data["alpha"], data["label"], strict=True)
        ]
        data[name] = others / data[column]
    return data


def readme(tables: Tables) -> Tables:
    heading = "{:g}".format
    shown = {}
    for name in _PANELS:
        data = tables[name]
        shown[f"{name}_ms"] = side_by_side(data, ["label"], "alpha", ("time_ms", ".2f"), heading)
        shown[f"{name}_over"] = side_by_side(
            data, ["label"], "alpha", ("over_same", ".2f"), heading
        )
    logs = tables["near_data"]
    logs = logs[logs["label"].isin(["training_cxl", "CXL-B"])]
    shown["log_waits"] = side_by_side(logs, ["label"], "alpha", ("waited", ".1f"), heading)
    return shown


def figures(tables: Tables) -> dict[str, Figure]:
    with styled():
        figure, axes = figure_grid(1, 2, 7.2, 3.2)
        for panel, (name, (what, systems)) in zip(axes, _PANELS.items(), strict=True):
            by_skew(panel, tables[name], "over_same", systems)
            panel.set_title(what)
            panel.axhline(1.0, color="#444444", linewidth=0.8)
            panel.set_ylabel("speed-up over hybrid\non the same memory")
        from_zero(axes[0])
        logarithmic(axes[1], "y")
        legend_above(figure, axes, 5, "Logic beside persistent memory and flash")
    return {"near_data": figure}
