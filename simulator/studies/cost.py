"""Training cost: one GPU with ScratchPipe against eight GPUs that hold all tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulator.figures.charts import figure_grid, grouped_bars, legend_above
from simulator.figures.style import LOCALITIES, styled
from simulator.studies.base import Inputs, Tables
from simulator.studies.frames import metrics_frame, with_baseline

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["figures", "tables"]

_SECONDS_PER_HOUR = 3600.0


def tables(inputs: Inputs) -> Tables:
    result = inputs.results["experiment"]
    found = metrics_frame(result)
    data = found[["locality", "label", "platform", "gpus", "operators", "bottleneck"]].copy()
    data["time_ms"] = found["iteration_time_us"] / 1e3
    data["price_usd_per_hour"] = [point.point.platform.price_usd_per_hour for point in result]
    data["usd_per_million_iterations"] = (
        data["time_ms"] * 1e3 / _SECONDS_PER_HOUR * data["price_usd_per_hour"]
    )
    column = "usd_per_million_iterations"
    data = with_baseline(data, "gpu_only", ["locality"], column, "cheaper_than_gpu_only")
    return {"cost": with_baseline(data, "gpu_only", ["locality"], "time_ms", "speed_of_gpu_only")}


def figures(tables: Tables) -> dict[str, Figure]:
    data = tables["cost"]
    with styled():
        figure, axes = figure_grid(1, 2, 7.2, 2.6)
        for one, value, label, digits in (
            (axes[0], "time_ms", "iteration time (ms)", 1),
            (axes[1], "usd_per_million_iterations", "US$ per million iterations", 0),
        ):
            grouped_bars(
                one,
                data,
                group="locality",
                hue="label",
                value=value,
                groups=LOCALITIES,
                show=str.capitalize,
                digits=digits,
            )
            one.set_ylabel(label)
        prices = data.drop_duplicates("platform").set_index("platform")["price_usd_per_hour"]
        names = ", ".join(f"{name} at US$ {price}/h" for name, price in prices.items())
        legend_above(figure, axes[:1], 2, f"{names}; `{data['operators'].iloc[0]}` operators")
    return {"cost": figure}
