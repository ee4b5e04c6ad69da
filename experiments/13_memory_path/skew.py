"""A look-ahead cache on plain DIMMs against pools of ranks with adders, by skew: in training and
in inference, where they cross, and what a cache upon such a pool could gain at most."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pandas as pd

from simulator.figures.charts import figure_grid, from_zero, legend_above
from simulator.figures.style import styled
from simulator.studies.base import Inputs, Tables
from simulator.studies.frames import with_baseline
from simulator.studies.readme import columns_of, side_by_side

from .common import KEY, by_skew, dense_ms, devices, marked, of_points, stages, times

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["crossing", "figures", "readme", "tables"]

_CELLS = ["mode", "alpha"]
_CACHE = "scratchpipe"
_POOLS = ("tensordimm", "recnmp", "fafnir", "trim", "recxl")
_HOST = ("dram", "path", "cpu", "pool")
"""Kinds of resources that near-memory nodes under a cache would take work from."""

_TITLES = {
    "training": "training ([X] but for ScratchPipe, ReCXL)",
    "inference": "inference",
}
"""Of the panels: how systems of inference papers train is ours."""


def tables(inputs: Inputs) -> Tables:
    result = inputs.results["skew"]
    data = times(result)
    data["embedding_ms"] = data["time_ms"] - dense_ms(data, stages(result))
    data["without_host_ms"] = _floor_ms(data, devices(result))
    for column, into in (("time_ms", "over_hybrid"), ("embedding_ms", "embedding_over_hybrid")):
        data = with_baseline(data, "hybrid", _CELLS, column, into)
    return {"skew": data, "crossings": _crossings(data)}


def _floor_ms(data: pd.DataFrame, used: pd.DataFrame) -> list[float]:
    """The busiest resource of each point, those of the CPU and its memory left out: no iteration is
    shorter, however fast these are."""
    rest = used[~used["kind"].isin(_HOST)]
    return of_points(data, rest.groupby(KEY)["busy_ms"].max())


def _crossings(data: pd.DataFrame) -> pd.DataFrame:
    """The least skew from which the cache is the faster one; not a number where it never is."""
    trained = data[data["mode"] == "training"]
    wide = trained.pivot_table(index="alpha", columns="label", values="time_ms").sort_index()
    rows = [
        {"pool": pool, "alpha": crossing(wide.index.tolist(), (wide[_CACHE] / wide[pool]).tolist())}
        for pool in ("hybrid", *_POOLS)
    ]
    return pd.DataFrame(rows)


def crossing(at: list[float], ratio: list[float]) -> float:
    """Where `ratio` falls below 1 for good, linear in its logarithm between the points."""
    if ratio[-1] >= 1.0:
        return math.nan
    above = [k for k, value in enumerate(ratio) if value >= 1.0]
    if not above:
        return at[0]
    k = above[-1]
    high, low = math.log(ratio[k]), math.log(ratio[k + 1])
    return at[k] + (at[k + 1] - at[k]) * high / (high - low)


def readme(tables: Tables) -> Tables:
    data = tables["skew"]
    trained = data[data["mode"] == "training"]
    asked = data[data["mode"] == "inference"]
    cache = trained[trained["label"] == _CACHE]
    best = trained[trained["label"].isin(_POOLS)].groupby("alpha")["time_ms"].min()
    bound = cache.assign(best_pool_ms=cache["alpha"].map(best))
    known = marked(trained).set_axis(trained["label"])["label"].to_dict()
    crossings = tables["crossings"].assign(pool=tables["crossings"]["pool"].map(known))
    formats = {"alpha": "g", "time_ms": ".2f", "bottleneck": "", "without_host_ms": ".2f"}
    headings = {"time_ms": "scratchpipe (ms)", "without_host_ms": "CPU and DIMMs free (ms)"}
    headings |= {"best_pool_ms": "best pool (ms)"}
    speed = ("over_hybrid", ".2f")
    return {
        "skew": side_by_side(marked(trained), ["label"], "alpha", speed, "{:g}".format),
        "answers": side_by_side(asked, ["label"], "alpha", speed, "{:g}".format),
        "crossings": columns_of(crossings, {"pool": "", "alpha": ".2f"}),
        "bound": columns_of(bound, formats | {"best_pool_ms": ".2f"}).rename(columns=headings),
    }


def figures(tables: Tables) -> dict[str, Figure]:
    data = tables["skew"]
    systems = [name for name in dict.fromkeys(data["label"]) if not name.startswith("hybrid")]
    with styled():
        figure, axes = figure_grid(1, 2, 7.2, 3.2, sharey=True)
        for panel, mode in zip(axes, ("training", "inference"), strict=True):
            by_skew(panel, data[data["mode"] == mode], "over_hybrid", systems)
            panel.axhline(1.0, color="#444444", linewidth=0.8)
            panel.set_title(_TITLES[mode])
        from_zero(axes[0])
        axes[0].set_ylabel("speed-up over hybrid")
        heading = f"A cache on DIMMs beside pools, {data['operators'].iloc[0]} operators"
        legend_above(figure, axes[:1], 6, heading)
    return {"skew": figure}
