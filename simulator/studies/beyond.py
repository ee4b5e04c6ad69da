"""Beyond the paper: other links, memories and servers, and where the bottleneck goes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from simulator.figures.charts import figure_grid, grouped_bars, legend_above
from simulator.figures.style import look, styled, title
from simulator.studies.base import Inputs, Tables
from simulator.studies.frames import metrics_frame, with_baseline

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from simulator.results.record import Result

__all__ = ["figures", "tables"]

SYSTEMS = ("hybrid", "static_cache", "straw_man", "scratchpipe")
DEVICES = ("cpu_dram", "cpu_cores", "pcie_h2d", "pcie_d2h", "hbm", "gpu")
VARIED = ("link", "memory", "gpu", "server")


def tables(inputs: Inputs) -> Tables:
    parts = [_part(name, inputs.results[name]) for name in VARIED]
    return {"beyond": pd.concat(parts, ignore_index=True)}


def _part(varied: str, result: Result) -> pd.DataFrame:
    found = metrics_frame(result)
    data = found[["locality", "label", "operators", "bottleneck"]].copy()
    data.insert(0, "varied", varied)
    data.insert(1, "machine", [str(name).rstrip("*") for name in found["platform"]])
    steps = {name: number for number, name in enumerate(dict.fromkeys(data["machine"]))}
    data.insert(2, "step", [steps[name] for name in data["machine"]])
    data["time_ms"] = found["iteration_time_us"] / 1e3
    for device in DEVICES:
        data[f"{device}_utilization"] = found[f"{device}_utilization"].fillna(0.0)
    data = with_baseline(data, "hybrid", ["machine"], "time_ms", "over_hybrid")
    data = with_baseline(data, "static_cache", ["machine"], "time_ms", "over_static")
    return with_baseline(data, "straw_man", ["machine"], "time_ms", "over_straw_man")


def figures(tables: Tables) -> dict[str, Figure]:
    data = tables["beyond"]
    with styled():
        figure, axes = figure_grid(len(VARIED), 2, 7.2, 8.4, width_ratios=[1.25, 1])
        for number, varied in enumerate(VARIED):
            rows = data[data["varied"] == varied]
            left, right = axes[2 * number], axes[2 * number + 1]
            grouped_bars(left, rows, group="machine", hue="label", value="time_ms", hues=SYSTEMS)
            left.set_ylabel("iteration time (ms)")
            _utilization(right, rows[rows["label"] == "scratchpipe"])
            for one in (left, right):
                one.set_title(f"{varied} ({rows['operators'].iloc[0]} operators)", fontsize=8)
                one.tick_params(axis="x", labelsize=6.5)
                for name in one.get_xticklabels():
                    name.set(rotation=25, ha="right", rotation_mode="anchor")
        legend_above(
            figure, axes[:2], 5, f"{data['locality'].iloc[0]} locality; right: ScratchPipe"
        )
    return {"beyond": figure}


def _utilization(axes: Axes, data: pd.DataFrame) -> None:
    """Busy shares of ScratchPipe's devices."""
    machines = list(data["machine"])
    for number, device in enumerate(DEVICES):
        style = look(device, number)
        axes.plot(
            range(len(machines)),
            data[f"{device}_utilization"].to_numpy(float),
            color=style.color,
            linestyle=style.dash,
            marker=style.marker,
            markeredgecolor="#222222",
            markeredgewidth=0.4,
            label=title(device),
        )
    axes.set_xticks(range(len(machines)), machines)
    axes.set_ylim(0, 1.05)
    axes.set_ylabel("share of time busy")
