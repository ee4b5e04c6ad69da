"""Inference: what the systems of the study answer, how long a query waits, and what kernels are
worth to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from simulator.figures.charts import figure_grid, grouped_bars, legend_above
from simulator.figures.style import styled
from simulator.studies.base import Inputs, Tables
from simulator.studies.frames import metrics_frame, with_baseline
from simulator.studies.readme import columns_of

from . import kernels

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["figures", "readme", "tables"]

_LATENCIES = ("mean", "p50", "p99")


def tables(inputs: Inputs) -> Tables:
    return {
        "inference": _inference(metrics_frame(inputs.results["inference"])),
        "load": _load(metrics_frame(inputs.results["load"])),
        **kernels.tables(inputs),
    }


def _inference(metrics: pd.DataFrame) -> pd.DataFrame:
    """Queries of each system, the next one always waiting, beside those of hybrid."""
    data = metrics[["locality", "label", "answered_per_s", "operators", "bottleneck"]].copy()
    data["time_ms"] = metrics["iteration_time_us"] / 1e3
    data["alone_ms"] = metrics["latency_alone_us"] / 1e3
    return with_baseline(data, "hybrid", ["locality"], "time_ms", "over_hybrid")


def _load(metrics: pd.DataFrame) -> pd.DataFrame:
    """Latencies at each rate of queries."""
    data = metrics[["offered_per_s", "label", "offered_load"]].copy()
    for name in _LATENCIES:
        data[f"{name}_ms"] = pd.to_numeric(metrics[f"latency_{name}_us"]) / 1e3
    return data


def readme(tables: Tables) -> Tables:
    formats = {"locality": "", "label": "", "answered_per_s": ".0f", "over_hybrid": ".2f"}
    formats |= {"alone_ms": ".2f", "bottleneck": ""}
    latencies = {f"{name}_ms": ".2f" for name in _LATENCIES}
    loads = {"offered_per_s": ".0f", "label": "", "offered_load": ".2f"} | latencies
    return {
        "inference": columns_of(tables["inference"], formats),
        "load": columns_of(tables["load"], loads),
        **kernels.readme(tables),
    }


def figures(tables: Tables) -> dict[str, Figure]:
    data = tables["inference"]
    with styled():
        figure, axes = figure_grid(1, 1, 6.4, 2.8)
        labels = tuple(dict.fromkeys(data["label"]))
        grouped_bars(
            axes[0],
            data,
            group="locality",
            hue="label",
            value="over_hybrid",
            hues=labels,
            show=str.capitalize,
        )
        axes[0].set_ylabel("queries / queries of hybrid")
        legend_above(
            figure, axes[:1], 5, f"Queries answered, {data['operators'].iloc[0]} operators"
        )
    return {"inference": figure, **kernels.figures(tables)}
