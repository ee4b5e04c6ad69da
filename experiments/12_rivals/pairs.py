"""Published ratios over a baseline that is here too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from simulator.studies.base import Inputs, Tables
from simulator.studies.frames import with_baseline
from simulator.studies.readme import columns_of

from .common import times

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["figures", "readme", "tables"]

_BASELINES = {
    "pairs": ("hybrid", ["platform", "operators"]),
    "pairs_a100": ("fbgemm_uvm", ["platform"]),
    "pairs_herald": ("het", ["platform"]),
}
"""Of each experiment the baseline, and what tells its cells apart: on the A100 each system has the
operators of its own code."""
_SERVER = "server."
"""Interfaces of the embedding server, which nothing but rows, ids and versions pass."""


def tables(inputs: Inputs) -> Tables:
    parts = []
    for name, (baseline, cells) in _BASELINES.items():
        data = times(inputs.results[name])
        data.insert(0, "baseline", baseline)
        data = with_baseline(data, baseline, cells, "time_ms", "over_baseline")
        data["server_bytes"] = [_server_bytes(point) for point in inputs.results[name]]
        data = with_baseline(data, baseline, cells, "server_bytes", "server_ratio")
        parts.append(data.assign(server_saves=1.0 - 1.0 / data.pop("server_ratio")))
    return {"pairs": pd.concat(parts, ignore_index=True)}


def _server_bytes(point: Any) -> float:
    """That pass the embedding server's interface in a mini-batch, both ways; NaN without one."""
    uses = [use for use in point.devices if use["resource"].startswith(_SERVER)]
    sizes = [use["bytes"] or 0.0 for use in uses if use["resource"].endswith((".tx", ".rx"))]
    return float(sum(sizes)) if sizes else float("nan")


def readme(tables: Tables) -> Tables:
    formats = {"platform": "", "operators": "", "system": "", "time_ms": ".2f"}
    formats |= {"baseline": "", "over_baseline": ".2f", "bottleneck": ""}
    headings = {"time_ms": "ms", "over_baseline": "faster than it"}
    return {"pairs": columns_of(tables["pairs"], formats).rename(columns=headings)}


def figures(tables: Tables) -> dict[str, Figure]:
    del tables
    return {}
