"""Training cost: one GPU with ScratchPipe against eight GPUs that hold all tables.

A machine with a rent costs rent x time. The study's own server has none: what it would have to rent
for to cost as much as the eight GPUs (`break_even_usd_per_hour`) needs no price at all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulator.figures.charts import figure_grid, grouped_bars, legend_above
from simulator.figures.style import LOCALITIES, OPERATORS, styled
from simulator.studies.base import Inputs, Tables
from simulator.studies.frames import class_order, metrics_frame, with_baseline
from simulator.studies.readme import columns_of, side_by_side

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

__all__ = ["figures", "readme", "tables"]

_SECONDS_PER_HOUR = 3600.0
_NAMES = {
    "gpu_only": "8 GPUs",
    "scratchpipe": "study's server",
    "rented": "p3.2xlarge",
    "rented_alone": "p3.2xlarge, idle neighbours",
}


def tables(inputs: Inputs) -> Tables:
    result = inputs.results["experiment"]
    metrics = metrics_frame(result)
    data = metrics[["locality", "label", "platform", "gpus", "operators", "bottleneck"]].copy()
    data.insert(1, "class", class_order(data["locality"]))
    data["time_ms"] = metrics["iteration_time_us"] / 1e3
    data["price_usd_per_hour"] = [point.point.platform.price_usd_per_hour for point in result]
    data["price_usd_per_hour"] = data["price_usd_per_hour"].astype(float)
    data["usd_per_million_iterations"] = (
        data["time_ms"] * 1e3 / _SECONDS_PER_HOUR * data["price_usd_per_hour"]
    )
    cells = ["locality", "operators"]
    column = "usd_per_million_iterations"
    data = with_baseline(data, "gpu_only", cells, column, "cheaper_than_gpu_only")
    data = with_baseline(data, "gpu_only", cells, "time_ms", "speed_of_gpu_only")
    rent = data.loc[data["label"] == "gpu_only", "price_usd_per_hour"].iloc[0]
    data["break_even_usd_per_hour"] = rent * data["speed_of_gpu_only"]
    published = inputs.settings["published_usd_per_hour"]
    data["cheaper_as_published"] = data["break_even_usd_per_hour"] / published
    return {"cost": data, "summary": _summary(data[data["label"] != "gpu_only"])}


def _summary(data: pd.DataFrame) -> pd.DataFrame:
    """Means over the classes, by machine and operator profile."""
    return data.groupby(["label", "operators"], sort=False, as_index=False).agg(
        mean_cheaper=("cheaper_than_gpu_only", "mean"),
        max_cheaper=("cheaper_than_gpu_only", "max"),
        mean_break_even=("break_even_usd_per_hour", "mean"),
        mean_as_published=("cheaper_as_published", "mean"),
        max_as_published=("cheaper_as_published", "max"),
    )


def readme(tables: Tables) -> Tables:
    order = {label: number for number, label in enumerate(_NAMES)}
    data = tables["cost"].sort_values(
        "operators", key=lambda names: names.map(OPERATORS.index), kind="stable"
    )
    data = data.sort_values("label", key=lambda labels: labels.map(order), kind="stable")
    cells = ["operators", "locality"]
    times = side_by_side(data, cells, "label", ("time_ms", ".2f"), _NAMES.__getitem__)
    rented = data[data["label"] != "scratchpipe"]
    costs = ("usd_per_million_iterations", ".2f")
    money = side_by_side(rented, cells, "label", costs, _NAMES.__getitem__)
    saved = _cheaper(rented[rented["label"] != "gpu_only"], cells)
    own = data[data["label"] == "scratchpipe"]
    formats = {"break_even_usd_per_hour": ".2f", "cheaper_as_published": ".2f"}
    study = columns_of(own, {**dict.fromkeys(cells, ""), **formats})
    study = study.rename(
        columns={
            "break_even_usd_per_hour": "rent at which it costs as much ($/h)",
            "cheaper_as_published": "cheaper at the price of a p3.2xlarge",
        }
    )
    shown = {"times": times, "cost": money.merge(saved, on=cells), "study": study}
    return {name: table.rename(columns={"locality": "class"}) for name, table in shown.items()}


def _cheaper(data: pd.DataFrame, cells: list[str]) -> pd.DataFrame:
    values = ("cheaper_than_gpu_only", ".2f")
    return side_by_side(data, cells, "label", values, lambda label: f"{_NAMES[label]}: cheaper")


def figures(tables: Tables) -> dict[str, Figure]:
    data = tables["cost"].assign(label=[_NAMES[label] for label in tables["cost"]["label"]])
    values = (
        ("time_ms", "iteration time (ms)", 1),
        ("usd_per_million_iterations", "US$ per million iterations", 0),
    )
    with styled():
        figure, axes = figure_grid(2, len(OPERATORS), 7.2, 4.2, sharex=True)
        for number, panel in enumerate(axes):
            operators = OPERATORS[number % len(OPERATORS)]
            value, label, digits = values[number // len(OPERATORS)]
            shown = data[data["operators"] == operators].dropna(subset=[value])
            grouped_bars(
                panel,
                shown,
                group="locality",
                hue="label",
                hues=list(dict.fromkeys(data["label"])),
                value=value,
                groups=LOCALITIES,
                show=str.capitalize,
                digits=digits,
            )
            if number < len(OPERATORS):
                panel.set_title(f"{operators} operators")
            if number % len(OPERATORS) == 0:
                panel.set_ylabel(label)
        prices = data.dropna(subset=["price_usd_per_hour"]).drop_duplicates("label")
        names = ", ".join(
            f"{name} at US$ {price}/h"
            for name, price in zip(prices["label"], prices["price_usd_per_hour"], strict=True)
        )
        legend_above(figure, axes[:1], 2, names)
    return {"cost": figure}
