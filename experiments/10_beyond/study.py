"""Beyond the paper: other links, memories and servers, and where the bottleneck goes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from simulator.figures.charts import figure_grid, grouped_bars, legend_above
from simulator.figures.style import resource_entries, styled
from simulator.studies.base import Inputs, Tables
from simulator.studies.frames import devices_frame, metrics_frame, with_baseline
from simulator.studies.readme import columns_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from simulator.results.record import Result

__all__ = ["figures", "readme", "tables"]

SYSTEMS = ("hybrid", "static_cache", "straw_man", "scratchpipe")
VARIED = ("link", "memory", "gpu", "server")


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
        figure, axes = figure_grid(len(VARIED), 2, 7.2, 8.4, width_ratios=[1.25, 1])
        for number, varied in enumerate(VARIED):
            rows = data[data["varied"] == varied]
            left, right = axes[2 * number], axes[2 * number + 1]
            grouped_bars(left, rows, group="machine", hue="label", value="time_ms", hues=SYSTEMS)
            left.set_ylabel("iteration time (ms)")
            _utilization(right, use[use["varied"] == varied])
            for panel in (left, right):
                panel.set_title(f"{varied} ({rows['operators'].iloc[0]} operators)", fontsize=8)
                panel.tick_params(axis="x", labelsize=6.5)
                for name in panel.get_xticklabels():
                    name.set(rotation=25, ha="right", rotation_mode="anchor")
        legend_above(
            figure, axes[:2], 5, f"{data['locality'].iloc[0]} locality; right: ScratchPipe"
        )
    return {"beyond": figure}


def _utilization(axes: Axes, data: pd.DataFrame) -> None:
    """Busy shares of ScratchPipe's resources."""
    table = data.pivot(index="machine", columns="family", values="utilization").fillna(0.0)
    machines = list(dict.fromkeys(data["machine"]))
    entries = resource_entries(dict(zip(data["family"], data["kind"], strict=True)))
    for family, entry in entries.items():
        style = entry.look
        axes.plot(
            range(len(machines)),
            table[family].reindex(machines).to_numpy(float),
            color=style.color,
            linestyle=style.dash,
            marker=style.marker,
            markeredgecolor="#222222",
            markeredgewidth=0.4,
            label=entry.title,
        )
    axes.set_xticks(range(len(machines)), machines)
    axes.set_ylim(0, 1.05)
    axes.set_ylabel("share of time busy")
