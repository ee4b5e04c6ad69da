"""The kinds of charts that figures are made of: bars in groups, stacked bars, lines.

Each draws one tidy table into one axes; colours, hatches and markers come from `style.look`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from simulator.figures.style import Entry, Look, distinct_looks, look, title

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.ticker import ScalarFormatter

__all__ = [
    "figure_grid",
    "from_zero",
    "grouped_bars",
    "legend_above",
    "lines",
    "slanted",
    "stacked_bars",
]

_EDGE = "#222222"
_THOUSANDS = re.compile(r"\d(?=(\d{3})+$)")


def figure_grid(
    rows: int, columns: int, width: float, height: float, **more: Any
) -> tuple[Figure, list[Axes]]:
    """A figure of `width` x `height` inches with its axes, row by row."""
    from matplotlib.figure import Figure as NewFigure

    figure = NewFigure(figsize=(width, height))
    axes = figure.subplots(rows, columns, squeeze=False, **more)
    panels = [panel for row in axes for panel in row]
    for panel in panels:
        panel.yaxis.set_major_formatter(_grouped_digits())
    return figure, panels


def _grouped_digits() -> ScalarFormatter:
    """Labels of ticks as matplotlib writes them, with a comma between thousands."""
    from matplotlib.ticker import ScalarFormatter

    class Grouped(ScalarFormatter):
        def __call__(self, x: float, pos: int | None = None) -> str:
            whole, point, rest = super().__call__(x, pos).partition(".")
            return _THOUSANDS.sub(lambda digit: f"{digit[0]},", whole) + point + rest

    return Grouped()


def grouped_bars(
    axes: Axes,
    data: pd.DataFrame,
    *,
    group: str,
    hue: str,
    value: str,
    hues: Sequence[str] | None = None,
    groups: Sequence[Any] | None = None,
    show: Callable[[Any], str] = str,
    digits: int | None = None,
    marks: str | None = None,
    looks: Mapping[str, Look] | None = None,
    spread: tuple[str, str] | None = None,
) -> None:
    """A cluster of bars for each `group`, one bar a `hue`; a missing one leaves its place free.

    `digits`: write the values above the bars. `marks`: a boolean column; true puts a `*` there.
    `looks`: of each hue, in place of its own. `spread`: columns of the least and the most.
    """
    groups = list(dict.fromkeys(data[group])) if groups is None else list(groups)
    hues = list(dict.fromkeys(data[hue])) if hues is None else list(hues)
    width = 0.82 / len(hues)
    for number, name in enumerate(hues):
        rows = data[data[hue] == name].drop_duplicates(group).set_index(group).reindex(groups)
        heights = rows[value].to_numpy(dtype=float)
        positions = np.arange(len(groups)) + (number - (len(hues) - 1) / 2) * width
        style = (looks or {}).get(str(name)) or look(str(name), number)
        axes.bar(
            positions,
            np.nan_to_num(heights),
            width,
            color=style.color,
            hatch=style.hatch,
            edgecolor=_EDGE,
            label=title(str(name)),
        )
        for position, ends in zip(positions, rows[[*(spread or ())]].to_numpy(float), strict=True):
            if len(ends) and np.isfinite(ends).all():
                axes.plot([position] * 2, ends, "_-", color=_EDGE, markersize=5, linewidth=0.9)
        starred = _flags(rows, marks, len(groups))
        for position, height, star in zip(positions, heights, starred, strict=True):
            text = ("" if digits is None else f"{height:,.{digits}f}") + ("*" if star else "")
            if text and np.isfinite(height):
                axes.annotate(
                    text,
                    (position, height),
                    xytext=(0, 1.5),
                    textcoords="offset points",
                    ha="center",
                    va="bottom",
                    fontsize=8 if text == "*" else 6,
                    rotation=90 if digits is not None and width < 0.22 else 0,
                )
    axes.set_xticks(range(len(groups)), [show(key) for key in groups])
    axes.margins(y=0.12)


def _flags(rows: pd.DataFrame, column: str | None, count: int) -> list[bool]:
    if column is None:
        return [False] * count
    return [value is True or (value == True) is True for value in rows[column].tolist()]  # noqa: E712


def stacked_bars(
    axes: Axes,
    data: pd.DataFrame,
    *,
    group: str,
    stack: str,
    value: str,
    groups: Sequence[Any] | None = None,
    stacks: Sequence[str] | Mapping[str, Entry] | None = None,
    show: Callable[[Any], str] = str,
    horizontal: bool = False,
) -> None:
    """One bar a `group`, the values of `stack` on top of each other in the order of `stacks`."""
    groups = list(dict.fromkeys(data[group])) if groups is None else list(groups)
    entries = _entries(list(dict.fromkeys(data[stack])) if stacks is None else stacks)
    table = data.pivot_table(index=group, columns=stack, values=value, aggfunc="sum")
    table = table.reindex(index=groups, columns=list(entries)).fillna(0.0)
    start = np.zeros(len(groups))
    for name, entry in entries.items():
        sizes = table[name].to_numpy(dtype=float)
        style = entry.look
        looks: dict[str, Any] = {"color": style.color, "hatch": style.hatch, "edgecolor": _EDGE}
        draw = axes.barh if horizontal else axes.bar
        draw(range(len(groups)), sizes, 0.7, start, label=entry.title, **looks)
        start = start + sizes
    names = [show(key) for key in groups]
    if horizontal:
        axes.set_yticks(range(len(groups)), names)
        axes.invert_yaxis()
        axes.grid(True, axis="x")
        axes.grid(False, axis="y")
    else:
        axes.set_xticks(range(len(groups)), names)


def _entries(names: Sequence[str] | Mapping[str, Entry]) -> Mapping[str, Entry]:
    """What the legend says of each name."""
    if isinstance(names, Mapping):
        return names
    return {name: Entry(title(name), style) for name, style in distinct_looks(names).items()}


def lines(
    axes: Axes,
    data: pd.DataFrame,
    *,
    x: str,
    y: str,
    hue: str,
    hues: Sequence[str] | None = None,
    markers: bool = True,
) -> None:
    """One line a `hue`, its points in the order of `x`."""
    hues = list(dict.fromkeys(data[hue])) if hues is None else list(hues)
    for number, name in enumerate(hues):
        rows = data[data[hue] == name].sort_values(x)
        style = look(str(name), number)
        axes.plot(
            rows[x].to_numpy(dtype=float),
            rows[y].to_numpy(dtype=float),
            color=style.color,
            linestyle=style.dash,
            marker=style.marker if markers else "",
            markeredgecolor=_EDGE,
            markeredgewidth=0.4,
            label=title(str(name)),
        )


def from_zero(axes: Axes) -> None:
    """Let the values of `axes`, and of those that share its scale, begin at zero, with room for the
    highest marker below the frame."""
    panels = axes.get_shared_y_axes().get_siblings(axes)
    highest = max(panel.dataLim.ymax for panel in panels)
    axes.set_ylim(0, 1.08 * highest if 0 < highest < np.inf else None)


def slanted(axes: Axes, degrees: float = 60.0) -> None:
    """Slant the names below `axes`, each ending under its tick."""
    for label in axes.get_xticklabels():
        label.set(rotation=degrees, ha="right", rotation_mode="anchor")


def legend_above(figure: Figure, axes: Sequence[Axes], columns: int, heading: str = "") -> None:
    """One legend for all `axes` above them, each entry once, and a heading over it.

    `columns`: how many at most; fewer where they would be wider than the figure.
    """
    entries: dict[str, Any] = {}
    for panel in axes:
        for handle, name in zip(*panel.get_legend_handles_labels(), strict=True):
            entries.setdefault(name, handle)
    for count in range(columns, 0, -1):
        legend = figure.legend(
            list(entries.values()),
            list(entries),
            loc="outside upper center",
            ncols=count,
            title=heading or None,
            title_fontproperties={"weight": "bold", "size": 9},
        )
        if count == 1 or legend.get_window_extent().width <= figure.bbox.width:
            return
        legend.remove()
