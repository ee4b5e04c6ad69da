"""A point in a sentence or two, under the tables of a run: its critical path, what would help."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from simulator.engine.first_help import Help
    from simulator.engine.replaying import Kept
    from simulator.results.record import PointResult
    from simulator.sweep.run_directory import Finished

__all__ = ["path_of", "reading"]

COST = 0.1
"""Share of the time of a run that variations of one of its points may take, at most."""
_START_S = 2.0
"""About what a command takes to start."""
FACTOR = 2.0
_SHOWN = 2
"""Stages, and parts, that are told."""
_LEAST = 0.005
"""Share of an iteration that is told."""
_WORDS = {"cpu": "CPU", "gpu": "GPU", "pcie": "PCIe", "nvlink": "NVLink", "nic": "NIC"}


def reading(finished: Finished, kept: Kept) -> Iterator[str]:
    """Lines on the fastest point whose replay was kept, else on the fastest of all."""
    from simulator.engine.first_help import first_help

    results = finished.sweep.result.points
    if not results:
        return
    own = [each for each in results if kept.has(each.point)]
    chosen = min(own or results, key=lambda each: each.metrics["iteration_time_us"])
    yield path_of(chosen)
    if own:
        most_s = COST * (finished.wall_s + _START_S)
        helps = first_help(chosen.point, chosen.metrics, kept, most_s, FACTOR)
        yield from _helped(helps)


def path_of(result: PointResult) -> str:
    """Which stages the iteration waits for."""
    metrics, point = result.metrics, result.point
    time_us = metrics["iteration_time_us"]
    stages = sorted(result.stages, key=lambda row: -_exposed(row))
    told = [
        f"{str(row['stage']).replace('_', ' ')} {_exposed(row) / time_us:.0%}"
        for row in stages[:_SHOWN]
        if _exposed(row) >= _LEAST * time_us
    ]
    swept = f", {text}" if (text := point.sweep_text()) else ""
    name = f"{point.system.label}, {point.locality}{swept}"
    return f"critical path of {name} ({time_us / 1e3:.3g} ms): {', '.join(told)}"


def _exposed(row: Mapping[str, Any]) -> float:
    return float(row["exposed_us"] or 0.0)


def _helped(helps: Sequence[Help]) -> Iterator[str]:
    if not helps:
        return
    most = [help for help in helps if help.change <= -_LEAST][:_SHOWN]
    if most:
        texts = (f"with {_name(help.part)} twice as fast {help.change:+.0%}" for help in most)
        yield f"time of its iteration {', '.join(texts)} (`scratchpipe whatif` tries everything)"
    else:
        yield "no part of the machine that is twice as fast shortens it by itself"


def _name(part: str) -> str:
    return " ".join(_WORDS.get(word, word) for word in part.split("."))
