"""What a point would gain from a faster part, right after it was simulated: its replay is at hand.

A part is what stands in a socket of the machine, or the memory that it brings, with all of its
speeds (`simulator.engine.levers`). There are a few of them, and a variation costs what timing the
point cost.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from simulator.config.point import PointConfig
from simulator.engine.levers import Lever, Path, levers_of, with_speed
from simulator.engine.points import simulate_each
from simulator.engine.replaying import Kept
from simulator.errors import ConfigError
from simulator.results.record import PointResult

__all__ = ["Help", "first_help", "parts_of"]

_MEMORY = "memory"
_SOCKET = 3
"""Names that lead to what stands in a socket: `platform`, `host`, the socket."""


@dataclass(frozen=True, slots=True)
class Help:
    """A part, and the time of an iteration with it faster over that without, less one."""

    part: str
    change: float


def parts_of(point: PointConfig) -> dict[str, list[Lever]]:
    """The levers of each part of the machine of `point`, by the name of the first."""
    parts: dict[Path, list[Lever]] = {}
    for lever in levers_of(point):
        if lever.path[0] == "platform":
            parts.setdefault(_part(lever.path), []).append(lever)
    return {Lever(path, ()).name: levers for path, levers in parts.items()}


def _part(path: Path) -> Path:
    """The socket that a path leads to, or the memory in it."""
    below = path[_SOCKET:]
    return path[: _SOCKET + below.index(_MEMORY) + 1] if _MEMORY in below else path[:_SOCKET]


def first_help(
    point: PointConfig,
    metrics: Mapping[str, Any],
    kept: Kept,
    most_s: float,
    factor: float = 2.0,
) -> tuple[Help, ...]:
    """What each part `factor` times as fast changes at a point with these `metrics`, most first.

    Empty where its replay was not kept, and where all variations would take, or took, more than
    `most_s` seconds.
    """
    parts = parts_of(point)
    each_s = metrics["wall_memory_s"] + metrics["wall_events_s"]
    if not kept.has(point) or len(parts) * each_s > most_s:
        return ()
    varied: dict[str, PointConfig] = {}
    for name, levers in parts.items():
        try:
            varied[name] = _faster(point, levers, factor)
        except ConfigError:
            continue
    begin, helps = time.perf_counter(), []
    names = list(varied)
    for number, outcome in simulate_each(list(varied.values()), ahead=kept.ahead):
        if isinstance(outcome, PointResult):
            now = outcome.metrics["iteration_time_us"]
            helps.append(Help(names[number], now / metrics["iteration_time_us"] - 1.0))
        if time.perf_counter() - begin > most_s:
            return ()
    return tuple(sorted(helps, key=lambda help: help.change))


def _faster(point: PointConfig, levers: Sequence[Lever], factor: float) -> PointConfig:
    for lever in levers:
        point = with_speed(point, lever, factor)
    return point
