"""Beyond the paper: other links, memories and servers, and where the bottleneck goes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from simulator.figures.charts import figure_grid, grouped_bars, legend_above
from simulator.figures.style import styled
from simulator.results.resources import title_of
from simulator.studies.base import Inputs, Tables
from simulator.studies.frames import devices_frame, metrics_frame, with_baseline
from simulator.studies.readme import columns_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from simulator.results.record import Result

__all__ = ["figures", "readme", "tables"]

SYSTEMS = ("hybrid", "static_cache", "straw_man", "scratchpipe")
VARIED = {"link": "Link", "memory": "CPU memory", "gpu": "GPU", "server": "Server"}
"""Experiment file, and what its machines differ in."""
_LEAST_SHOWN = 0.02
"""Busy share that a resource must reach on one of the machines to be drawn."""


def tables(inputs: Inputs) -> Tables:
    times = [_times(name, inputs.results[name]) for name in VARIED]
    use = [_use(name, inputs.results[name]) for name in VARIED]
    return {
        "beyond": pd.concat(times, ignore_index=True),
        "utilization": pd.concat(use, ignore_index=True),
    }


def _times(varied: str, result: Result) -> pd.DataFrame:
    """Iteration time, speed-ups and bottleneck of each system on each machine."""
    metrics = metrics_frame(result)
    data = metrics[["locality", "label", "operators", "calibrated", "bottleneck"]].copy()
    data.insert(0, "varied", varied)
    data.insert(1, "machine", _machines(metrics))
    steps = {name: number for number, name in enumerate(dict.fromkeys(data["machine"]))}
    data.insert(2, "step", [steps[name] for name in data["machine"]])
    data["time_ms"] = metrics["iteration_time_us"] / 1e3
    data = with_baseline(data, "hybrid", ["machine"], "time_ms", "over_hybrid")
    data = with_baseline(data, "static_cache", ["machine"], "time_ms", "over_static")
    return with_baseline(data, "straw_man", ["machine"], "time_ms", "over_straw_man")


def _use(varied: str, result: Result) -> pd.DataFrame:
    """How busy the busiest resource of each family is."""
    devices = devices_frame(result)
    devices = devices.assign(varied=varied, machine=_machines(devices))
    cells = ["varied", "machine", "label", "operators", "family", "kind"]
    return devices.groupby(cells, sort=False)["utilization"].max().reset_index()


def _machines(data: pd.DataFrame) -> list[str]:
    return [str(name).rstrip("*") for name in data["platform"]]


def readme(tables: Tables) -> Tables:
    data = tables["beyond"]
    number = dict.fromkeys(("time_ms", "over_hybrid", "over_static"), ".2f")
    formats = {"varied": "", "machine": "", "operators": "", "calibrated": "", **number}
    formats["bottleneck"] = ""
    return {"beyond": columns_of(data[data["label"] == "scratchpipe"], formats)}


def figures(tables: Tables) -> dict[str, Figure]:
    data, use = tables["beyond"], tables["utilization"]
    use = use[use["label"] == "scratchpipe"]
    with styled():
        figure, axes = figure_grid(len(VARIED), 2, 7.2, 9.6, width_ratios=[1.1, 1])
        for number, (varied, heading) in enumerate(VARIED.items()):
            rows = data[data["varied"] == varied]
            left, right = axes[2 * number], axes[2 * number + 1]
            grouped_bars(left, rows, group="machine", hue="label", value="time_ms", hues=SYSTEMS)
            left.set_ylabel("iteration time (ms)")
            left.set_title(f"{heading}, {rows['operators'].iloc[0]} operators")
            right.set_title("ScratchPipe: % of time busy")
            _utilization(right, use[use["varied"] == varied])
            for panel in (left, right):
                panel.tick_params(axis="x", labelsize=6.5)
                for name in panel.get_xticklabels():
                    name.set(rotation=25, ha="right", rotation_mode="anchor")
        heading = f"{str(data['locality'].iloc[0]).capitalize()} locality"
        legend_above(figure, axes[:1], 4, heading)
    return {"beyond": figure}


def _utilization(axes: Axes, data: pd.DataFrame) -> None:
    """Busy shares of ScratchPipe's resources: a row a resource, a column a machine."""
    table = data.pivot(index="family", columns="machine", values="utilization")
    table = table.reindex([*dict.fromkeys(data["family"])])[[*dict.fromkeys(data["machine"])]]
    table = table[table.max(axis="columns") >= _LEAST_SHOWN]
    shares = table.to_numpy(float)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for (row, column), share in np.ndenumerate(shares):
        text = "-" if np.isnan(share) else f"{100 * share:.0f}"
        color = "white" if share > 0.6 else "black"
        axes.text(column, row, text, ha="center", va="center", color=color, fontsize=6.5)
    axes.set_xticks(range(table.shape[1]), table.columns)
    axes.set_yticks(range(table.shape[0]), [title_of(str(name)) for name in table.index])
    axes.tick_params(axis="y", labelsize=6.5)
    axes.grid(False)
