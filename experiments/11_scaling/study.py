"""Strong and weak scaling of tables in HBM over hosts, and of ScratchPipe over the GPUs of a host.

Efficiency is the throughput a GPU over that of the smallest number of GPUs of the same system.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from simulator.figures.charts import figure_grid, from_zero, legend_above, lines
from simulator.figures.style import resource_entries, styled
from simulator.results.resources import KINDS, Kind, title_of
from simulator.studies.base import Inputs, Tables
from simulator.studies.frames import metrics_frame
from simulator.studies.readme import columns_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from simulator.results.record import Result

__all__ = ["figures", "readme", "tables"]

_SECONDS_PER_HOUR = 3600.0
_TITLES = {"host": "one host", "strong": "strong: 32,768 samples", "weak": "weak: 128 a GPU"}
_SYSTEMS = ("scratchpipe", "gpu_only")
_HEADINGS = {
    "batch_size": "samples",
    "time_ms": "ms",
    "million_samples_per_second": "M samples/s",
    "efficiency": "efficiency of a GPU",
    "usd_per_billion_samples": "US$ per billion samples",
    "bottleneck": "busiest",
}
_LEAST_SHOWN = 0.1
"""Busy share below which a resource is not drawn."""


def tables(inputs: Inputs) -> Tables:
    price = float(inputs.settings["usd_per_gpu_hour"])
    data = pd.concat([_points(name, inputs.results[name], price) for name in _TITLES])
    use = pd.concat([_use(name, inputs.results[name]) for name in _TITLES])
    return {
        "scaling": data.reset_index(drop=True),
        "utilization": use.reset_index(drop=True),
    }


def _points(scaling: str, result: Result, price: float) -> pd.DataFrame:
    """Time, throughput, efficiency, cost and bottleneck of each number of GPUs."""
    metrics = metrics_frame(result)
    data = metrics[["system", "gpus", "operators", "calibrated"]].copy()
    data.insert(0, "scaling", scaling)
    data["batch_size"] = [point.point.model.batch_size for point in result]
    data["time_ms"] = metrics["iteration_time_us"] / 1e3
    data["million_samples_per_second"] = metrics["throughput_samples_per_s"] / 1e6
    each = data["million_samples_per_second"] / data["gpus"]
    data["efficiency"] = each / each.groupby(data["system"]).transform("first")
    hours = 1e9 / (data["million_samples_per_second"] * 1e6) / _SECONDS_PER_HOUR
    data["usd_per_billion_samples"] = hours * data["gpus"] * price
    data["bottleneck"] = [title_of(str(name)) for name in metrics["bottleneck"]]
    return data


def _use(scaling: str, result: Result) -> pd.DataFrame:
    """How busy the resources of each kind are: the busiest one, and their mean; where the two
    differ, one holds the others up."""
    found = []
    for gpus, point in zip(metrics_frame(result)["gpus"], result, strict=True):
        devices = pd.DataFrame(point.devices)
        busy = devices.groupby("kind", sort=False)["utilization"].agg(["max", "mean"])
        busy = busy[busy["max"] >= _LEAST_SHOWN].reset_index()
        busy.insert(0, "scaling", scaling)
        busy.insert(1, "system", point.point.system.name)
        busy.insert(2, "gpus", gpus)
        found.append(busy.rename(columns={"max": "busiest"}))
    return pd.concat(found)


def readme(tables: Tables) -> Tables:
    formats = {
        "system": "",
        "gpus": "",
        "batch_size": ",",
        "time_ms": ".2f",
        "million_samples_per_second": ".2f",
        "efficiency": ".0%",
        "usd_per_billion_samples": ".2f",
        "bottleneck": "",
    }
    data = tables["scaling"]
    shown = {name: columns_of(data[data["scaling"] == name], formats) for name in _TITLES}
    return {name: table.rename(columns=_HEADINGS) for name, table in shown.items()}


def figures(tables: Tables) -> dict[str, Figure]:
    data, use = tables["scaling"], tables["utilization"]
    with styled():
        figure, axes = figure_grid(3, len(_TITLES), 7.2, 6.6, sharex="col")
        for number, (name, heading) in enumerate(_TITLES.items()):
            rows = data[data["scaling"] == name]
            throughput, cost, busy = axes[number :: len(_TITLES)]
            throughput.set_title(heading)
            _by_system(throughput, rows, "million_samples_per_second")
            from_zero(throughput)
            _by_system(cost, rows, "usd_per_billion_samples")
            from_zero(cost)
            _busy(busy, use[use["scaling"] == name])
            busy.set_xlabel("GPUs")
        axes[0].set_ylabel("million samples/s")
        axes[len(_TITLES)].set_ylabel("US$ per billion samples")
        axes[2 * len(_TITLES)].set_ylabel("share of time busy")
        legend_above(figure, axes, 5, "Below: the busiest resource of each kind")
    return {"scaling": figure}


def _by_system(axes: Axes, data: pd.DataFrame, column: str) -> None:
    lines(axes, data, x="gpus", y=column, hue="system", hues=_SYSTEMS)
    _doubling(axes, data)


def _busy(axes: Axes, use: pd.DataFrame) -> None:
    """The busiest resource of each kind, of the system that runs on the most GPUs."""
    use = use[use["system"] == _SYSTEMS[0 if "scratchpipe" in set(use["system"]) else 1]]
    kinds: dict[Kind, None] = dict.fromkeys(use["kind"])
    entries = resource_entries({str(kind): str(kind) for kind in kinds})
    for kind, entry in zip(kinds, entries.values(), strict=True):
        rows = use[use["kind"] == kind].sort_values("gpus")
        style = entry.look
        axes.plot(
            rows["gpus"].to_numpy(float),
            rows["busiest"].to_numpy(float),
            color=style.color,
            linestyle=style.dash,
            marker=style.marker,
            markeredgecolor="#222222",
            markeredgewidth=0.4,
            label=KINDS[kind].title,
        )
    axes.set_ylim(0, 1.05)
    _doubling(axes, use)


def _doubling(axes: Axes, data: pd.DataFrame) -> None:
    axes.set_xscale("log", base=2)
    ticks = sorted(set(data["gpus"]))
    axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    axes.minorticks_off()
