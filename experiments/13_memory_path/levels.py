"""Adders at ranks, bank groups and banks of the same memory, in HBM beside DIMMs and in joined
clusters behind CXL: queries alone, as their papers have them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from simulator.figures.charts import figure_grid, from_zero, legend_above
from simulator.figures.style import styled
from simulator.studies.base import Inputs, Tables
from simulator.studies.frames import with_baseline
from simulator.studies.readme import side_by_side

from .common import KEY, by_skew, dense_ms, devices, of_points, stages, times

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["figures", "readme", "tables"]

_OVER_HYBRID = {
    "time_ms": "over_hybrid",
    "embedding_ms": "embedding_over_hybrid",
    "operator_ms": "operator_over_hybrid",
    "memory_ms": "memory_over_hybrid",
}
_TABLES = {"levels": "embedding", "operator": "operator", "memory": "memory"}
"""Of the README."""
_BESIDE = ("mlp", "pooled_to_gpu", "ids")
"""Stages that the operator on embeddings has no part in."""
_SHOWN = ("tensordimm", "recnmp", "trim", "recross", "space", "clay")
"""Of the figure."""


def tables(inputs: Inputs) -> Tables:
    """A row a system and skew: its time, that of all but the MLPs, of the operator, of memory, and
    each over hybrid's."""
    result = inputs.results["levels"]
    data = times(result)
    parts = stages(result)
    data["embedding_ms"] = data["time_ms"] - dense_ms(data, parts)
    data["operator_ms"] = _operator_ms(data, parts)
    data["memory_ms"] = _memory_ms(data, devices(result))
    for column, into in _OVER_HYBRID.items():
        data = with_baseline(data, "hybrid", ["alpha"], column, into)
    return {"levels": data}


def _operator_ms(data: pd.DataFrame, parts: pd.DataFrame) -> list[float]:
    """Of each point the stages that gather and add up: without MLPs, and without copies of ids and
    of vectors that a stage of its own has; `parts`: its `stages`."""
    own = parts[~parts["stage"].isin(_BESIDE)]
    return of_points(data, own.groupby(KEY)["busy_ms"].sum())


def _memory_ms(data: pd.DataFrame, used: pd.DataFrame) -> list[float]:
    """What simulators of memory time: the busiest of a pool (and of SPACE's DIMMs), without start
    and end of what the host does; of hybrid its operator, whose cores wait for memory."""
    label = used["label"].to_numpy()
    pool = used["resource"].str.startswith("near_memory.")
    own = used[pool | ((used["resource"] == "cpu.dram") & (label == "space"))]
    known = of_points(data, own.groupby(KEY)["busy_ms"].max())
    return list(data["operator_ms"].where(pd.isna(known), known))


def readme(tables: Tables) -> Tables:
    return {
        name: side_by_side(
            tables["levels"], ["label"], "alpha", (f"{column}_over_hybrid", ".2f"), "{:g}".format
        )
        for name, column in _TABLES.items()
    }


def figures(tables: Tables) -> dict[str, Figure]:
    data = tables["levels"]
    systems = [name for name in dict.fromkeys(data["label"]) if name in _SHOWN]
    with styled():
        figure, axes = figure_grid(1, 1, 5.2, 3.2)
        by_skew(axes[0], data, "memory_over_hybrid", systems)
        axes[0].axhline(1.0, color="#444444", linewidth=0.8)
        from_zero(axes[0])
        axes[0].set_ylabel("memory: speed-up over hybrid")
        legend_above(figure, axes, 3, "Queries of 80 lookups a vector, rows of 256 B")
    return {"levels": figure}
