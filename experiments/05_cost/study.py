"""Training cost: one GPU with ScratchPipe against eight GPUs that hold all tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulator.figures.charts import figure_grid, grouped_bars, legend_above
from simulator.figures.style import LOCALITIES, OPERATORS, styled
from simulator.studies.base import Inputs, Tables
from simulator.studies.frames import class_order, metrics_frame, with_baseline
from simulator.studies.readme import columns_of, side_by_side

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["figures", "readme", "tables"]

_SECONDS_PER_HOUR = 3600.0


def tables(inputs: Inputs) -> Tables:
    result = inputs.results["experiment"]
    metrics = metrics_frame(result)
    data = metrics[["locality", "label", "platform", "gpus", "operators", "bottleneck"]].copy()
    data.insert(1, "class", class_order(data["locality"]))
    data["time_ms"] = metrics["iteration_time_us"] / 1e3
    data["price_usd_per_hour"] = [point.point.platform.price_usd_per_hour for point in result]
    data["usd_per_million_iterations"] = (
        data["time_ms"] * 1e3 / _SECONDS_PER_HOUR * data["price_usd_per_hour"]
    )
    cells = ["locality", "operators"]
    column = "usd_per_million_iterations"
    data = with_baseline(data, "gpu_only", cells, column, "cheaper_than_gpu_only")
    data = with_baseline(data, "gpu_only", cells, "time_ms", "speed_of_gpu_only")
    kept = data[data["label"] == "scratchpipe"]
    summary = kept.groupby("operators", sort=False, as_index=False).agg(
        mean_cheaper=("cheaper_than_gpu_only", "mean"), max_cheaper=("cheaper_than_gpu_only", "max")
    )
    return {"cost": data, "summary": summary}


def readme(tables: Tables) -> Tables:
    data = tables["cost"].sort_values("label", kind="stable")
    data = data.sort_values(
        "operators", key=lambda names: names.map(OPERATORS.index), kind="stable"
    )
    names = {"gpu_only": "8 GPUs", "scratchpipe": "ScratchPipe"}
    cells = ["operators", "locality"]
    shown = side_by_side(
        data, cells, "label", ("time_ms", ".2f"), lambda label: f"{names[label]} (ms)"
    )
    prices = side_by_side(
        data,
        cells,
        "label",
        ("usd_per_million_iterations", ".2f"),
        lambda label: f"{names[label]} ($/1M)",
    )
    kept = data[data["label"] == "scratchpipe"]
    cheaper = columns_of(kept, {**dict.fromkeys(cells, ""), "cheaper_than_gpu_only": ".2f"})
    cheaper = cheaper.rename(columns={"cheaper_than_gpu_only": "cheaper"})
    shown = shown.merge(prices, on=cells).merge(cheaper, on=cells)
    return {"cost": shown.rename(columns={"locality": "class"})}


def figures(tables: Tables) -> dict[str, Figure]:
    data = tables["cost"]
    values = (
        ("time_ms", "iteration time (ms)", 1),
        ("usd_per_million_iterations", "US\\$ per million iterations", 0),
    )
    with styled():
        figure, axes = figure_grid(2, len(OPERATORS), 7.2, 4.2, sharex=True)
        for number, panel in enumerate(axes):
            operators = OPERATORS[number % len(OPERATORS)]
            value, label, digits = values[number // len(OPERATORS)]
            grouped_bars(
                panel,
                data[data["operators"] == operators],
                group="locality",
                hue="label",
                value=value,
                groups=LOCALITIES,
                show=str.capitalize,
                digits=digits,
            )
            if number < len(OPERATORS):
                panel.set_title(f"{operators} operators")
            if number % len(OPERATORS) == 0:
                panel.set_ylabel(label)
        prices = data.drop_duplicates("platform").set_index("platform")["price_usd_per_hour"]
        names = ", ".join(f"{name} at US\\$ {price}/h" for name, price in prices.items())
        legend_above(figure, axes[:1], 2, names)
    return {"cost": figure}
