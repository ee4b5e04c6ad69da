"""Locality: how unequally rows are used, in the four classes and in every real trace at hand."""

from __future__ import annotations

import csv
import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from simulator._drawing import logarithmic
from simulator.config.trace import LOCALITY_ALPHA, LocalityTraceConfig
from simulator.figures.charts import figure_grid, legend_above, lines
from simulator.figures.style import LOCALITIES, styled
from simulator.studies.base import Inputs, Tables
from simulator.studies.readme import columns_of, side_by_side
from simulator.traces import open_trace
from simulator.traces.cells import zipf_cells
from simulator.traces.curves import read_popularity, shipped

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["figures", "readme", "tables"]

KIND_CLASS, KIND_REAL = "class", "data set"


def tables(inputs: Inputs) -> Tables:
    settings = inputs.settings
    curves = pd.concat([_classes(settings), _real()], ignore_index=True)
    return {
        "locality": curves,
        "hot_share": _hot_share(curves, settings["hot"]),
        "overlap": _overlap(settings),
    }


def _classes(settings: Any) -> pd.DataFrame:
    """Closed form: Zipf over the rows of a table, with the lookups that settings give."""
    rows, lookups = settings["rows"], settings["lookups"]
    ranks = np.unique(np.round(np.geomspace(1, rows, 120)))
    curves = []
    for locality in LOCALITIES:
        alpha = LOCALITY_ALPHA[locality]
        share = zipf_cells(rows, alpha).share(ranks)
        weight = share[0] * ranks**-alpha if alpha else np.full(len(ranks), 1.0 / rows)
        curves.append(_curve(KIND_CLASS, locality, ranks / rows, share, weight * lookups))
    return pd.concat(curves, ignore_index=True)


def _real() -> pd.DataFrame:
    """Every popularity curve that ships with the simulator."""
    curves = []
    with shipped("popularity_curves.csv").open(newline="", encoding="utf-8") as file:
        records = list(csv.DictReader(file))
    for name in dict.fromkeys(record["dataset"] for record in records):
        curve = read_popularity(name)
        counts = [float(r["count_at_rank"]) for r in records if r["dataset"] == name]
        curves.append(_curve(KIND_REAL, name, curve.fraction, curve.share, np.array(counts)))
    return pd.concat(curves, ignore_index=True)


def _curve(kind: str, name: str, fraction: Any, share: Any, count: Any) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "kind": kind,
            "name": name,
            "hottest_share_of_rows": fraction,
            "share_of_lookups": share,
            "lookups_of_row": count,
        }
    )


def _hot_share(curves: pd.DataFrame, hot: list[float]) -> pd.DataFrame:
    """Share of the lookups on the hottest rows; linear between the points of a curve."""
    rows = []
    for (kind, name), data in curves.groupby(["kind", "name"], sort=False):
        x = np.append(0.0, data["hottest_share_of_rows"])
        y = np.append(0.0, data["share_of_lookups"])
        for fraction in hot:
            share = float(np.interp(fraction, x, y))
            rows.append({"kind": kind, "name": name, "hottest": fraction, "share": share})
    return pd.DataFrame(rows)


def _overlap(settings: Any) -> pd.DataFrame:
    """What consecutive mini-batches of one table have in common, by class; means of some pairs."""
    rows = []
    for locality in LOCALITIES:
        trace = open_trace(
            LocalityTraceConfig(locality=locality),  # type: ignore[arg-type]
            rows=(settings["rows"],),
            lookups=(settings["pooling"],),
            batch_size=settings["batch_size"],
            seed=settings["seed"],
        )
        batches = [trace.minibatch(n).ids[0] for n in range(settings["pairs"] + 1)]
        pairs = list(itertools.pairwise(batches))
        again = [float(np.isin(later, before).mean()) for before, later in pairs]
        unique = [len(np.unique(ids)) / len(ids) for ids in batches]
        shared = [float(np.isin(np.unique(b), a).mean()) for a, b in pairs]
        rows.append(
            {
                "locality": locality,
                "unique_rows_over_lookups": float(np.mean(unique)),
                "lookups_in_previous_batch": float(np.mean(again)),
                "unique_rows_in_previous_batch": float(np.mean(shared)),
            }
        )
    return pd.DataFrame(rows)


def readme(tables: Tables) -> Tables:
    shares, overlap = tables["hot_share"], tables["overlap"]
    classes = shares[shares["kind"] == KIND_CLASS].rename(columns={"name": "class"})
    names = {
        "locality": "class",
        "unique_rows_over_lookups": "unique rows / lookups",
        "lookups_in_previous_batch": "lookups already in the mini-batch before",
        "unique_rows_in_previous_batch": "unique rows shared with it",
    }
    number = dict.fromkeys(list(names)[1:], ".3f")
    return {
        "hottest": side_by_side(
            classes, ["class"], "hottest", ("share", ".3f"), "hottest {:.0%}".format
        ),
        "overlap": columns_of(overlap, {"locality": "", **number}).rename(columns=names),
    }


def figures(tables: Tables) -> dict[str, Figure]:
    data = tables["locality"]
    classes, real = (data[data["kind"] == kind] for kind in (KIND_CLASS, KIND_REAL))
    with styled():
        figure, axes = figure_grid(1, 2, 7.2, 2.9)
        for panel, y in zip(axes, ("lookups_of_row", "share_of_lookups"), strict=True):
            for name in dict.fromkeys(real["name"]):
                rows = real[real["name"] == name]
                panel.plot(
                    100 * rows["hottest_share_of_rows"].to_numpy(float),
                    rows[y].to_numpy(float),
                    color="#b5b5b5",
                    linewidth=0.6,
                    label=f"{real['name'].nunique()} real columns",
                )
            shown = classes.assign(percent=100 * classes["hottest_share_of_rows"])
            lines(panel, shown, x="percent", y=y, hue="name", hues=LOCALITIES, markers=False)
            logarithmic(panel, "x")
            panel.set_xticks([1e-4, 1e-2, 1, 100])
            panel.set_xlabel("hottest rows, % of all (log)")
        logarithmic(axes[0], "y")
        axes[0].set_ylabel("access count of the row (log)")
        axes[1].set_ylabel("share of all lookups")
        axes[1].axvspan(2, 10, color="#0072B2", alpha=0.08, linewidth=0)
        axes[1].annotate("caches of\nthe study", (1.8, 0.92), fontsize=6.5, ha="right")
        legend_above(figure, axes[:1], 5, "Sorted access counts, and what the hottest rows draw")
    return {"locality": figure}
