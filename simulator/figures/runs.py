"""Figures that any run can have: times, stages, resources, cache curve, pipeline.

Each takes the tables of a run (columns of the data dictionary). Long runs are cut after `MOST`
rows; the captions of who shows them say so (`cut`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from simulator.figures.charts import figure_grid, from_zero, legend_above, stacked_bars
from simulator.figures.pipeline import draw_pipeline, steady_spans
from simulator.figures.style import look, styled, title
from simulator.figures.tables import rows_of
from simulator.results.resources import Fold, headings, spread
from simulator.text import some_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "MOST",
    "cache_curve",
    "cell_names",
    "iteration_times",
    "operators_of",
    "pipelines",
    "resources",
    "stages",
]

MOST = 48
"""Rows of a figure."""
_MOST_LINES = 12
"""Lines of a chart, and names in its legend."""
_MOST_ON_LINE = 200
"""Points of a line."""
_EDGE = "#222222"
_BAR_INCHES = 0.19


def cell_names(data: pd.DataFrame) -> list[str]:
    """What tells the rows of one system apart: locality and swept values, in a few words."""
    names = []
    for locality, sweep in zip(data["locality"], data["sweep"], strict=True):
        values = [
            value for value in str(sweep).split(", ") if value and not value.startswith("trace")
        ]
        short = [f"{path.rpartition('.')[2]} {value}" for path, _, value in map(_halves, values)]
        names.append(", ".join([str(locality), *short]))
    return names


def _halves(text: str) -> tuple[str, str, str]:
    return text.partition("=")


def operators_of(data: pd.DataFrame) -> str:
    """The operator profiles of a table, for headings."""
    names = list(dict.fromkeys(data["operators"]))
    return f"{', '.join(map(str, names))} operators"


def iteration_times(metrics: pd.DataFrame) -> Figure:
    """A bar a point, in the order of the run, the systems of a cell together."""
    data = metrics.head(MOST)
    names = cell_names(data)
    with styled():
        figure, (axes,) = figure_grid(1, 1, 7.2, 1.1 + _BAR_INCHES * len(data))
        times = data["iteration_time_us"].to_numpy(float) / 1e3
        positions, ticks = _positions(names)
        for number, label in enumerate(dict.fromkeys(data["label"])):
            chosen = [i for i, name in enumerate(data["label"]) if name == label]
            style = look(str(data["system"].iloc[chosen[0]]), number)
            axes.barh(
                [positions[i] for i in chosen],
                times[chosen],
                0.9,
                color=style.color,
                hatch=style.hatch,
                edgecolor=_EDGE,
                label=title(str(label)),
            )
        _whiskers(axes, data, positions)
        for position, time in zip(positions, times, strict=True):
            axes.annotate(
                f"{time:.3g}",
                (time, position),
                xytext=(2, 0),
                va="center",
                textcoords="offset points",
                fontsize=6.5,
            )
        axes.set_yticks(list(ticks.values()), list(ticks))
        axes.invert_yaxis()
        axes.grid(True, axis="x")
        axes.grid(False, axis="y")
        axes.margins(x=0.08, y=0.01)
        axes.set_xlabel("iteration time (ms)")
        legend_above(figure, [axes], 5, operators_of(data))
    return figure


def _whiskers(axes: Axes, data: pd.DataFrame, positions: Sequence[float]) -> None:
    """The spread over seeds at the end of each bar that has one."""
    for position, row in zip(positions, rows_of(data), strict=True):
        if pd.notna(row.iteration_time_low_us):
            ends = [row.iteration_time_low_us / 1e3, row.iteration_time_high_us / 1e3]
            axes.plot(ends, [position] * 2, "|-", color=_EDGE, markersize=5, linewidth=0.9)


def _positions(names: Sequence[str]) -> tuple[list[float], dict[str, float]]:
    """Where the bars go, with a gap between cells, and the middle of each cell."""
    positions: list[float] = []
    groups: dict[str, list[float]] = {}
    position = 0.0
    for number, name in enumerate(names):
        position += 1.0 if number and name == names[number - 1] else 1.6
        positions.append(position)
        groups.setdefault(name, []).append(position)
    return positions, {name: float(np.mean(group)) for name, group in groups.items()}


def stages(table: pd.DataFrame) -> Figure:
    """Stage times on each other, a bar a point; what is exposed is said by the table."""
    keys = list(dict.fromkeys(zip(table["point"], table["label"], strict=True)))[:MOST]
    data = table[[pair in set(keys) for pair in zip(table["point"], table["label"], strict=True)]]
    data = data.assign(
        bar=[f"{title(str(s))}, {c}" for s, c in zip(data["label"], cell_names(data), strict=True)],
        time_ms=data["busy_us"] / 1e3,
    )
    count = data["bar"].nunique()
    with styled():
        figure, (axes,) = figure_grid(1, 1, 7.2, 1.5 + _BAR_INCHES * count)
        stacked_bars(axes, data, group="bar", stack="stage", value="time_ms", horizontal=True)
        axes.set_xlabel("stage times, one after the other (ms)")
        legend_above(figure, [axes], 6, operators_of(data))
    return figure


def resources(metrics: pd.DataFrame, points: Sequence[Mapping[str, Fold]]) -> Figure:
    """How busy the resources are, a row a point, a column a family; empty where not used.

    `points`: the folded resources of each row of `metrics`. The busiest of a family gives the
    shade; where they differ the text is least/mean/most.
    """
    data, folds = metrics.head(MOST), points[:MOST]
    titles = headings(folds)
    with styled():
        figure, (axes,) = figure_grid(1, 1, 7.2, 0.9 + _BAR_INCHES * len(data))
        shades = np.zeros((len(folds), max(1, len(titles))))
        for row, folded in enumerate(folds):
            for column, family in enumerate(titles):
                if family not in folded or not folded[family].used:
                    continue
                busy = folded[family].values("utilization")
                shades[row, column] = max(busy)
                axes.text(
                    column,
                    row,
                    spread([100 * share for share in busy], "{:.0f}".format, "%"),
                    ha="center",
                    va="center",
                    fontsize=6.5,
                    fontweight="bold" if max(busy) >= 0.5 else "normal",
                )
        axes.imshow(shades, cmap="Blues", vmin=0, vmax=1.6, aspect="auto")
        bars = [
            f"{title(str(label))}, {cell}"
            for label, cell in zip(data["label"], cell_names(data), strict=True)
        ]
        axes.set_yticks(range(len(bars)), bars)
        axes.set_xticks(range(len(titles)), [name.replace(" ", "\n") for name in titles.values()])
        axes.xaxis.tick_top()
        axes.grid(False)
        axes.set_title(f"share of time busy, {operators_of(data)}")
    return figure


def cache_curve(metrics: pd.DataFrame) -> Figure | None:
    """Iteration time against the cache, a line a system and locality; None without a sweep."""
    data = metrics[metrics["cache_fraction"].notna()]
    if data["cache_fraction"].nunique() < 3 or data["operators"].nunique() > 1:
        return None
    localities = list(dict.fromkeys(data["locality"]))[:4]
    labels = list(dict.fromkeys(data["label"]))[:_MOST_LINES]
    with styled():
        figure, axes = figure_grid(1, len(localities), 7.2, 2.5, sharey=True)
        for panel, locality in zip(axes, localities, strict=True):
            for number, label in enumerate(labels):
                rows = data[(data["locality"] == locality) & (data["label"] == label)]
                rows = _spread(rows.sort_values("cache_fraction", kind="stable"))
                style = look(str(label), number)
                panel.plot(
                    100 * rows["cache_fraction"].to_numpy(float),
                    rows["iteration_time_us"].to_numpy(float) / 1e3,
                    color=style.color,
                    marker=style.marker,
                    linestyle=style.dash,
                    label=title(str(label)),
                )
            panel.set_title(str(locality))
            panel.set_xlabel("cache, % of rows")
            from_zero(panel)
        axes[0].set_ylabel("iteration time (ms)")
        legend_above(figure, axes[:1], 5, operators_of(data))
    return figure


def _spread(rows: pd.DataFrame) -> pd.DataFrame:
    """At most `_MOST_ON_LINE` rows, evenly spread, the first and the last among them."""
    return rows.iloc[some_of(range(len(rows)), _MOST_ON_LINE)]


def pipelines(timeline: pd.DataFrame, metrics: pd.DataFrame, batches: int = 5) -> Figure | None:
    """A few mini-batches of each system in its steady state, of the first cell of the run."""
    chosen = metrics.drop_duplicates("label").head(5)
    rows = [row for row in rows_of(chosen) if row.point in set(timeline["point"])]
    if not rows:
        return None
    with styled():
        figure, axes = figure_grid(len(rows), 1, 7.2, 1.55 * len(rows))
        for panel, row in zip(axes, rows, strict=True):
            spans = timeline[(timeline["point"] == row.point) & (timeline["label"] == row.label)]
            first = int(spans["batch"].max()) // 2
            whole = spans[spans["batch"] == first].sort_values("start_ps")["stage"]
            order = dict.fromkeys(map(str, [*whole, *spans["stage"]]))  # a row may be missing
            draw_pipeline(panel, steady_spans(spans, first, batches), list(order))
            panel.set_title(f"{title(str(row.label))}, {row.locality}, {row.operators} operators")
        axes[-1].set_xlabel("simulated time (ms)")
    return figure
