"""What a sweep too long for a table comes to: its ends, and a summary by what was swept."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from simulator.config.point import short
from simulator.results.rows import Row
from simulator.text import some_of

__all__ = ["MOST_POINTS", "Group", "ends_of", "groups_of", "title_of_ends"]

MOST_POINTS = 40
"""Points that a table shows one by one."""
_ENDS = 8
"""Fastest and slowest points shown of more."""
_MOST_VALUES = 10
"""Values of a key shown, evenly spread."""
_MOST_KEYS = 6
_NAMES = ("system", "label", "locality")
"""Columns that group points beside the swept keys."""


@dataclass(frozen=True, slots=True)
class Group:
    """The points with one value of a key."""

    key: str
    value: str
    points: int
    best_us: float
    median_us: float
    worst_us: float
    left_out: int = 0
    """Values of the key that are not shown, told at its last group."""


def ends_of(rows: Sequence[Row]) -> list[int]:
    """Numbers of the rows to show: all, or the fastest and the slowest, fastest first."""
    if len(rows) <= MOST_POINTS:
        return list(range(len(rows)))
    ordered = sorted(range(len(rows)), key=lambda n: rows[n]["iteration_time_us"])
    return ordered[:_ENDS] + ordered[-_ENDS:]


def title_of_ends(count: int) -> str:
    """What to say above a table of `ends_of`; empty where it shows all."""
    if count <= MOST_POINTS:
        return ""
    return f"the {_ENDS} fastest and the {_ENDS} slowest of {count:,} points"


def groups_of(rows: Sequence[Row], swept: Sequence[Row]) -> Iterator[Group]:
    """Iteration times by system, locality and swept key, one key after the other."""
    kept = 0
    for key, values in _keys(rows, swept).items():
        groups: dict[str, list[float]] = {}
        for row, value in zip(rows, values, strict=True):
            groups.setdefault(value, []).append(row["iteration_time_us"])
        if len(groups) < 2:
            continue
        kept += 1
        if kept > _MOST_KEYS:
            return
        shown = some_of(list(groups), _MOST_VALUES)
        for value in shown:
            times = groups[value]
            left_out = len(groups) - len(shown) if value == shown[-1] else 0
            ends = min(times), median(times), max(times)
            yield Group(key, value, len(times), *ends, left_out)


def _keys(rows: Sequence[Row], swept: Sequence[Row]) -> dict[str, list[str]]:
    """The value of each key for each row; `-` where a row has none."""
    keys = {name: [str(row[name] or "-") for row in rows] for name in _NAMES}
    if keys["system"] == keys["label"]:
        del keys["label"]
    for path in dict.fromkeys(path for values in swept for path in values):
        values = [values.get(path, math.nan) for values in swept]
        keys[path] = ["-" if value is math.nan else short(value) for value in values]
    return keys
