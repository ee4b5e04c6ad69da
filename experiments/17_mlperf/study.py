"""MLPerf DLRM on 8 and 64 GPUs: the iteration, and the stages that it waits for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from simulator.figures.charts import figure_grid, legend_above, stacked_bars
from simulator.figures.style import styled
from simulator.studies.base import Inputs, Tables
from simulator.studies.frames import metrics_frame, stages_frame
from simulator.studies.readme import columns_of, side_by_side

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from simulator.results.record import Result

__all__ = ["figures", "readme", "tables"]


def tables(inputs: Inputs) -> Tables:
    result = inputs.results["hybrid"]
    return {"mlperf": _iterations(result), "stages": _stages(result)}


def _machines(result: Result) -> list[str]:
    return [point.point.platform.name.rstrip("*") for point in result]


def _iterations(result: Result) -> pd.DataFrame:
    """Time and throughput of each number of GPUs."""
    metrics = metrics_frame(result)
    data = metrics[["gpus", "operators"]].copy()
    data.insert(0, "platform", _machines(result))
    data["batch_size"] = [point.point.model.batch_size for point in result]
    data["time_ms"] = metrics["iteration_time_us"] / 1e3
    data["million_samples_per_second"] = metrics["throughput_samples_per_s"] / 1e6
    data["bottleneck"] = metrics["bottleneck"]
    return data


def _stages(result: Result) -> pd.DataFrame:
    """Time that an iteration waits for each stage, ms."""
    stages = stages_frame(result)
    gpus = metrics_frame(result)["gpus"].tolist()
    each = [len(point.stages) for point in result]
    machines = [f"{g} {m}" for m, g in zip(_machines(result), gpus, strict=True)]
    stages.insert(0, "machine", [m for m, n in zip(machines, each, strict=True) for _ in range(n)])
    stages["exposed_ms"] = stages["exposed_us"] / 1e3
    return stages.groupby(["stage", "machine"], sort=False)["exposed_ms"].mean().reset_index()


def readme(tables: Tables) -> Tables:
    formats = {"platform": "", "gpus": "", "operators": "", "batch_size": ",", "time_ms": ".2f"}
    formats |= {"million_samples_per_second": ".1f", "bottleneck": ""}
    return {
        "mlperf": columns_of(tables["mlperf"], formats),
        "stages": side_by_side(tables["stages"], ["machine"], "stage", ("exposed_ms", ".2f")),
    }


def figures(tables: Tables) -> dict[str, Figure]:
    data = tables["stages"]
    data = data[data["exposed_ms"] > 0]
    with styled():
        figure, axes = figure_grid(1, 1, 6.4, 2.2)
        stacked_bars(
            axes[0], data, group="machine", stack="stage", value="exposed_ms", horizontal=True
        )
        axes[0].set_xlabel("ms of an iteration that wait for the stage")
        heading = f"MLPerf DLRM, {tables['mlperf']['operators'].iloc[0]} operators"
        legend_above(figure, axes, 5, heading)
    return {"stages": figure}
