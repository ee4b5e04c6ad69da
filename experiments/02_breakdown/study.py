"""Motivation: where an iteration of the hybrid system and of a static cache goes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from simulator.figures.charts import figure_grid, legend_above, stacked_bars
from simulator.figures.style import LOCALITIES, styled
from simulator.studies.base import Inputs, Tables
from simulator.studies.frames import stages_frame
from simulator.studies.readme import side_by_side

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["figures", "readme", "tables"]

GROUPS = {
    "gather_reduce": "forward",
    "forward": "forward",
    "split": "transfers",
    "pooled_to_gpu": "transfers",
    "combine": "transfers",
    "gradients_to_cpu": "transfers",
    "gradients": "transfers",
    "mlp": "mlp",
}
"""Stage -> what the figure calls it; others keep their name."""

ORDER = ("forward", "transfers", "mlp", "expand", "sort", "accumulate", "scatter", "backward")


def tables(inputs: Inputs) -> Tables:
    stages = stages_frame(inputs.results["experiment"])
    stages["cache"] = [
        "none" if system == "hybrid" else f"{fraction:.0%}"
        for system, fraction in zip(stages["system"], stages["cache.fraction"], strict=True)
    ]
    stages["part"] = [GROUPS.get(stage, stage) for stage in stages["stage"]]
    keys = ["locality", "system", "cache", "operators", "part"]
    first = stages.drop_duplicates(["locality", "system", "cache", "stage"])
    data = first.groupby(keys, sort=False, as_index=False)["busy_us"].sum()
    data["time_ms"] = data["busy_us"] / 1e3
    total = data.groupby(keys[:3], sort=False)["time_ms"].transform("sum")
    data["share"] = data["time_ms"] / total
    embedding = ~data["part"].isin(["mlp", "transfers"])
    data["is_embedding"] = embedding
    sums = data[embedding].groupby(keys[:3], sort=False, as_index=False)["share"].sum()
    return {
        "breakdown": data.drop(columns="busy_us"),
        "embedding_share": sums,
        "operator_shares": _operator_shares(stages),
        "totals": _totals(stages),
    }


def _totals(stages: pd.DataFrame) -> pd.DataFrame:
    """Iteration times: the stages of these systems do not overlap."""
    keys = ["locality", "system", "cache.fraction"]
    sums = stages.groupby(keys, sort=False, as_index=False)["busy_us"].sum()
    times = sums["busy_us"] / 1e3
    return pd.DataFrame(
        {
            "locality": sums["locality"],
            "system": sums["system"],
            "cache_fraction": sums["cache.fraction"],
            "time_ms": times,
        }
    )


def _operator_shares(stages: pd.DataFrame) -> pd.DataFrame:
    """Each operator's share of a hybrid iteration."""
    hybrid = stages[stages["system"] == "hybrid"].drop_duplicates(["locality", "stage"])
    hybrid = hybrid[["locality", "stage", "busy_us"]].copy()
    total = hybrid.groupby("locality")["busy_us"].transform("sum")
    return hybrid.assign(share=hybrid["busy_us"] / total)


def readme(tables: Tables) -> Tables:
    totals = tables["totals"].rename(columns={"locality": "class"})
    hybrid = totals["system"] == "hybrid"
    names = [f"static {fraction:.0%} (ms)" for fraction in totals["cache_fraction"]]
    named = totals.assign(bar=pd.Series(names, totals.index).mask(hybrid, "hybrid (ms)"))
    return {"times": side_by_side(named, ["class"], "bar", ("time_ms", ".1f"))}


def figures(tables: Tables) -> dict[str, Figure]:
    data = tables["breakdown"]
    groups = list(dict.fromkeys(data["cache"]))
    with styled():
        figure, axes = figure_grid(1, len(LOCALITIES), 7.2, 2.7, sharey=True)
        for panel, locality in zip(axes, LOCALITIES, strict=True):
            rows = data[data["locality"] == locality]
            stacked_bars(
                panel,
                rows,
                group="cache",
                stack="part",
                value="time_ms",
                groups=groups,
                stacks=ORDER,
                show=lambda cache: str(cache).rstrip("%"),
            )
            panel.set_title(locality.capitalize())
            panel.set_xlabel("cache, % of rows")
        axes[0].set_ylabel("time of an iteration (ms)")
        legend_above(
            figure,
            axes[:1],
            8,
            f"Hybrid (none) and static cache, {data['operators'].iloc[0]} operators; "
            "Backward: Expand to Scatter in one",
        )
    return {"breakdown": figure}
