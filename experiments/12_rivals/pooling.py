"""Whether popularity of samples survives pooling, and what systems that divide samples gain."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from simulator._drawing import logarithmic
from simulator.figures.charts import figure_grid, from_zero, legend_above
from simulator.figures.style import styled
from simulator.studies.base import Inputs, Tables
from simulator.studies.frames import metrics_frame, with_baseline
from simulator.studies.readme import columns_of

from .common import by_system, times

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from simulator.results.record import Result

__all__ = ["figures", "readme", "tables"]

_CELLS = ["trace", "x"]
_FLIGHTS = "Flights of 2013 (2 columns)"
_DIVIDED = "hotline"
"""Whose share of hot lookups, and of samples with hot ones alone, are compared: it divides each
mini-batch as it comes (FAE trains as hot what fills whole mini-batches of a round)."""


def tables(inputs: Inputs) -> Tables:
    drawn, real = inputs.results["pooling"], inputs.results["flights"]
    data = pd.concat([_points(drawn, _lookups(drawn)), _points(real, _shares(real))])
    data = with_baseline(data.reset_index(drop=True), "hybrid", _CELLS, "time_ms", "over_hybrid")
    hot = data[data["system"] == _DIVIDED].set_index(_CELLS)["lookup_hit_rate"]
    index = pd.MultiIndex.from_frame(data[_CELLS])
    data["hot_lookups"] = hot.reindex(index).to_numpy(float)
    data["independent"] = data["hot_lookups"] ** data["lookups_per_sample"]
    data["popular_off"] = (data["popular"] - data["independent"]).abs()
    return {"pooling": data}


def _points(result: Result, x: list[float]) -> pd.DataFrame:
    data = times(result)
    metrics = metrics_frame(result)
    data.insert(0, "trace", data["locality"])
    data.insert(1, "x", x)
    data["lookups_per_sample"] = metrics["lookups_per_batch"].astype(float) / data["batch_size"]
    data["popular"] = metrics["popular_samples_per_batch"].astype(float) / data["batch_size"]
    return data


def _lookups(result: Result) -> list[float]:
    return [float(sum(point.point.model.table_lookups)) for point in result]


def _shares(result: Result) -> list[float]:
    return [float(point.point.cache.fraction or 0.0) for point in result]


def readme(tables: Tables) -> Tables:
    data = tables["pooling"]
    both = data[data["system"] == _DIVIDED]
    index = pd.MultiIndex.from_frame(both[_CELLS])
    systems = [name for name in dict.fromkeys(data["system"]) if name != "hybrid"]
    for name in systems:
        speed = data[data["system"] == name].set_index(_CELLS)["over_hybrid"]
        both = both.assign(**{name: speed.reindex(index).to_numpy()})
    formats = {"trace": "", "cache_fraction": ".0%", "lookups_per_sample": ".0f"}
    formats |= {"hot_lookups": ".3f", "independent": ".3f", "popular": ".3f"}
    formats |= dict.fromkeys(systems, ".2f")
    headings = {
        "lookups_per_sample": "lookups a sample",
        "cache_fraction": "hot rows",
        "hot_lookups": "hot lookups (h)",
        "independent": "h^(T L)",
        "popular": "popular samples",
    }
    return {"pooling": columns_of(both, formats).rename(columns=headings)}


def figures(tables: Tables) -> dict[str, Figure]:
    data = tables["pooling"]
    traces = list(dict.fromkeys(data["trace"]))
    systems = [name for name in dict.fromkeys(data["system"]) if name != "hybrid"]
    with styled():
        figure, axes = figure_grid(2, len(traces), 7.2, 4.6, sharex="col", sharey="row")
        for number, name in enumerate(traces):
            rows = data[data["trace"] == name]
            share, speed = axes[number], axes[number + len(traces)]
            _popular(share, rows[rows["system"] == _DIVIDED])
            by_system(speed, rows, "x", "over_hybrid", systems)
            speed.axhline(1.0, color="#444444", linewidth=0.8)
            share.set_title(
                f"{name.capitalize()} locality" if len(set(rows["x"])) > 3 else _FLIGHTS
            )
            logarithmic(share, "x")
            ticks = sorted(set(rows["x"]))
            drawn = ticks[-1] > 1
            speed.set_xticks(ticks, [f"{tick:g}" if drawn else f"{tick:.0%}" for tick in ticks])
            speed.minorticks_off()
            speed.set_xlabel("lookups a sample (log)" if drawn else "hot rows (log)")
        axes[0].set_ylabel("share of lookups, samples")
        axes[len(traces)].set_ylabel("speed-up over hybrid")
        from_zero(axes[len(traces)])
        legend_above(figure, [axes[0], axes[len(traces)]], 4)
    return {"pooling": figure}


def _popular(axes: Axes, data: pd.DataFrame) -> None:
    rows = data.sort_values("x")
    at = rows["x"].to_numpy(float)
    kinds = (
        ("hot lookups", "hot_lookups", "#999999", ":", "s"),
        ("samples, lookups independent", "independent", "#CC79A7", "--", "^"),
        ("samples with hot lookups alone", "popular", "#222222", "-", "o"),
    )
    for heading, column, color, dash, marker in kinds:
        height = rows[column].to_numpy(float)
        axes.plot(at, height, color=color, linestyle=dash, marker=marker, label=heading)
    axes.set_ylim(-0.03, 1.03)
