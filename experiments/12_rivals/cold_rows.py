"""Who touches cold rows: the CPU, the GPU over the link, or an accelerator in the link."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from simulator._drawing import logarithmic
from simulator.figures.charts import figure_grid, from_zero, legend_above
from simulator.figures.style import styled
from simulator.studies.base import Inputs, Tables
from simulator.studies.readme import side_by_side

from .common import by_system, times

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["figures", "readme", "tables"]

_VARIED = {"row": "bytes of a row (log)", "link": "GB/s of the link (log)", "cores": "cores (log)"}


def tables(inputs: Inputs) -> Tables:
    result = inputs.results["cold_rows"]
    data = times(result)
    values = [_values(point.point) for point in result]
    for name in _VARIED:
        data[name] = [value[name] for value in values]
    other = [[name for name in _VARIED if value[name] != values[0][name]] for value in values]
    data["varied"] = [names[0] if names else "nothing" for names in other]
    data.loc[data["varied"].isin(["link", "cores"]), "error"] = 0.0  # another machine
    return {"cold_rows": data}


def _values(point: Any) -> dict[str, float]:
    platform = point.platform
    return {
        "row": float(point.model.row_bytes),
        "link": platform.socket("pcie").part.bandwidth / 1e9,
        "cores": float(platform.socket("cpu").part.cores),
    }


def _panel(data: Any, name: str) -> Any:
    """Points at which nothing but `name` differs from the base; of links those of data sheets
    alone, which know nothing of what was fitted to the base."""
    rows = data[data["varied"].isin([name] if name == "link" else [name, "nothing"])]
    return rows.sort_values(name, kind="stable")


def readme(tables: Tables) -> Tables:
    shown = {}
    for name in _VARIED:
        rows = _panel(tables["cold_rows"], name)
        times_ms = side_by_side(rows, ["system"], name, ("time_ms", ".2f"), "{:.0f}".format)
        shown[f"cold_{name}"] = times_ms
    return shown


def figures(tables: Tables) -> dict[str, Figure]:
    data = tables["cold_rows"]
    systems = list(dict.fromkeys(data["system"]))
    with styled():
        figure, axes = figure_grid(1, len(_VARIED), 7.2, 3.0)
        for panel, (name, heading) in zip(axes, _VARIED.items(), strict=True):
            rows = _panel(data, name)
            by_system(panel, rows, name, "time_ms", systems)
            logarithmic(panel, "x")
            ticks = sorted(set(rows[name]))
            panel.set_xticks(ticks, [f"{tick:.0f}" for tick in ticks], rotation=30)
            panel.minorticks_off()
            panel.set_xlabel(heading)
            from_zero(panel)
        axes[0].set_ylabel("iteration time (ms)")
        legend_above(figure, axes[:1], 5, "Cold rows of a cache of 10 %, Medium locality")
    return {"cold_rows": figure}
