"""Copies of hot rows in every node of a pool: what they even out, and what updating all of them
costs, by how many there are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from simulator._drawing import logarithmic
from simulator.figures.charts import figure_grid, from_zero, legend_above
from simulator.figures.style import styled
from simulator.results.extension import extension_mark
from simulator.studies.base import Inputs, Tables
from simulator.studies.frames import with_baseline
from simulator.studies.readme import side_by_side

from .common import KEY, devices, of_points, times

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["figures", "readme", "tables"]

_CELLS = ["mode", "alpha"]
_LINES = (
    ("#56B4E9", ":", "o"),
    ("#009E73", "-.", "s"),
    ("#E69F00", "--", "^"),
    ("#D55E00", "-", "D"),
)
"""Of each skew: colour, dash, marker."""


def tables(inputs: Inputs) -> Tables:
    """A row a mode, skew and number of copied rows of a table: the iteration, and how long the
    memory of the nodes is busy, with that of no copies beside it."""
    result = inputs.results["copies"]
    data, used = times(result), devices(result)
    busy = used[used["resource"] == "near_memory.dram"].set_index(KEY)["busy_ms"]
    data["memory_ms"] = of_points(data, busy)
    data["rows"] = data["label"].astype(int)
    for column, into in (("time_ms", "time_over_none"), ("memory_ms", "memory_over_none")):
        data = with_baseline(data, "0", _CELLS, column, into)
        data[into] = 1.0 / data[into]
    return {"copies": data, "copies_best": _best(data)}


def _best(data: pd.DataFrame) -> pd.DataFrame:
    """How many copied rows are fastest in each mode, at each skew."""
    rows = []
    for (mode, alpha), own in data.groupby(_CELLS, sort=True):
        for column, what in (("memory_over_none", "memory"), ("time_over_none", "iteration")):
            least = own.iloc[int(own[column].to_numpy().argmin())]
            cell = {"mode": mode, "what": what, "alpha": alpha}
            rows.append({**cell, "rows": int(least["rows"]), "over_none": least[column]})
    return pd.DataFrame(rows)


def readme(tables: Tables) -> Tables:
    data = tables["copies"].assign(
        what=[
            f"{mode}{extension_mark(mode == 'training')}, exponent {alpha:g}"
            for mode, alpha in tables["copies"][_CELLS].to_numpy()
        ]
    )
    heading = "{} rows".format
    return {
        "copies": side_by_side(data, ["what"], "rows", ("memory_over_none", ".2f"), heading),
        "copies_time": side_by_side(data, ["what"], "rows", ("time_over_none", ".3f"), heading),
    }


def figures(tables: Tables) -> dict[str, Figure]:
    data = tables["copies"]
    with styled():
        figure, axes = figure_grid(1, 2, 7.2, 3.2, sharey=True)
        for panel, mode in zip(axes, ("training", "inference"), strict=True):
            _lines(panel, data[data["mode"] == mode])
            panel.axhline(1.0, color="#444444", linewidth=0.8)
            panel.set_title("training ([X]: ours)" if mode == "training" else mode)
            panel.set_xlabel("copied rows of a table (log; left: none)")
        from_zero(axes[0])
        axes[0].set_ylabel("time of the nodes' memory\nover that without copies")
        legend_above(figure, axes[:1], 4, "Copies of hot rows in 64 bank groups (TRiM)")
    return {"copies": figure}


def _lines(axes: Axes, data: pd.DataFrame) -> None:
    for alpha, (color, dash, mark) in zip(sorted(data["alpha"].unique()), _LINES, strict=False):
        rows = data[data["alpha"] == alpha].sort_values("rows")
        axes.plot(
            rows["rows"].clip(lower=0.3).to_numpy(float),
            rows["memory_over_none"].to_numpy(float),
            color=color,
            linestyle=dash,
            marker=mark,
            label=f"exponent {alpha:g}",
        )
    logarithmic(axes, "x")
