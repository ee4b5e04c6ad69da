"""What binds near-memory nodes: their memory, activates, instructions or commands, sums on their
way out, and the fullest node, by bytes of a row and by skew."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from simulator._drawing import logarithmic
from simulator.figures.charts import figure_grid, legend_above
from simulator.figures.style import styled
from simulator.hardware.catalogue import load_part
from simulator.hardware.devices.near_memory import NearMemory
from simulator.hardware.node_rates import measure_nodes
from simulator.studies.base import Inputs, Tables
from simulator.studies.readme import columns_of, side_by_side

from .common import devices, marked, times

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["figures", "readme", "tables"]

_POOL = "near_memory"
_LIMITS = {
    "buses": ("memory (simulated)", "#0072B2", "-", "o"),
    "activates": ("activates and columns", "#56B4E9", "--", "s"),
    "instructions": ("instructions", "#E69F00", "-.", "^"),
    "commands": ("commands from the host", "#D55E00", ":", "v"),
    "sums": ("sums out of modules", "#009E73", "--", "D"),
    "rank_sums": ("sums out of ranks", "#CC79A7", ":", "P"),
}
"""Of the figure: column, name, colour, dash, marker."""


def tables(inputs: Inputs) -> Tables:
    return {
        "rates": _rates(inputs.settings),
        "nodes": _nodes(inputs),
        "fullest": _fullest(inputs),
    }


def _rates(settings: Any) -> pd.DataFrame:
    """A row a pool and size of a row: what its nodes sustain in gathers, and each limit, in buses
    of one channel."""
    rows = []
    for name in settings["pools"]:
        pool = load_part(name, {}, NearMemory)
        plain = pool.model_copy(update={"instructions": None})
        for size in settings["row_bytes"]:
            told, sent = (
                measure_nodes(part, "gather", size, settings["requests"]) for part in (pool, plain)
            )
            row = {"pool": name, "row_bytes": size, "buses": told.buses, "nodes": told.nodes}
            row |= {"activates": told.nodes * told.activate_bound, "speedup": told.speedup}
            row |= {**told.limits, "commands": sent.limits["commands"]}
            row |= {"limited_by": told.limited_by, "limited_by_host": sent.limited_by}
            rows.append(row)
    return pd.DataFrame(rows)


def _nodes(inputs: Inputs) -> pd.DataFrame:
    """A row a system and size of a row: how long each resource of the pool is busy in a whole
    iteration, and which one longest."""
    result = inputs.results["nodes"]
    data = times(result)
    data["row_bytes"] = [point.point.model.row_bytes for point in result]
    busy = [
        {
            use["resource"].split(".", 1)[1]: use["busy_us"] / 1e3
            for use in point.devices
            if use["device"] == _POOL
        }
        for point in result
    ]
    for name in ("dram", "instructions", "channels", "pins"):
        data[f"{name}_ms"] = [each[name] for each in busy]
    data["limit"] = [max(each, key=lambda name: each[name]) for each in busy]
    return data


def _fullest(inputs: Inputs) -> pd.DataFrame:
    """Time of the pools' memory for a byte that is gathered, over that of uniform rows: how much
    more than its share the fullest node has (queries, which gather alone)."""
    result = inputs.results["skew"]
    used = devices(result)
    gathered = used[used["resource"].eq(f"{_POOL}.dram") & used["mode"].eq("inference")]
    data = gathered[["label", "alpha"]].copy()
    data["ns_per_kb"] = gathered["busy_ms"] * 1e6 / (gathered["bytes"] / 1e3)
    even = data[data["alpha"] == data["alpha"].min()].set_index("label")["ns_per_kb"]
    data["over_even"] = data["ns_per_kb"] / data["label"].map(even)
    return data.reset_index(drop=True)


def readme(tables: Tables) -> Tables:
    formats = {"pool": "", "row_bytes": "d", "nodes": "d", "buses": ".2f", "activates": ".2f"}
    formats |= {"instructions": ".2f", "commands": ".2f", "sums": ".2f", "rank_sums": ".2f"}
    formats |= {"limited_by": "", "limited_by_host": ""}
    names = {"row_bytes": "row (B)", "nodes": "nodes a channel", "rank_sums": "sums of groups"}
    names |= {"limited_by": "limit", "limited_by_host": "limit with commands"}
    return {
        "rates": columns_of(tables["rates"], formats).rename(columns=names),
        "nodes": side_by_side(
            marked(tables["nodes"]), ["label"], "row_bytes", ("limit", ""), "{} B".format
        ),
        "fullest": side_by_side(
            tables["fullest"], ["label"], "alpha", ("over_even", ".2f"), "{:g}".format
        ),
    }


def figures(tables: Tables) -> dict[str, Figure]:
    data = tables["rates"]
    pools = [name for name in dict.fromkeys(data["pool"]) if name != "axdimm"]
    with styled():
        figure, axes = figure_grid(2, 2, 7.2, 5.0, sharex=True)
        for panel, name in zip(axes, pools, strict=True):
            _roof(panel, data[data["pool"] == name])
            panel.set_title(name)
        for panel in axes[2:]:
            panel.set_xlabel("bytes of a row (log)")
        for panel in axes[::2]:
            panel.set_ylabel("buses of a channel (log)")
        legend_above(figure, axes, 3, "What a channel of near-memory nodes gathers at most")
    return {"rates": figure}


def _roof(axes: Axes, data: pd.DataFrame) -> None:
    sizes = data["row_bytes"].to_numpy(float)
    for column, (name, color, dash, mark) in _LIMITS.items():
        height = data[column].to_numpy(float)
        if pd.notna(height).any():
            axes.plot(sizes, height, color=color, linestyle=dash, marker=mark, label=name)
    axes.axhline(1.0, color="#444444", linewidth=0.8)
    logarithmic(axes, "x")
    logarithmic(axes, "y")
    axes.set_xticks(sizes, [f"{size:.0f}" for size in sizes])
    axes.minorticks_off()
