"""How slow the tier behind ScratchPipe may be before Collect or Insert shows, and how much
look-ahead above it, with some rows kept in DRAM, buys back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from simulator._drawing import logarithmic
from simulator.figures.charts import figure_grid, legend_above
from simulator.figures.style import styled
from simulator.studies.base import Inputs, Tables
from simulator.studies.readme import columns_of

from .common import KEY, devices, of_points, stages, times

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["figures", "readme", "tables"]

_SYSTEM = "scratchpipe"
_STAGES = ("collect", "exchange", "insert", "train")
_TIERS = ("cxl", "pmem", "ssd")
"""What sockets of tiers, and of links to them, start with."""
_NEAR = "DRAM"


def tables(inputs: Inputs) -> Tables:
    slow = _points(inputs, "tiers")
    slow = slow[slow["system"] == _SYSTEM].reset_index(drop=True)
    dram = slow[slow["platform"] == _NEAR].set_index("alpha")["time_ms"]
    ahead = _points(inputs, "ahead")
    for data in (slow, ahead):
        data["over_dram"] = data["time_ms"] / data["alpha"].map(dram)
        data["tier_over_dram"] = data["tier_ms"] / data["alpha"].map(dram)
        data["hidden"] = data["tier_ms"] / data["time_ms"]
    nothing = slow.set_index(["platform", "alpha"])["time_ms"]
    index = pd.MultiIndex.from_frame(ahead[["platform", "alpha"]])
    ahead["without_ms"] = nothing.reindex(index).to_numpy(float)
    return {"slow": slow, "ahead": ahead}


def _points(inputs: Inputs, stem: str) -> pd.DataFrame:
    """Times of points with those of their stages, the longest, and the busiest of the tier."""
    result = inputs.results[stem]
    data, used, parts = times(result), devices(result), stages(result)
    own = used["resource"].str.startswith(_TIERS)
    own |= (used["platform"] == _NEAR) & (used["resource"] == "cpu.dram")
    data["tier_ms"] = of_points(data, used[own].groupby(KEY)["busy_ms"].max())
    for name in _STAGES:
        named = parts[parts["stage"] == name].set_index(KEY)["busy_ms"]
        data[f"{name}_ms"] = of_points(data, named)
    longest = parts.loc[parts.groupby(KEY)["busy_ms"].idxmax()].set_index(KEY)["stage"]
    data["longest"] = of_points(data, longest)
    return data


def readme(tables: Tables) -> Tables:
    formats = {"platform": "", "alpha": "g", "tier_ms": ".2f"}
    formats |= {f"{name}_ms": ".2f" for name in _STAGES}
    formats |= {"time_ms": ".2f", "over_dram": ".2f", "longest": ""}
    names = {"platform": "tier", "tier_ms": "tier busy (ms)", "time_ms": "ms"}
    names |= {f"{name}_ms": f"{name} (ms)" for name in _STAGES}
    names |= {"over_dram": "over DRAM", "longest": "longest stage"}
    more = {
        "platform": "",
        "kept": ".0%",
        "ahead": "d",
        "tier_ms": ".2f",
        "time_ms": ".2f",
        "over_dram": ".2f",
    }
    more |= {"without_ms": ".2f", "longest": ""}
    others = names | {
        "kept": "rows in DRAM",
        "ahead": "stages ahead",
        "without_ms": "no rows in DRAM (ms)",
    }
    return {
        "slow": columns_of(tables["slow"], formats).rename(columns=names),
        "ahead": columns_of(tables["ahead"], more).rename(columns=others),
    }


def figures(tables: Tables) -> dict[str, Figure]:
    with styled():
        figure, axes = figure_grid(1, 2, 7.2, 3.4)
        _knee(axes[0], tables["slow"])
        _bought(axes[1], tables["ahead"])
        legend_above(figure, axes, 4, "ScratchPipe over slow tiers: alone, and with rows in DRAM")
    return {"slow": figure}


def _knee(axes: Axes, data: pd.DataFrame) -> None:
    """Time of an iteration over what its tier is busy with it, both over the time on DRAM."""
    far = data[data["platform"] != _NEAR]
    marks = ("o", "s", "^", "D")
    for mark, alpha in zip(marks, sorted(set(far["alpha"])), strict=False):
        rows = far[far["alpha"] == alpha]
        axes.plot(
            rows["tier_over_dram"].to_numpy(float),
            rows["over_dram"].to_numpy(float),
            linestyle="",
            marker=mark,
            color="#0072B2",
            markerfacecolor="white" if alpha == 0 else "#0072B2",
            alpha=0.55 if alpha > 1 else 1.0,
            label=f"exponent {alpha:g}",
        )
    low, high = far["tier_over_dram"].min(), far["tier_over_dram"].max()
    axes.plot(
        [low, 1.0, high], [1.0, 1.0, high], color="#444444", linewidth=0.9, label="tier alone"
    )
    logarithmic(axes, "x")
    logarithmic(axes, "y")
    axes.set_xlabel("tier busy / time on DRAM (log)")
    axes.set_ylabel("time / time on DRAM (log)")


def _bought(axes: Axes, data: pd.DataFrame) -> None:
    """Time over that on DRAM alone: without rows in DRAM, and with some, by stages ahead."""
    colors = ("#D55E00", "#E69F00", "#009E73", "#CC79A7")
    marks = ("o", "s", "^", "D")
    groups = data.groupby("platform", sort=False)
    for color, mark, (name, rows) in zip(colors, marks, groups, strict=False):
        rows = rows.sort_values(["kept", "ahead"])
        unit = rows["time_ms"].iloc[0] / rows["over_dram"].iloc[0]
        height = [rows["without_ms"].iloc[0] / unit, *rows["over_dram"].to_numpy(float)]
        at = range(len(height))
        axes.plot(at, height, color=color, marker=mark, markeredgecolor="#222222", label=str(name))
    steps = sorted(set(zip(data["kept"], data["ahead"], strict=True)))
    names = [f"{kept:.0%},\n{ahead} ahead" for kept, ahead in steps]
    axes.set_xticks(range(len(steps) + 1), ["none", *names])
    axes.axhline(1.0, color="#444444", linewidth=0.8)
    logarithmic(axes, "y")
    axes.set_xlabel("rows in DRAM, stages that fetch them")
