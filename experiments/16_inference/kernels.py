"""How embedding kernels are written, and what that is worth to a query: on a GPU (MICRO 2024), for
many small columns (RECom), on the cores of a host (ISCA 2023)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from simulator.figures.charts import figure_grid, grouped_bars, legend_above
from simulator.figures.style import styled
from simulator.studies.frames import metrics_frame, stages_frame, with_baseline
from simulator.studies.readme import columns_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from simulator.results.record import Result
    from simulator.studies.base import Inputs, Tables

__all__ = ["figures", "readme", "tables"]

PLAIN = "as is"
SWEPT = {
    "gpu_kernels": ["trace.alpha"],
    "columns": ["model.batch_size"],
    "cpu_kernels": ["model", "run.cpu_threads"],
}
"""What each experiment sweeps; its column is the last word of it."""
BASELINES = {"gpu_kernels": PLAIN, "columns": "a chain a column", "cpu_kernels": PLAIN}


def tables(inputs: Inputs) -> Tables:
    return {name: _gains(inputs.results[name], name) for name in SWEPT}


def _gains(result: Result, name: str) -> pd.DataFrame:
    """Times of a query and of its gather, and how many times as fast as the baseline they are."""
    swept = SWEPT[name]
    data = metrics_frame(result)[[*swept, "label"]].copy()
    data["time_ms"] = metrics_frame(result)["iteration_time_us"] / 1e3
    stages = stages_frame(result)
    gather = stages[stages["stage"] == "gather_reduce"].set_index([*swept, "label"])["busy_us"]
    data["gather_ms"] = gather.reindex(pd.MultiIndex.from_frame(data[[*swept, "label"]])).to_numpy()
    data["gather_ms"] /= 1e3
    for column, into in (("time_ms", "faster"), ("gather_ms", "gather_faster")):
        data = with_baseline(data, BASELINES[name], swept, column, into)
    return data.rename(columns={key: key.rpartition(".")[2] for key in swept})


def readme(tables: Tables) -> Tables:
    formats = {"time_ms": ".3g", "faster": ".2f", "gather_ms": ".3g", "gather_faster": ".2f"}
    first = {"gpu_kernels": {"alpha": ""}, "columns": {"batch_size": ""}}
    first["cpu_kernels"] = {"model": "", "cpu_threads": ""}
    return {
        name: columns_of(tables[name], {**keys, "label": "", **formats})
        for name, keys in first.items()
    }


def figures(tables: Tables) -> dict[str, Figure]:
    data = tables["gpu_kernels"]
    with styled():
        figure, axes = figure_grid(1, 1, 5.0, 2.8)
        labels = tuple(dict.fromkeys(data["label"]))
        data = data.assign(alpha=data["alpha"].map("{:g}".format))
        grouped_bars(axes[0], data, group="alpha", hue="label", value="gather_faster", hues=labels)
        axes[0].set_xlabel("exponent of the trace")
        axes[0].set_ylabel("gather: times as fast")
        legend_above(figure, axes[:1], 3, "12 tables on an A100")
    return {"gpu_kernels": figure}
