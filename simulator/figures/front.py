"""The front of cost, time and energy: what each dollar an hour buys, with the error of each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from simulator._drawing import logarithmic
from simulator.figures.charts import figure_grid
from simulator.figures.style import styled

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["front"]

_OTHER, _LIMIT, _BEST = "#BBBBBB", "#D55E00", "#D55E00"
_X = {"usd_per_hour": "dollars an hour", "cache_gib": "cache, GiB"}


def front(
    data: pd.DataFrame,
    throughput: float | None,
    budget: float | None,
    title: str,
    x: Literal["usd_per_hour", "cache_gib"] = "usd_per_hour",
) -> Figure:
    """Samples a second over dollars an hour, or over the cache's size; colour: energy of a sample.

    `data`: a row a point, columns `x`, `throughput_samples_per_s`, `low` and `high` (nan
    without a known error), `energy_mj_per_sample`, `on_front`, `best`. `throughput` and `budget`
    are drawn as limits.
    """
    with styled():
        figure, (axes,) = figure_grid(1, 1, 5.2, 3.2)
        shown, others = data[data["on_front"]], data[~data["on_front"]]
        axes.scatter(
            others[x],
            others["throughput_samples_per_s"],
            s=9,
            color=_OTHER,
            label="beaten by another",
            zorder=2,
        )
        _errors(axes, shown, x)
        points = axes.scatter(
            shown[x],
            shown["throughput_samples_per_s"],
            c=shown["energy_mj_per_sample"],
            cmap="viridis",
            s=28,
            edgecolor="black",
            linewidth=0.5,
            label="nothing beats it",
            zorder=4,
        )
        chosen = data[data["best"]]
        axes.scatter(
            chosen[x],
            chosen["throughput_samples_per_s"],
            s=110,
            facecolor="none",
            edgecolor=_BEST,
            linewidth=1.6,
            label="the answer",
            zorder=5,
        )
        if throughput is not None:
            axes.axhline(throughput, color=_LIMIT, linestyle="--", linewidth=0.9, label="asked for")
        if budget is not None and x == "usd_per_hour":
            axes.axvline(budget, color=_LIMIT, linestyle=":", linewidth=0.9, label="budget")
        columns: dict[Literal["x", "y"], str] = {
            "x": x,
            "y": "throughput_samples_per_s",
        }
        for axis, column in columns.items():
            if data[column].max() > 10 * data[column].min() > 0:
                logarithmic(axes, axis)
        axes.set_xlabel(_X[x])
        axes.set_ylabel("samples a second")
        axes.set_title(title, fontsize=8, loc="left")
        axes.legend(fontsize=6.5, loc="best")
        figure.colorbar(points, ax=axes, label="energy of a sample (mJ)")
        figure.set_layout_engine("constrained")
    return figure


def _errors(axes: Axes, rows: pd.DataFrame, x: str) -> None:
    """Bars from the least to the most throughput, where they are known."""
    known = rows[np.isfinite(rows["low"]) & np.isfinite(rows["high"])]
    for _, row in known.iterrows():
        ends = (row["low"], row["high"])
        axes.plot([row[x]] * 2, ends, "_-", color="black", markersize=5, linewidth=0.9)
