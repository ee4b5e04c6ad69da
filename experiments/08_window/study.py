"""Window ablation: what a smaller hold window breaks, and what it would save.

Stale reads come from moving real values through the plan at the times of the pipeline (a small
table); times from the default model with the same windows.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import pandas as pd

from simulator.engine.hazards import HazardCase, run_case
from simulator.figures.charts import figure_grid, legend_above, lines
from simulator.figures.style import styled, title
from simulator.studies.base import Inputs, Tables
from simulator.studies.frames import metrics_frame
from simulator.studies.readme import side_by_side

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["figures", "readme", "tables"]


def tables(inputs: Inputs) -> Tables:
    return {
        "stale_reads": _stale_reads(inputs.settings),
        "time": _times(inputs),
    }


def _stale_reads(settings: Any) -> pd.DataFrame:
    """Stale reads of every window and policy, summed over the seeds."""
    rows = []
    for policy, past, future in itertools.product(
        settings["policies"], settings["past"], settings["future"]
    ):
        outcomes = [
            run_case(
                HazardCase(
                    policy=policy,
                    window_past=past,
                    window_future=future,
                    batches=settings["batches"],
                    seed=seed,
                    order="timed",
                )
            ).report
            for seed in range(settings["seeds"])
        ]
        rows.append(
            {
                "policy": policy,
                "past": past,
                "future": future,
                "stale_reads": sum(len(report.stale) for report in outcomes),
                "trained_rows": sum(report.trained_rows for report in outcomes),
                "equal_runs": sum(report.tables_equal for report in outcomes),
                "runs": len(outcomes),
            }
        )
    data = pd.DataFrame(rows)
    return data.assign(
        stale_reads_per_run=data["stale_reads"] / data["runs"],
        stale_share=data["stale_reads"] / data["trained_rows"],
    )


def _times(inputs: Inputs) -> pd.DataFrame:
    metrics = metrics_frame(inputs.results["experiment"])
    data = metrics[["locality", "policy", "operators", "cache_grown"]].copy()
    data["past"] = metrics["pipeline.window_past"].astype(int)
    data["future"] = metrics["pipeline.window_future"].astype(int)
    data["cache_mb"] = metrics["cache_rows"].astype(float) * metrics["dim"].astype(float) * 4 / 1e6
    data["misses_per_batch"] = metrics["misses_per_batch"]
    data["time_ms"] = metrics["iteration_time_us"] / 1e3
    full = data[(data["past"] == 3) & (data["future"] == 2)].set_index("policy")["time_ms"]
    return data.assign(time_over_full=data["time_ms"] / full.reindex(data["policy"]).to_numpy())


def readme(tables: Tables) -> Tables:
    cells = ["policy", "past"]
    return {
        "stale_reads": side_by_side(
            tables["stale_reads"], cells, "future", ("stale_reads", "d"), "future {}".format
        ),
        "time": side_by_side(
            tables["time"], cells, "future", ("time_ms", ".2f"), "future {} (ms)".format
        ),
    }


def figures(tables: Tables) -> dict[str, Figure]:
    return {"stale_reads": _heat(tables["stale_reads"]), "time": _lines(tables["time"])}


def _heat(data: pd.DataFrame) -> Figure:
    policies = list(dict.fromkeys(data["policy"]))
    with styled():
        figure, axes = figure_grid(1, len(policies), 5.4, 2.9)
        for panel, policy in zip(axes, policies, strict=True):
            _panel(panel, data[data["policy"] == policy])
            panel.set_title(f"{title(policy)} replacement")
        runs = int(data["runs"].iloc[0])
        figure.suptitle(
            f"Stale reads in {runs} runs of {int(data['trained_rows'].iloc[0] / runs):,} row reads "
            "(0: equals sequential training)"
        )
    return figure


def _panel(axes: Axes, data: pd.DataFrame) -> None:
    table = data.pivot(index="past", columns="future", values="stale_reads")
    share = data.pivot(index="past", columns="future", values="stale_share").to_numpy(float)
    axes.imshow(share, cmap="Greys", vmin=0, vmax=max(0.3, float(share.max()) * 1.6))
    for row, column in itertools.product(range(table.shape[0]), range(table.shape[1])):
        count = int(table.to_numpy(int)[row, column])
        axes.text(
            column,
            row,
            f"{count:,}",
            ha="center",
            va="center",
            color="#009E73" if count == 0 else "black",
        )
    axes.set_xticks(range(table.shape[1]), [str(name) for name in table.columns])
    axes.set_yticks(range(table.shape[0]), [str(name) for name in table.index])
    axes.set_xlabel("future mini-batches held")
    axes.set_ylabel("past mini-batches held")
    axes.grid(False)
    axes.spines[["top", "right"]].set_visible(True)


def _lines(data: pd.DataFrame) -> Figure:
    policies = list(dict.fromkeys(data["policy"]))
    with styled():
        figure, axes = figure_grid(1, len(policies), 6.0, 2.7, sharey=True)
        for panel, policy in zip(axes, policies, strict=True):
            rows = data[data["policy"] == policy]
            named = rows.assign(held=[f"{n} future" for n in rows["future"]])
            lines(panel, named, x="past", y="time_ms", hue="held")
            panel.set_title(f"{title(policy)} replacement")
            panel.set_xlabel("past mini-batches held")
            panel.set_xticks(sorted(set(data["past"])))
        axes[0].margins(y=0.12)
        axes[0].set_ylabel("iteration time (ms; not from zero)")
        where = f"{str(data['locality'].iloc[0]).capitalize()} locality"
        where = f"{where}, {data['operators'].iloc[0]} operators"
        legend_above(figure, axes[:1], 3, f"What the window costs ({where})")
    return figure
