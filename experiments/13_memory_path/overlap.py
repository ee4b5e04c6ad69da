"""Rows that neighbouring mini-batches share: held, waited for, patched or updated first, each rule
beside the same system without it, by what they share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from simulator.engine.prepare import open_for
from simulator.figures.charts import figure_grid, from_zero, legend_above
from simulator.figures.style import look, styled
from simulator.studies.base import Inputs, Tables
from simulator.studies.readme import side_by_side

from .common import exponent, times

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["figures", "readme", "shared_with_before", "tables"]


def tables(inputs: Inputs) -> Tables:
    result, rules = inputs.results["overlap"], inputs.settings["rules"]
    data = times(result)
    points = {exponent(point.point): point.point for point in result}
    shared = {alpha: shared_with_before(point) for alpha, point in points.items()}
    data.insert(0, "shared", data["alpha"].map(shared))
    data["rule"] = [rules.get(label, {}).get("rule", "") for label in data["label"]]
    data["beside"] = [rules.get(label, {}).get("beside", "") for label in data["label"]]
    time = data.set_index(["alpha", "label"])["time_ms"].to_dict()
    cells = zip(data["alpha"], data["beside"], data["time_ms"], strict=True)
    data["price"] = [
        now / time[alpha, other] - 1.0 if other else np.nan for alpha, other, now in cells
    ]
    return {"overlap": data}


def shared_with_before(point: Any) -> float:
    """Share of the lookups of a mini-batch whose rows the one before looks up, exact for the first
    timed one."""
    trace, first = open_for(point, 1), point.run.warmup_batches
    before, own = (trace.minibatch(first + k).ids for k in (0, 1))
    again = sum(int(np.isin(b, a).sum()) for a, b in zip(before, own, strict=True))
    return again / sum(map(len, own))


def readme(tables: Tables) -> Tables:
    data = tables["overlap"]
    ruled = data[data["rule"] != ""]
    heading = "shared {:.0%}".format
    return {
        "overlap": side_by_side(data, ["label"], "shared", ("time_ms", ".2f"), heading),
        "prices": side_by_side(ruled, ["rule"], "shared", ("price", "+.1%"), heading),
    }


def figures(tables: Tables) -> dict[str, Figure]:
    data = tables["overlap"]
    ruled = data[data["rule"] != ""]
    with styled():
        figure, axes = figure_grid(1, 2, 7.2, 3.2)
        for panel, (column, scale) in zip(axes, (("time_ms", 1.0), ("price", 100.0)), strict=True):
            _lines(panel, ruled.assign(**{column: ruled[column] * scale}), column)
            panel.set_xlabel("lookups of rows of the mini-batch before (%)")
        from_zero(axes[0])
        axes[0].set_ylabel("iteration time (ms)")
        axes[1].axhline(0.0, color="#444444", linewidth=0.8)
        axes[1].set_ylabel("time over that without the rule (%)")
        legend_above(figure, axes[:1], 2, "Rules for rows that neighbours share")
    return {"overlap": figure}


def _lines(axes: Axes, data: pd.DataFrame, y: str) -> None:
    for rule in dict.fromkeys(data["rule"]):
        rows = data[data["rule"] == rule].sort_values("shared")
        style = look(str(rows["system"].iloc[0]))
        plain = rows["label"].iloc[0] == rows["system"].iloc[0]
        axes.plot(
            100 * rows["shared"].to_numpy(float),
            rows[y].to_numpy(float),
            color=style.color,
            linestyle=style.dash if plain else ":",
            marker=style.marker,
            markerfacecolor=style.color if plain else "white",
            markeredgecolor="#222222",
            markeredgewidth=0.4,
            label=rule,
        )
