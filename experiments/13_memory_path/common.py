"""What the questions share: times by system, machine and skew, and lines of systems over skew."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from simulator.config.trace import ZipfTraceConfig
from simulator.figures.style import look, title
from simulator.results.extension import extension_mark
from simulator.results.resources import title_of
from simulator.studies.frames import devices_frame, metrics_frame, stages_frame

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from simulator.config.point import PointConfig
    from simulator.results.record import Result

__all__ = [
    "KEY",
    "by_skew",
    "dense_ms",
    "devices",
    "exponent",
    "marked",
    "of_points",
    "stages",
    "times",
]

KEY = ["mode", "platform", "label", "alpha", "kept", "ahead"]
"""What tells the points of one experiment apart. `kept`: share of the rows that DRAM keeps before a
tier; `ahead`: stages that fetch them."""


def exponent(point: PointConfig) -> float:
    """Of the Zipf law that the lookups of a point follow."""
    assert isinstance(point.trace, ZipfTraceConfig), "all traces of the study are of this kind"
    return float(point.trace.alpha)


def times(result: Result) -> pd.DataFrame:
    """A row a point: what it is, its time (ms), its energy (J) and what is busiest."""
    metrics = metrics_frame(result)
    data = _keyed(result, [1] * len(result))
    data[["system", "operators", "batch_size"]] = metrics[["system", "operators", "batch_size"]]
    data["ours"] = metrics["training_is_ours"]
    data["time_ms"] = metrics["iteration_time_us"] / 1e3
    data["energy_j"] = metrics["energy_mj"] / 1e3
    data["bottleneck"] = [title_of(str(name)) for name in metrics["bottleneck"]]
    return data


def stages(result: Result) -> pd.DataFrame:
    """A row a point and stage: its time and what of it is exposed (ms)."""
    frame = stages_frame(result)
    data = _keyed(result, [len(point.stages) for point in result])
    data["stage"] = frame["stage"]
    for name in ("busy", "exposed"):
        data[f"{name}_ms"] = frame[f"{name}_us"] / 1e3
    return data


def devices(result: Result) -> pd.DataFrame:
    """A row a point and resource: its time (ms) and its bytes a mini-batch."""
    frame = devices_frame(result)
    data = _keyed(result, [len(point.devices) for point in result])
    data[["resource", "kind", "bytes"]] = frame[["resource", "kind", "bytes"]]
    data["busy_ms"] = frame["busy_us"] / 1e3
    return data


def of_points(data: pd.DataFrame, values: pd.Series) -> list[Any]:
    """`values`, which `KEY` is the index of, in the order of the points of `data`."""
    index = pd.MultiIndex.from_frame(data[KEY])
    found: list[Any] = values.reindex(index).tolist()
    return found


def dense_ms(data: pd.DataFrame, parts: pd.DataFrame) -> pd.Series:
    """What of each point's time the MLPs take for themselves; `parts`: its `stages`."""
    return pd.Series(of_points(data, parts[parts["stage"] == "mlp"].set_index(KEY)["exposed_ms"]))


def marked(data: pd.DataFrame) -> pd.DataFrame:
    """`data` with the mark of an extension behind labels whose training no source describes."""
    marks = [extension_mark(bool(ours)) for ours in data["ours"]]
    return data.assign(label=data["label"] + marks)


def _keyed(result: Result, repeat: Sequence[int]) -> pd.DataFrame:
    """The key of each point, once for each of its rows."""
    rows = []
    for outcome, count in zip(result, repeat, strict=True):
        point = outcome.point
        key = {
            "mode": point.run.mode,
            "platform": point.platform.name,
            "label": point.system.label,
            "alpha": exponent(point),
            "kept": float(point.tables.cache),
            "ahead": point.tables.fetch_ahead or 1,
        }
        rows += [key] * count
    return pd.DataFrame(rows)


def by_skew(axes: Axes, data: pd.DataFrame, y: str, systems: Sequence[str]) -> None:
    """One line a system over the exponent of the trace."""
    for name in systems:
        rows = data[data["label"] == name].sort_values("alpha")
        style = look(str(rows["system"].iloc[0]))
        axes.plot(
            rows["alpha"].to_numpy(float),
            rows[y].to_numpy(float),
            color=style.color,
            linestyle=style.dash,
            marker=style.marker,
            markeredgecolor="#222222",
            markeredgewidth=0.4,
            label=title(str(rows["system"].iloc[0])),
        )
    axes.set_xlabel("exponent of Zipf's law")
