"""All systems of one server at one budget of HBM: speed-ups, and the best by locality and cache."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from simulator._drawing import logarithmic
from simulator.figures.charts import figure_grid, legend_above
from simulator.figures.style import LOCALITIES, look, styled, title
from simulator.studies.base import Inputs, Tables
from simulator.studies.frames import class_order, with_baseline
from simulator.studies.readme import side_by_side

from .common import times

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["figures", "readme", "tables"]

_BASELINE = "hybrid"
_CEILING = "gpu_only"
"""Needs no cache; no budget of the others would hold its tables."""
_CELLS = ["platform", "share", "locality"]


def tables(inputs: Inputs) -> Tables:
    data = times(inputs.results["servers"])
    points = inputs.results["servers"]
    data["share"] = [float(point.point.cache.fraction or 0.0) for point in points]
    data["class"] = class_order(data["locality"])
    data = with_baseline(data, _BASELINE, _CELLS, "time_ms", "over_hybrid")
    budget = float(inputs.settings["budget"])
    machine = str(inputs.settings["map_machine"])
    return {
        "servers": data[data["share"] == budget].reset_index(drop=True),
        "map": _map(data[data["platform"] == machine]),
    }


def _map(data: pd.DataFrame) -> pd.DataFrame:
    """The fastest system that trains right of each cell, the next one, and how far behind it is."""
    rows = []
    for (share, locality), cell in data.groupby(["share", "locality"], sort=False):
        ranked = cell.sort_values("time_ms", kind="stable")
        right = ranked[ranked["trains_right"] & (ranked["system"] != _CEILING)]
        stale = ranked[~ranked["trains_right"]]
        first, second = right.iloc[0], right.iloc[1]
        ceiling = ranked[ranked["system"] == _CEILING].iloc[0]
        rows.append(
            {
                "share": share,
                "locality": locality,
                "class": first["class"],
                "best": first["system"],
                "time_ms": first["time_ms"],
                "over_hybrid": first["over_hybrid"],
                "bottleneck": first["bottleneck"],
                "next": second["system"],
                "margin": second["time_ms"] / first["time_ms"] - 1.0,
                "error": first["error"],
                "stale_gain": first["time_ms"] / stale["time_ms"].min() - 1.0,
                "over_ceiling": first["time_ms"] / ceiling["time_ms"],
            }
        )
    return pd.DataFrame(rows).sort_values(["class", "share"], ignore_index=True)


def _order(data: pd.DataFrame) -> list[str]:
    """Systems by their mean speed-up (of logarithms), the fastest first."""
    means = np.log(data["over_hybrid"]).groupby(data["system"]).mean()
    return list(means.sort_values(ascending=False).index)


def readme(tables: Tables) -> Tables:
    data = tables["servers"]
    order = {name: number for number, name in enumerate(_order(data))}
    data = data.assign(
        place=data["system"].map(order),
        stale=["stale" if not right else "" for right in data["trains_right"]],
        column=data["platform"] + " " + data["locality"],
        name=data["system"],
    ).sort_values(["place", "platform", "class"])
    speed = side_by_side(data, ["name", "stale"], "column", ("over_hybrid", ".2f"))
    best = tables["map"].assign(
        cell=[
            f"{row.best} ({row.over_hybrid:.2f}), {row.margin:+.0%} {row.next}, {row.bottleneck}"
            for row in tables["map"].itertuples()
        ]
    )
    shown = side_by_side(best, ["locality"], "share", ("cell", ""), "cache {:.0%}".format)
    return {"servers": speed.rename(columns={"name": "system"}), "map": shown}


def figures(tables: Tables) -> dict[str, Figure]:
    return {"servers": _servers(tables["servers"]), "map": _best(tables["map"])}


def _servers(data: pd.DataFrame) -> Figure:
    """A line a system, a mark a class."""
    order = _order(data)
    machines = list(dict.fromkeys(data["platform"]))
    with styled():
        figure, axes = figure_grid(1, len(machines), 7.2, 1.3 + 0.21 * len(order), sharey=True)
        for panel, machine in zip(axes, machines, strict=True):
            here = data[data["platform"] == machine]
            _marks(panel, here, order)
            panel.set_title(machine if here["error"].any() else f"{machine} (not calibrated)")
            panel.set_xlabel("speed-up over hybrid on this machine (log)")
        names = [title(name) for name in order]
        stale = set(data[~data["trains_right"]]["system"])
        names = [f"{n} (stale)" if s in stale else n for n, s in zip(names, order, strict=True)]
        axes[0].set_yticks(range(len(order)), names)
        axes[0].invert_yaxis()
        share = data["share"].iloc[0]
        legend_above(figure, axes[:1], 4, f"HBM for {share:.0%} of the rows, {_software(data)}")
    return figure


def _software(data: pd.DataFrame) -> str:
    return f"{data['operators'].iloc[0]} operators"


def _marks(axes: Axes, data: pd.DataFrame, order: list[str]) -> None:
    for number, locality in enumerate(LOCALITIES):
        rows = data[data["locality"] == locality].set_index("system").reindex(order)
        style = look(locality)
        heights = np.arange(len(order)) + 0.17 * (number - 1.5)
        value = rows["over_hybrid"].to_numpy(float)
        error = np.where(rows.index == _BASELINE, 0.0, rows["error"].to_numpy(float))
        axes.errorbar(
            value,
            heights,
            xerr=value * error if np.any(error) else None,
            color=style.color,
            marker=style.marker,
            markersize=3.8,
            markeredgecolor="#222222",
            markeredgewidth=0.4,
            elinewidth=0.7,
            linestyle="",
            label=locality.capitalize(),
        )
    axes.axvline(1.0, color="#444444", linewidth=0.8)
    logarithmic(axes, "x")
    for line in range(len(order) - 1):
        axes.axhline(line + 0.5, color="#e6e6e6", linewidth=0.5)
    axes.grid(False, axis="y")
    axes.grid(True, axis="x")


def _best(data: pd.DataFrame) -> Figure:
    """A cell in the colour of the system that wins it, paler where errors could turn it."""
    shares, classes = sorted(set(data["share"])), list(dict.fromkeys(data["locality"]))
    with styled():
        figure, (axes,) = figure_grid(1, 1, 7.2, 0.9 + 0.72 * len(classes))
        for row in data.to_dict("records"):
            x, y = shares.index(row["share"]), classes.index(row["locality"])
            sure = row["margin"] > row["error"]
            _cell(axes, (x, y), look(row["best"]).color, 0.6 if sure else 0.22)
            text = (
                f"{row['over_hybrid']:.1f}x hybrid, {row['bottleneck']}\n"
                f"{title(row['next'])} {row['margin']:+.0%}"
            )
            axes.text(x, y - 0.22, title(row["best"]), ha="center", va="center", weight="bold")
            axes.text(x, y + 0.16, text, ha="center", va="center", fontsize=6.5)
        axes.set_xlim(-0.5, len(shares) - 0.5)
        axes.set_ylim(len(classes) - 0.5, -0.5)
        axes.set_xticks(range(len(shares)), [f"{share:.0%}" for share in shares])
        axes.set_yticks(range(len(classes)), [name.capitalize() for name in classes])
        axes.set_xlabel("share of the rows that HBM has room for")
        axes.set_ylabel("locality")
        axes.grid(False)
        figure.suptitle(
            "Fastest system that trains right, and how much slower the next one is\n"
            "(strong colour: by more than the worst error)"
        )
    return figure


def _cell(axes: Axes, at: tuple[int, int], color: str, alpha: float) -> None:
    from matplotlib.patches import Rectangle

    corner = (at[0] - 0.5, at[1] - 0.5)
    axes.add_patch(Rectangle(corner, 1, 1, facecolor=color, alpha=alpha, edgecolor="white", lw=2))
