"""Energy per iteration, by resource."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from simulator.figures.charts import figure_grid, legend_above, stacked_bars
from simulator.figures.style import LOCALITIES, resource_entries, styled, title
from simulator.studies.base import Inputs, Tables
from simulator.studies.frames import class_order, devices_frame, metrics_frame, with_baseline
from simulator.studies.readme import side_by_side

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["figures", "readme", "tables"]


def tables(inputs: Inputs) -> Tables:
    metrics = metrics_frame(inputs.results["experiment"])
    totals = metrics[["locality", "label", "operators", "gpus", "energy_mj"]].copy()
    totals.insert(1, "class", class_order(totals["locality"]))
    totals["time_ms"] = metrics["iteration_time_us"] / 1e3
    totals["mean_power_w"] = totals["energy_mj"] / totals["time_ms"]
    totals = with_baseline(totals, "hybrid", ["locality"], "energy_mj", "saving_over_hybrid")
    totals = with_baseline(totals, "gpu_only", ["locality"], "energy_mj", "saving_over_gpu_only")
    totals = with_baseline(totals, "hybrid", ["locality"], "time_ms", "speedup_over_hybrid")
    totals["saving_over_speedup"] = totals["saving_over_hybrid"] / totals["speedup_over_hybrid"]
    devices = devices_frame(inputs.results["experiment"])
    cells = ["locality", "label", "operators", "family", "kind"]
    known = devices.dropna(subset="energy_mj")
    data = known.groupby(cells, sort=False)["energy_mj"].sum().reset_index()
    sums = data.groupby(["locality", "label"])["energy_mj"].sum()
    index = pd.MultiIndex.from_frame(totals[["locality", "label"]])
    totals["sum_over_total"] = sums.reindex(index).to_numpy(float) / totals["energy_mj"]
    return {"energy": data, "totals": totals}


def readme(tables: Tables) -> Tables:
    return {"energy": side_by_side(tables["totals"], ["locality"], "label", ("energy_mj", ".0f"))}


def figures(tables: Tables) -> dict[str, Figure]:
    data = tables["energy"].assign(energy_j=lambda rows: rows["energy_mj"] / 1e3)
    systems = list(dict.fromkeys(data["label"]))
    resources = resource_entries(dict(zip(data["family"], data["kind"], strict=True)))
    with styled():
        figure, axes = figure_grid(1, len(LOCALITIES), 7.2, 3.0, sharey=True)
        for panel, locality in zip(axes, LOCALITIES, strict=True):
            rows = data[data["locality"] == locality]
            stacked_bars(
                panel,
                rows,
                group="label",
                stack="family",
                value="energy_j",
                groups=systems,
                stacks=resources,
                show=title,
            )
            panel.set_title(locality.capitalize())
            for name in panel.get_xticklabels():
                name.set(rotation=40, ha="right", rotation_mode="anchor")
        axes[0].set_ylabel("energy of an iteration (J)")
        heading = (
            f"{data['operators'].iloc[0]} operators, cache of 10 %; GPU only: eight GPUs\n"
            "cores and SMs: the package without its memory"
        )
        legend_above(figure, axes[:1], 4, heading)
    return {"energy": figure}
