"""One column of the results against another, in the style of all figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from simulator.config.point import short
from simulator.config.problems import did_you_mean
from simulator.errors import UsageError
from simulator.figures.charts import figure_grid, grouped_bars, legend_above
from simulator.figures.style import Look, distinct_looks, styled, title
from simulator.results.dictionary import CHECKPOINT, LOAD, METRICS
from simulator.results.extension import extension_title
from simulator.results.software import DIFFERS, software_note
from simulator.results.spread_columns import SPREAD_OF
from simulator.text import few

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from simulator.results.rows import Row

__all__ = ["WIDTHS", "plot"]

WIDTHS = {"column": 3.35, "page": 7.16}
"""Inches of a column and of a page of two columns."""
_MOST_PANELS = 4
_MOST_LINES = 12
_EDGE = "#222222"
_NAMES = ("policy", "platform", "model", "operators")
"""Columns that tell lines of one system apart."""


def plot(
    metrics: Sequence[Row],
    swept: Sequence[Row],
    x: str,
    y: str = "iteration_time_us",
    width: str | float = "page",
    software: str = "",
) -> Figure:
    """`y` against `x`: lines where `x` is a number, else bars; a panel a locality, a line a system.

    `metrics`: rows of columns of the data dictionary, also of loads and check-points (`joined`);
    `swept`: the swept values of each, whose paths are columns too (`model.dim`). `width`: `column`,
    `page`, or inches. `software`, up to a colon, stands in the title beside the machine
    (`Result.software`). Where points have a spread over seeds it is drawn. Raises `UsageError` for
    a column that does not exist, says nothing, or cannot be drawn.
    """
    named = [{path: _plain(value) for path, value in values.items()} for values in swept]
    data = pd.DataFrame([{**row, **values} for row, values in zip(metrics, named, strict=True)])
    for name in (x, y):
        _require(name, data)
    if not _is_number(data[y]):
        raise UsageError(f"--y {y} is text: choose one of {', '.join(_numbers(data))}")
    chart = _Chart(x, y, _inches(width), software.partition(":")[0])
    data = data[data[x].notna() & data[y].notna()]
    return chart.figure(data.assign(series=_series(data, swept, x)), metrics)


def _plain(value: Any) -> Any:
    """A swept value as a number or a word."""
    return value if isinstance(value, int | float) else short(value)


def _require(name: str, data: pd.DataFrame) -> None:
    known = [column for column in data.columns if data[column].notna().any()]
    if name in known:
        return
    why = "says nothing of these points" if name in data.columns else "does not exist"
    hint = did_you_mean(name, known)
    raise UsageError(f"column {name} {why}: {hint + ' ' if hint else ''}there is {few(known, 200)}")


def _is_number(values: pd.Series[Any]) -> bool:
    return all(isinstance(v, int | float) and not isinstance(v, bool) for v in values.dropna())


def _numbers(data: pd.DataFrame) -> list[str]:
    return [str(c) for c in data.columns if data[c].notna().any() and _is_number(data[c])]


def _inches(width: str | float) -> float:
    try:
        inches = WIDTHS[str(width)] if width in WIDTHS else float(width)
    except ValueError:
        inches = 0.0
    if not 1.0 <= inches <= 40.0:
        raise UsageError(f"width {width}: column, page, or 1 to 40 inches")
    return inches


def _series(data: pd.DataFrame, swept: Sequence[Row], x: str) -> list[str]:
    """What a line is of: the system, and all else that differs between its points but `x`."""
    paths = dict.fromkeys(path for values in swept for path in values)
    named = [name for name in _NAMES if name != x and _varies(data, name)]
    same = {"cache_fraction": "cache.fraction", "cache_rows": "cache.rows"}
    taken = {x, same.get(x), *_NAMES, "cache.policy"}
    more = [p for p in paths if p not in taken and not p.startswith("trace.locality")]
    names = []
    for row in data.to_dict("records"):
        words = [str(row[name]) for name in named]
        words += [f"{p.rpartition('.')[2]} {row[p]}" for p in more if data[p].nunique() > 1]
        names.append(", ".join([str(row["label"]), *words]))
    return names


def _varies(data: pd.DataFrame, column: str) -> bool:
    """Whether a system is there with several values of it."""
    return len(set(zip(data["label"], data[column], strict=True))) > data["label"].nunique()


@dataclass(frozen=True)
class _Chart:
    x: str
    y: str
    width: float
    software: str

    def figure(self, data: pd.DataFrame, metrics: Sequence[Row]) -> Figure:
        localities = [None] if self.x == "locality" else list(dict.fromkeys(data["locality"]))
        localities = localities[:_MOST_PANELS]
        narrow = self.width < 5
        rows, columns = (len(localities), 1) if narrow else (1, len(localities))
        with styled():
            height = 1.9 * rows + 0.75 if narrow else 2.7
            figure, panels = figure_grid(rows, columns, self.width, height, sharey=True)
            for axes, locality in zip(panels, localities, strict=True):
                part = data if locality is None else data[data["locality"] == locality]
                draw = self._lines if _is_number(data[self.x]) else self._bars
                draw(axes, part, list(dict.fromkeys(data["series"]))[:_MOST_LINES])
                axes.set_xlabel(_label(self.x))
                axes.set_ylim(0, 1.08 * float(_scaled(self.y, data[self.y]).max()) or 1)
                if locality is not None:
                    axes.set_title(title(str(locality)))
            for axes in panels if narrow else panels[:1]:
                axes.set_ylabel(_label(self.y))
            longest = max((len(_title(name)) for name in data["series"]), default=1)
            across = max(1, int(self.width * 13 / (longest + 9)))
            legend_above(figure, panels, across, _heading(metrics, self.software, narrow))
        return figure

    def _lines(self, axes: Axes, data: pd.DataFrame, series: Sequence[str]) -> None:
        looks = _looks(series)
        for name in series:
            rows = data[data["series"] == name].sort_values(self.x, kind="stable")
            style = looks[name]
            axes.plot(
                _scaled(self.x, rows[self.x]),
                _scaled(self.y, rows[self.y]),
                color=style.color,
                linestyle=style.dash,
                marker=style.marker,
                markeredgecolor=_EDGE,
                markeredgewidth=0.4,
                clip_on=False,
                label=_title(name),
            )
            self._spread(axes, _scaled(self.x, rows[self.x]), rows)

    def _bars(self, axes: Axes, data: pd.DataFrame, series: Sequence[str]) -> None:
        shown = data.assign(group=data[self.x].astype(str), series=data["series"].map(_title))
        ends = SPREAD_OF.get(self.y)
        for column in (self.y, *(ends or ())):
            shown[column] = _scaled(self.y, data[column])
        grouped_bars(
            axes,
            shown,
            group="group",
            hue="series",
            value=self.y,
            hues=[_title(name) for name in series],
            looks={_title(name): style for name, style in _looks(series).items()},
            spread=ends,
        )
        if data[self.x].nunique() > 4:
            axes.tick_params(axis="x", rotation=30)

    def _spread(self, axes: Axes, places: np.ndarray[Any, Any], rows: pd.DataFrame) -> None:
        """Least and most over seeds, where there are any."""
        low, high = SPREAD_OF.get(self.y, ("", ""))
        for place, row in zip(places, rows.to_dict("records"), strict=True):
            if low and pd.notna(row.get(low)):
                ends = _scaled(self.y, pd.Series([row[low], row[high]]))
                axes.plot([place, place], ends, "_-", color=_EDGE, markersize=5, linewidth=0.9)


def _looks(series: Sequence[str]) -> dict[str, Look]:
    """Of each line that of its system, or another where it is taken."""
    return distinct_looks(series, {name: name.partition(", ")[0] for name in series})


def _heading(metrics: Sequence[Row], software: str, narrow: bool) -> str:
    """Machines and software, once they are one each; that both differ, where they do."""
    words = []
    for column, after in (("platform", ""), ("operators", " operators")):
        values = dict.fromkeys(str(row[column]) for row in metrics)
        if len(values) == 1:
            words.append(f"{next(iter(values))}{after}")
    if software_note(metrics):
        words.append(DIFFERS)
    words += filter(None, (software, extension_title(metrics)))
    return (",\n" if narrow and len(words) > 2 else ", ").join(words)


def _title(series: str) -> str:
    label, comma, rest = series.partition(", ")
    return f"{title(label)}{comma}{rest}"


def _scaled(name: str, values: pd.Series[Any]) -> np.ndarray[Any, Any]:
    return values.to_numpy(dtype=float) * _factor(name)[0]


def _factor(name: str) -> tuple[float, str]:
    """What a column is multiplied by to be drawn, and its unit then."""
    units = {column.name: column.unit for column in (*CHECKPOINT, *LOAD, *METRICS)}
    unit = units.get(name.removeprefix("checkpoint."), "")
    if unit == "us":
        return 1e-3, "ms"
    if unit == "mJ/batch":
        return 1e-3, "J a mini-batch"
    if unit == "1" and name != "speedup_over_hybrid":
        return 100.0, "%"
    if name == "cache.fraction":
        return 100.0, "%"
    return 1.0, "" if unit == "1" else unit


def _label(name: str) -> str:
    words = name.removesuffix("_us").removesuffix("_mj").removesuffix("_samples_per_s")
    words = words.replace("cache.fraction", "cache").replace("cache_fraction", "cache")
    text = words.replace("_", " ").replace(".", " ")
    unit = _factor(name)[1]
    unit = "% of rows" if name in ("cache_fraction", "cache.fraction") else unit
    return f"{text[:1].upper()}{text[1:]}" + (f" ({unit})" if unit else "")
