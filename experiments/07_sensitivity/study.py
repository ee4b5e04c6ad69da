"""Sensitivity: ScratchPipe against static cache and hybrid as one thing at a time changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from simulator.figures.charts import figure_grid, grouped_bars, legend_above
from simulator.figures.style import styled, title
from simulator.studies.base import Inputs, Tables
from simulator.studies.frames import metrics_frame, with_baseline
from simulator.studies.readme import columns_of, side_by_side

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from simulator.results.record import Result

__all__ = ["figures", "readme", "tables"]

SYSTEMS = ("hybrid", "static_cache", "straw_man", "scratchpipe")
POLICY = "policy"
VARIED = {
    "batch_size": "samples of a mini-batch",
    "cache": "cache, % of rows",
    "dim": "elements of a row",
    "lookups": "lookups a table and sample",
    "mlp": "MLPs",
    "tables": "tables",
}
"""What the axis of each swept key says."""


def tables(inputs: Inputs) -> Tables:
    swept = [_swept(stem, r) for stem, r in inputs.results.items() if stem != POLICY]
    policies = metrics_frame(inputs.results[POLICY])
    replacement = policies[["locality", "policy", "operators", "unique_hit_rate"]].copy()
    replacement["misses_per_batch"] = policies["misses_per_batch"]
    replacement["time_ms"] = policies["iteration_time_us"] / 1e3
    replacement["label"] = policies["label"]
    replacement["cache_share"] = policies["cache_fraction"].astype(float)
    lru = replacement[replacement["policy"] == "lru"].set_index("locality")
    lru = lru.reindex(replacement["locality"]).reset_index(drop=True)
    replacement["time_over_lru"] = replacement["time_ms"] / lru["time_ms"]
    replacement["hits_over_lru"] = replacement["unique_hit_rate"] / lru["unique_hit_rate"]
    misses = replacement["misses_per_batch"] / lru["misses_per_batch"]
    replacement["time_over_misses"] = replacement["time_over_lru"] / misses
    return {
        "sensitivity": pd.concat(swept, ignore_index=True),
        "replacement": replacement,
    }


def _swept(name: str, result: Result) -> pd.DataFrame:
    """One swept key; the experiment file is called after it."""
    metrics = metrics_frame(result)
    (path,) = result.points[0].point.swept
    data = metrics[["locality", "label", "operators", "cache_grown", "bottleneck"]].copy()
    data.insert(0, "varied", name)
    data.insert(1, "value", [_value(value) for value in metrics[path]])
    numbers = [value if isinstance(value, int | float) else None for value in metrics[path]]
    data.insert(2, "number", pd.Series(numbers, dtype="float64"))
    data["cache_share"] = metrics["cache_fraction"].astype(float)
    data["time_ms"] = metrics["iteration_time_us"] / 1e3
    data = with_baseline(data, "hybrid", ["value"], "time_ms", "over_hybrid")
    return with_baseline(data, "static_cache", ["value"], "time_ms", "over_static")


def _value(value: object) -> str:
    return f"{value:g}" if isinstance(value, int | float) else str(value).rstrip("*")


def readme(tables: Tables) -> Tables:
    formats = {"locality": "", "policy": "", "unique_hit_rate": ".3f", "time_ms": ".2f"}
    return {
        "times": side_by_side(
            tables["sensitivity"], ["varied", "value"], "label", ("time_ms", ".2f")
        ),
        "replacement": columns_of(tables["replacement"], {**formats, "time_over_lru": ".3f"}),
    }


def figures(tables: Tables) -> dict[str, Figure]:
    return {
        "sensitivity": _sensitivity(tables["sensitivity"]),
        "replacement": _replacement(tables["replacement"]),
    }


def _sensitivity(data: pd.DataFrame) -> Figure:
    names = list(dict.fromkeys(data["varied"]))
    with styled():
        figure, axes = figure_grid(-(-len(names) // 3), 3, 7.2, 4.4)
        for panel, name in zip(axes, names, strict=False):
            rows = data[data["varied"] == name]
            grouped_bars(
                panel,
                rows,
                group="value",
                hue="label",
                value="time_ms",
                hues=SYSTEMS,
                marks="cache_grown",
                show=_percent if name == "cache" else str,
            )
            panel.set_xlabel(VARIED.get(name, name))
        for panel in axes[::3]:
            panel.set_ylabel("iteration time (ms)")
        for panel in axes[len(names) :]:
            panel.set_axis_off()
        heading = f"{str(data['locality'].iloc[0]).capitalize()} locality, {_where(data)}"
        legend_above(figure, axes[:1], 4, f"{heading}; * grown to hold its window")
    return figure


def _percent(share: str) -> str:
    return f"{100 * float(share):g}"


def _where(data: pd.DataFrame) -> str:
    """The smallest cache, which all have that sweep something else, and the software."""
    return f"cache of {data['cache_share'].min():.0%}, {data['operators'].iloc[0]} operators"


def _replacement(data: pd.DataFrame) -> Figure:
    with styled():
        figure, axes = figure_grid(1, 2, 7.2, 2.5)
        for panel, value, label in (
            (axes[0], "time_ms", "iteration time (ms)"),
            (axes[1], "unique_hit_rate", "hits, share of unique rows"),
        ):
            grouped_bars(
                panel,
                data.assign(name=[title(p) for p in data["policy"]]),
                group="locality",
                hue="name",
                value=value,
                show=str.capitalize,
            )
            panel.set_ylabel(label)
        heading = f"ScratchPipe by replacement policy, {_where(data)}"
        legend_above(figure, axes[:1], 8, heading)
    return figure
