"""Every tier under the systems that use it: time, energy, money, and what is written to drives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from simulator._drawing import logarithmic
from simulator.figures.charts import figure_grid, grouped_bars, legend_above, slanted
from simulator.figures.style import styled
from simulator.studies.base import Inputs, Tables
from simulator.studies.readme import columns_of

from .common import times

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["figures", "readme", "tables"]

_HOURS_PER_YEAR = 8766.0
_ALPHA = 0.9


def tables(inputs: Inputs) -> Tables:
    frames = [_points(inputs, stem) for stem in ("tiers", "drives")]
    data = pd.concat(frames, ignore_index=True)
    return {"tiers": data[data["alpha"] == _ALPHA].reset_index(drop=True)}


def _points(inputs: Inputs, stem: str) -> pd.DataFrame:
    """Times of points with their money and what they write to drives."""
    result = inputs.results[stem]
    data = times(result)
    hours = data["time_ms"] / 3.6e6 / data["batch_size"] * 1e9
    rent = [_usd_per_hour(str(name), inputs.settings) for name in data["platform"]]
    data["usd_per_billion_samples"] = hours * rent
    data["written_tb_per_day"] = [_written(point) for point in result]
    return data


def _usd_per_hour(tier: str, settings: Any) -> float:
    """Rent of the host, and the price of the tier that holds the tables over its life."""
    tables_usd = settings["usd_per_gb"][tier] * settings["tables_gb"]
    return float(settings["usd_per_host_hour"] + tables_usd / settings["years"] / _HOURS_PER_YEAR)


def _written(point: Any) -> float:
    """Of all drives; not a number where there is none."""
    values = [use["written_gb_per_day"] for use in point.devices]
    told = [float(value) for value in values if value is not None]
    return sum(told) / 1e3 if told else np.nan


def readme(tables: Tables) -> Tables:
    formats = {"platform": "", "label": "", "time_ms": ".2f", "energy_j": ".2f"}
    formats |= {"usd_per_billion_samples": ".2f", "written_tb_per_day": ".0f", "bottleneck": ""}
    names = {"platform": "tier", "label": "system", "time_ms": "ms", "energy_j": "J an iteration"}
    names |= {"usd_per_billion_samples": "US$ per billion samples"}
    names |= {"written_tb_per_day": "TB written a day"}
    return {"tiers": columns_of(tables["tiers"], formats).rename(columns=names)}


def figures(tables: Tables) -> dict[str, Figure]:
    data = tables["tiers"]
    panels = (
        ("time_ms", "iteration time (ms, log)"),
        ("energy_j", "J an iteration (log)"),
        ("usd_per_billion_samples", "US$ per billion samples (log)"),
    )
    with styled():
        figure, axes = figure_grid(1, 3, 7.2, 3.4)
        for panel, (column, heading) in zip(axes, panels, strict=True):
            grouped_bars(panel, data, group="platform", hue="label", value=column)
            logarithmic(panel, "y")
            panel.set_ylabel(heading)
            slanted(panel)
        legend_above(
            figure, axes[:1], 4, f"Every tier under the systems that can use it, exponent {_ALPHA}"
        )
    return {"tiers": figure}
