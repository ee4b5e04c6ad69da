"""Private training: what clipping and noise cost when rows live in DRAM, and in a scratchpad."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from simulator._drawing import logarithmic
from simulator.figures.charts import figure_grid, grouped_bars, legend_above
from simulator.figures.style import styled, title
from simulator.studies.base import Inputs, Tables
from simulator.studies.frames import metrics_frame, with_baseline
from simulator.studies.readme import columns_of, side_by_side

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["figures", "readme", "tables"]

BASES = ("hybrid", "scratchpipe")
VARIANTS = ("dp_sgd_b", "dp_sgd_r", "dp_sgd_f", "eana", "lazydp")


def tables(inputs: Inputs) -> Tables:
    return {
        "private": _private(metrics_frame(inputs.results["experiment"])),
        "lazydp": _lazydp(metrics_frame(inputs.results["lazydp"])),
    }


def _private(metrics: pd.DataFrame) -> pd.DataFrame:
    """Time of each variant on each base, beside its base and beside DP-SGD(F) there."""
    data = metrics[["locality", "label", "system", "operators", "bottleneck"]].copy()
    bases = [str(label).split(" on ")[-1] for label in data["label"]]
    data.insert(2, "base", bases)
    data["time_ms"] = metrics["iteration_time_us"] / 1e3
    data["energy_j"] = metrics["energy_mj"] / 1e3
    for base in BASES:
        for column, label in (("over_base", base), ("over_dense", f"dp_sgd_f on {base}")):
            own = with_baseline(data, label, ["locality"], "time_ms", "ratio")["ratio"]
            data.loc[data["base"] == base, column] = own[data["base"] == base]
    data["over_base"] = 1.0 / data["over_base"]
    return data


def _lazydp(metrics: pd.DataFrame) -> pd.DataFrame:
    """Time of each system on LazyDP's model; throughput over that of DP-SGD(F)."""
    data = metrics[["label", "batch_size"]].copy()
    data["time_ms"] = metrics["iteration_time_us"] / 1e3
    return with_baseline(data, "dp_sgd_f", ["batch_size"], "time_ms", "over_dense")


def readme(tables: Tables) -> Tables:
    data = tables["private"]
    formats = {"base": "", "system": "", "time_ms": ".2f", "over_base": ".2f"}
    formats |= {"over_dense": ".1f", "energy_j": ".2f", "bottleneck": ""}
    medium = data[data["locality"] == "medium"]
    own = {"batch_size": "", "label": "", "time_ms": ".2f", "over_dense": ".1f"}
    return {
        "medium": columns_of(medium, formats),
        "localities": side_by_side(data, ["label"], "locality", ("time_ms", ".2f")),
        "lazydp": columns_of(tables["lazydp"], own),
    }


def figures(tables: Tables) -> dict[str, Figure]:
    data = tables["private"]
    noisy = data[data["system"].isin(VARIANTS)]
    with styled():
        figure, axes = figure_grid(1, 2, 7.2, 2.8)
        for panel, base in zip(axes, BASES, strict=True):
            rows = noisy[noisy["base"] == base]
            grouped_bars(
                panel,
                rows,
                group="locality",
                hue="system",
                value="over_base",
                hues=VARIANTS,
                show=str.capitalize,
                digits=1,
            )
            logarithmic(panel, "y")
            panel.margins(y=0.25)
            panel.set_title(f"on {title(base)}")
        axes[0].set_ylabel("time / time without privacy")
        legend_above(
            figure, axes[:1], 5, f"Private training, {data['operators'].iloc[0]} operators"
        )
    return {"private": figure}
