"""Results as tidy tables: metrics or stages with a column for each swept key."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import pandas as pd

from simulator.config.point import short
from simulator.figures.style import LOCALITIES
from simulator.results.resources import family_of

if TYPE_CHECKING:
    from simulator.results.record import Result

__all__ = ["class_order", "devices_frame", "metrics_frame", "stages_frame", "with_baseline"]


def metrics_frame(result: Result) -> pd.DataFrame:
    """One row a point: the metrics, then every swept key under its dotted path."""
    data = result.to_pandas()
    return data.assign(**_swept(result, [1] * len(result)))


def stages_frame(result: Result) -> pd.DataFrame:
    """One row a point and stage: the stage columns, then every swept key."""
    data = result.stages_to_pandas()
    return data.assign(**_swept(result, [len(point.stages) for point in result]))


def devices_frame(result: Result) -> pd.DataFrame:
    """One row a point and resource: its columns, its `family`, then every swept key."""
    data = result.devices_to_pandas()
    data = data.assign(family=[family_of(str(name)) for name in data["resource"]])
    return data.assign(**_swept(result, [len(point.devices) for point in result]))


def class_order(localities: Iterable[str]) -> list[int]:
    """0 for the least local class, and so on."""
    return [LOCALITIES.index(name) for name in localities]


def _swept(result: Result, repeat: list[int]) -> dict[str, pd.Series]:
    paths = dict.fromkeys(path for point in result for path in point.point.swept)
    columns: dict[str, pd.Series] = {}
    for path in paths:
        values: list[Any] = []
        for point, times in zip(result, repeat, strict=True):
            value = point.point.swept.get(path)
            plain = value is None or isinstance(value, bool | int | float | str)
            values += [value if plain else short(value)] * times
        columns[path] = pd.Series(values)
    return columns


def with_baseline(
    data: pd.DataFrame, baseline: str, cells: list[str], column: str, into: str
) -> pd.DataFrame:
    """`data` with column `into`: `column` of the row labelled `baseline` in the same cell over
    this one's (a speed-up, where `column` is a time)."""
    base = data[data["label"] == baseline].set_index(cells)[column]
    index = pd.MultiIndex.from_frame(data[cells]) if len(cells) > 1 else pd.Index(data[cells[0]])
    return data.assign(**{into: base.reindex(index).to_numpy(float) / data[column].to_numpy(float)})
