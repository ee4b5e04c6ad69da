"""One box or a cluster, in dollars of rent for a billion samples."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pandas as pd

from simulator.figures.charts import figure_grid, legend_above
from simulator.figures.style import look, styled, title
from simulator.studies.base import Inputs, Tables
from simulator.studies.readme import columns_of

from .common import times

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["figures", "readme", "tables"]

_SECONDS_PER_HOUR = 3600.0
_DEAR = "gpu_only"
"""On a cluster it costs several times what all others do: in the table alone."""


def tables(inputs: Inputs) -> Tables:
    result = inputs.results["dollars"]
    data = times(result)
    data["gpus"] = [_gpus(point) for point in result]
    data["gbit_per_second"] = [_network(point.point.platform) for point in result]
    data["usd_per_hour"] = [_rent(point, inputs.settings) for point in result]
    seconds = data["time_ms"] / 1e3 / data["batch_size"] * 1e9
    data["usd_per_billion_samples"] = seconds / _SECONDS_PER_HOUR * data["usd_per_hour"]
    one = data.loc[data["system"] == "scratchpipe", "usd_per_billion_samples"].iloc[0]
    data["over_one_box"] = data["usd_per_billion_samples"] / one
    data["break_even_ms"] = data["time_ms"] / data["over_one_box"]
    return {"dollars": data}


def _gpus(point: Any) -> int:
    """GPUs that a point used."""
    return int(point.metrics["gpus"])


def _network(platform: Any) -> float:
    """Gb/s of a trainer's network interface; not a number where there is none."""
    nic = platform.socket("nic")
    return math.nan if nic is None else round(8.0 * float(nic.part.bandwidth) / 1e9, 1)


def _rent(point: Any, settings: Any) -> float:
    """Of a cluster the hosts which it uses, those beside its trainers included; of others what
    their platform says."""
    others = settings["other_hosts"].get(point.point.system.name)
    if others is None:
        return float(point.point.platform.price_usd_per_hour)
    return float(settings["usd_per_host_hour"] * (_gpus(point) + others))


def readme(tables: Tables) -> Tables:
    formats = {"label": "", "platform": "", "gpus": "d", "gbit_per_second": ".0f"}
    formats |= {"time_ms": ".2f", "bottleneck": "", "usd_per_hour": ".2f"}
    formats |= {"usd_per_billion_samples": ".2f", "over_one_box": ".2f"}
    headings = {"label": "system", "gbit_per_second": "network (Gb/s)", "time_ms": "ms"}
    headings |= {"usd_per_hour": "US$ an hour", "over_one_box": "over one box"}
    headings |= {"usd_per_billion_samples": "US$ per billion samples"}
    return {"dollars": columns_of(tables["dollars"], formats).rename(columns=headings)}


def figures(tables: Tables) -> dict[str, Figure]:
    data = tables["dollars"]
    cluster = data[data["gbit_per_second"].notna()]
    bagpipe = cluster[cluster["system"] == "bagpipe"]
    slow, most = bagpipe["gbit_per_second"].min(), bagpipe["gpus"].max()
    few = cluster[(cluster["gbit_per_second"] == slow) & (cluster["system"] != _DEAR)]
    few = few.assign(own=few["system"] != "bagpipe")
    with styled():
        figure, axes = figure_grid(1, 2, 7.2, 3.2, sharey=True, width_ratios=[7, 4])
        panels = (
            (few.sort_values(["own", "gpus"], kind="stable"), "gpus"),
            (_networks(bagpipe[bagpipe["gpus"] == most]), "network"),
        )
        for panel, (rows, column) in zip(axes, panels, strict=True):
            _bars(panel, rows, column)
            for _, row in data[data["gbit_per_second"].isna()].iterrows():
                _level(panel, row)
        axes[0].set_xlabel(f"trainers, {slow:.0f} Gb/s")
        axes[1].set_xlabel(f"network of {most} trainers")
        axes[0].set_ylabel("US$ per billion samples")
        legend_above(figure, axes[:1], 3, "Clusters (bars) beside one box (lines); not calibrated")
    return {"dollars": figure}


def _networks(rows: pd.DataFrame) -> pd.DataFrame:
    """The slowest network first, each with its rate and what is said of it."""
    names = [
        label.replace(" RDMA", "\nRDMA") if "Gb/s" in label else f"{rate:.0f} Gb/s"
        for label, rate in zip(rows["label"], rows["gbit_per_second"], strict=True)
    ]
    return rows.assign(network=names).sort_values(["gbit_per_second", "label"])


def _bars(axes: Axes, rows: pd.DataFrame, column: str) -> None:
    for number, row in enumerate(rows.to_dict("records")):
        name, value = row["system"], row["usd_per_billion_samples"]
        color = look(name).color
        axes.bar(number, value, 0.6, color=color, edgecolor="#222222", label=title(name))
        axes.annotate(
            f"{value:.1f}",
            (number, value),
            ha="center",
            fontsize=6.5,
            xytext=(0, 2),
            textcoords="offset points",
        )
    axes.set_xticks(range(len(rows)), [str(name) for name in rows[column]])


def _level(axes: Axes, row: pd.Series) -> None:
    style, value = look(row["system"]), row["usd_per_billion_samples"]
    axes.axhline(value, color=style.color, linestyle=style.dash, linewidth=1.6)
    name = f"{title(row['system'])} on {row['platform']}: {value:.1f}"
    axes.plot([], [], color=style.color, linestyle=style.dash, label=name)
