"""MLPerf DLRM on 8 to 112 GPUs: the iteration with its share of evaluations, and its stages."""

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

EVALUATED = 89_137_319 / (4_195_197_692 / 20)
"""Samples of an evaluation for each sample that is trained between two of them (a twentieth of an
epoch): configurations of MLPerf Training v1.0 to v2.1, `eval_num_samples`, `num_samples` and
`eval_interval`."""
MACHINE = ["platform", "gpus"]


def tables(inputs: Inputs) -> Tables:
    hybrid, evaluation = inputs.results["hybrid"], inputs.results["evaluation"]
    return {"mlperf": _iterations(hybrid, evaluation), "stages": _stages(hybrid)}


def _runs(result: Result) -> pd.DataFrame:
    """What each point is of, and its metrics."""
    metrics = metrics_frame(result)
    data = pd.DataFrame({"platform": [point.point.platform.name for point in result]})
    data["gpus"], data["operators"] = metrics["gpus"], metrics["operators"]
    data["platform"] = data["platform"].str.rstrip("*")
    data["batch_size"] = [point.point.model.batch_size for point in result]
    data["ms"] = metrics["iteration_time_us"] / 1e3
    data["bottleneck"] = metrics["bottleneck"]
    return data


def _iterations(hybrid: Result, evaluation: Result) -> pd.DataFrame:
    """Time of an iteration, with what evaluations take of it, and throughput."""
    trained, answered = _runs(hybrid), _runs(evaluation)
    answered["ms_each"] = answered["ms"] / answered["batch_size"]
    each = answered[[*MACHINE, "ms_each"]]
    data = trained.merge(each, on=MACHINE, how="left", validate="m:1")
    data["evaluation_ms"] = data["batch_size"] * EVALUATED * data["ms_each"]
    data["time_ms"] = data["ms"] + data["evaluation_ms"]
    data["million_samples_per_second"] = data["batch_size"] / data["time_ms"] / 1e3
    return data.rename(columns={"ms": "train_ms"}).drop(columns="ms_each")


def _stages(result: Result) -> pd.DataFrame:
    """Time that an iteration waits for each stage, ms."""
    stages, runs = stages_frame(result), _runs(result)
    each = [len(point.stages) for point in result]
    names = [f"{row.gpus} {row.platform}, {row.operators}" for row in runs.itertuples()]
    stages.insert(0, "machine", [m for m, n in zip(names, each, strict=True) for _ in range(n)])
    stages["exposed_ms"] = stages["exposed_us"] / 1e3
    return stages.groupby(["stage", "machine"], sort=False)["exposed_ms"].mean().reset_index()


def readme(tables: Tables) -> Tables:
    formats = {"platform": "", "gpus": "", "operators": "", "batch_size": ",", "train_ms": ".2f"}
    formats |= {"evaluation_ms": ".2f", "time_ms": ".2f", "million_samples_per_second": ".1f"}
    return {
        "mlperf": columns_of(tables["mlperf"], formats | {"bottleneck": ""}),
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
        legend_above(figure, axes, 5, "MLPerf DLRM")
    return {"stages": figure}
