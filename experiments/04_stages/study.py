"""Stage times of the straw-man and of ScratchPipe: what is exposed and what is hidden."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from simulator.figures.charts import figure_grid, legend_above, stacked_bars
from simulator.figures.pipeline import draw_pipeline, steady_spans
from simulator.figures.style import LOCALITIES, styled, title
from simulator.studies.base import Inputs, Tables
from simulator.studies.frames import metrics_frame, stages_frame
from simulator.studies.readme import columns_of, side_by_side

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from simulator.results.record import Result

__all__ = ["figures", "readme", "tables"]

STAGES = ("load", "plan", "collect", "exchange", "insert", "train")


def tables(inputs: Inputs) -> Tables:
    result = inputs.results["experiment"]
    stages = stages_frame(result)
    columns = ["locality", "label", "operators", "cache_fraction", "stage", "order"]
    data = stages[columns].copy()
    for name in ("busy", "exposed", "hidden"):
        data[f"{name}_ms"] = stages[f"{name}_us"] / 1e3
    metrics = metrics_frame(result)
    steady = metrics[["locality", "label", "operators"]].copy()
    steady["time_ms"] = metrics["iteration_time_us"] / 1e3
    steady["dirty_share"] = metrics["dirty_victims_per_batch"] / metrics["victims_per_batch"]
    grouped = data.groupby(["locality", "label"])
    index = pd.MultiIndex.from_frame(steady[["locality", "label"]])
    sums, longest = grouped["busy_ms"].sum(), grouped["busy_ms"].max()
    steady["sum_of_stages_ms"] = sums.reindex(index).to_numpy()
    steady["longest_stage_ms"] = longest.reindex(index).to_numpy()
    steady["time_over_sum"] = steady["time_ms"] / steady["sum_of_stages_ms"]
    steady["time_over_longest"] = steady["time_ms"] / steady["longest_stage_ms"]
    return {"stage_times": data, "steady_state": steady, "pipeline": _spans(result, "medium")}


def _spans(result: Result, locality: str) -> pd.DataFrame:
    """A few mini-batches of both systems in their steady state."""
    windows = []
    for point in result:
        if point.metrics["locality"] == locality:
            spans = pd.DataFrame(
                {"stage": s.stage, "batch": s.batch, "start_ps": s.start_ps, "end_ps": s.end_ps}
                for s in point.timeline
            )
            rows = steady_spans(spans, point.point.run.warmup_batches + 2, 5)
            rows.insert(0, "label", point.metrics["label"])
            windows.append(rows.assign(operators=point.metrics["operators"]))
    return pd.concat(windows, ignore_index=True)


def readme(tables: Tables) -> Tables:
    cells = ["locality", "label"]
    shown = side_by_side(tables["stage_times"], cells, "stage", ("busy_ms", ".2f"))
    steady = columns_of(
        tables["steady_state"],
        {**dict.fromkeys(cells, ""), "time_ms": ".2f", "sum_of_stages_ms": ".2f"},
    )
    return {"stages": shown.merge(steady, on=cells)}


def figures(tables: Tables) -> dict[str, Figure]:
    return {
        "stage_times": _stage_times(tables["stage_times"], tables["steady_state"]),
        "pipeline": _pipeline(tables["pipeline"]),
    }


def _stage_times(data: pd.DataFrame, steady: pd.DataFrame) -> Figure:
    systems = list(dict.fromkeys(data["label"]))
    with styled():
        figure, axes = figure_grid(1, len(LOCALITIES), 7.2, 2.8, sharey=True)
        for panel, locality in zip(axes, LOCALITIES, strict=True):
            rows = data[data["locality"] == locality]
            stacked_bars(
                panel,
                rows,
                group="label",
                stack="stage",
                value="busy_ms",
                groups=systems,
                stacks=STAGES,
                show=title,
            )
            times = steady[steady["locality"] == locality].set_index("label")["time_ms"]
            for position, system in enumerate(systems):
                panel.plot(
                    [position - 0.42, position + 0.42],
                    [times[system]] * 2,
                    color="black",
                    linewidth=1.8,
                    label="iteration time" if position == 0 else None,
                )
            panel.set_title(locality.capitalize())
        axes[0].set_ylabel("stage times, one on the other (ms)")
        heading = (
            f"Stages in the pipeline, slowed by each other; it hides what is above the line "
            f"({data['operators'].iloc[0]} operators)"
        )
        legend_above(figure, axes[:1], 7, heading)
    return figure


def _pipeline(data: pd.DataFrame) -> Figure:
    systems = list(dict.fromkeys(data["label"]))
    with styled():
        figure, axes = figure_grid(len(systems), 1, 7.2, 3.6)
        for panel, system in zip(axes, systems, strict=True):
            draw_pipeline(panel, data[data["label"] == system], STAGES)
            panel.set_title(
                f"{title(system)}, medium locality, {data['operators'].iloc[0]} operators",
            )
        limit = max(panel.get_xlim()[1] for panel in axes)
        for panel in axes:
            panel.set_xlim(0, limit)
        axes[-1].set_xlabel("simulated time (ms)")
    return figure
