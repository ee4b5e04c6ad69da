"""What each rule that keeps rows right costs, beside the same system without it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from simulator.engine.hazards import HazardCase, run_case
from simulator.figures.charts import figure_grid
from simulator.figures.style import look, styled
from simulator.studies.base import Inputs, Tables
from simulator.studies.readme import side_by_side

from .common import times

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["figures", "readme", "tables"]


def tables(inputs: Inputs) -> Tables:
    rules = inputs.settings["rules"]
    data = times(inputs.results["hazards"])
    data["rule"] = [rules[label]["rule"] for label in data["label"]]
    data["beside"] = [rules[label].get("beside", "") for label in data["label"]]
    time = data.set_index(["locality", "label"])["time_ms"].to_dict()
    cells = zip(data["locality"], data["beside"], data["time_ms"], strict=True)
    data["price"] = [
        now / time[locality, other] - 1.0 if other else np.nan for locality, other, now in cells
    ]
    stale = {label: _stale(data, label, inputs.settings) for label in dict.fromkeys(data["label"])}
    data["stale_share"] = data["label"].map(stale)
    return {"hazards": data}


def _stale(data: pd.DataFrame, label: str, settings: Any) -> float:
    """Share of the rows trained that had been read without their last update, by the checker on
    a small table."""
    system = str(data[data["label"] == label]["system"].iloc[0])
    more = settings["rules"][label].get("case", {})
    case = HazardCase(system=system, order="timed", batches=settings["batches"], **more)
    report = run_case(case).report
    return len(report.stale) / report.trained_rows


def readme(tables: Tables) -> Tables:
    data = tables["hazards"]
    cells = ["label", "rule"]
    time = side_by_side(data, cells, "locality", ("time_ms", ".2f"), "{} (ms)".format)
    price = side_by_side(data, cells, "locality", ("price", "+.1%"), "{}: price".format)
    stale = data.drop_duplicates("label").assign(column="stale reads")
    reads = side_by_side(stale, cells, "column", ("stale_share", ".1%"))
    return {"hazards": time.merge(price, on=cells).merge(reads, on=cells)}


def figures(tables: Tables) -> dict[str, Figure]:
    data = tables["hazards"]
    classes = list(dict.fromkeys(data["locality"]))
    labels = list(dict.fromkeys(data["label"]))
    rules = data.drop_duplicates("label").set_index("label")
    with styled():
        figure, axes = figure_grid(1, len(classes), 7.2, 0.9 + 0.3 * len(labels), sharey=True)
        for panel, locality in zip(axes, classes, strict=True):
            _bars(panel, data[data["locality"] == locality].set_index("label").reindex(labels))
            panel.set_title(f"{locality.capitalize()} locality")
        marks = ["" if share == 0 else " *" for share in rules["stale_share"]]
        names = [f"{rule}{mark}" for rule, mark in zip(rules["rule"], marks, strict=True)]
        axes[0].set_yticks(range(len(labels)), names)
        axes[0].invert_yaxis()
        figure.suptitle("Rules that keep rows right (*, pale: trains on stale rows)")
    return {"hazards": figure}


def _bars(axes: Axes, rows: pd.DataFrame) -> None:
    """A bar a rule in the colour of its system."""
    for number, row in enumerate(rows.to_dict("records")):
        axes.barh(
            number,
            row["time_ms"],
            0.7,
            xerr=row["time_ms"] * row["error"] if row["error"] else None,
            error_kw={"elinewidth": 0.7, "ecolor": "#444444"},
            color=look(row["system"]).color,
            alpha=1.0 if row["stale_share"] == 0 else 0.35,
            edgecolor="#222222",
        )
    axes.set_xlabel("iteration time (ms)")
    axes.grid(False, axis="y")
    axes.grid(True, axis="x")
