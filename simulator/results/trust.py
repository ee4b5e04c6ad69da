"""How far to trust the platforms of a run: a line each, for the foot of tables and pages.

Errors come from the summary that `scratchpipe validate --summary` wrote
(`experiments/validation/trust.csv`); where it knows nothing of a platform, the line says so.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from simulator.data import path as data_path
from simulator.results.published import Published, published
from simulator.text import few

__all__ = ["PAGE", "SUMMARY", "iteration_errors", "published_of"]
__all__ += ["trust_lines"]

Row = Mapping[str, Any]

PAGE = "docs/validation.md"
SUMMARY = "validation/trust.csv"
"""Below the folder of the experiments."""
_ITERATIONS = "whole iterations"
_MEANING = {
    "no": "not calibrated: numbers are data-sheet or assumed",
    "partly": "calibrated in part, the rest is data-sheet or assumed: its errors are not known",
}


@cache
def _compared() -> tuple[dict[str, str], ...]:
    """Rows of the summary about whole iterations."""
    file = data_path("experiments") / SUMMARY
    if not file.is_file():
        return ()
    with file.open(encoding="utf-8", newline="") as lines:
        return tuple(row for row in csv.DictReader(lines) if row["kind"] == _ITERATIONS)


def _errors(column: str) -> dict[str, tuple[float, float]]:
    """Median and worst error of whole iterations, by the `column` of what was compared."""
    return {row[column]: (float(row["median"]), float(row["worst"])) for row in _compared()}


def iteration_errors(machine: str) -> tuple[float, float] | None:
    """Median and worst |simulated / measured - 1| of whole iterations on `machine`, with the
    operators that were measured there; None where none were."""
    errors = _errors("machine").get(machine)
    return None if errors is None else (errors[0], abs(errors[1]))


def published_of(row: Row, stage: str = "") -> Published | None:
    """The published error of iterations of the kind of a point (a row of metrics) whose longest
    stage is `stage`; None where its platform is not calibrated."""
    software = f"{row['platform']}, {row['operators']}"
    own = {each["platform"]: each["machine"] for each in _compared()}
    return published(row, stage, own.get(software))


def trust_lines(rows: Iterable[Row]) -> list[str]:
    """A line for each platform and operator profile of `rows` (of metrics), then one where
    calibrated and other platforms stand side by side."""
    seen: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        if row["platform"] is not None and row["calibrated"] is not None:
            meaning = _meaning(row["calibrated"], row["platform"], row["operators"])
            seen.setdefault((row["calibrated"], meaning), []).append(row["platform"])
    lines = [
        f"platform {few(dict.fromkeys(platforms))}: {meaning} ({PAGE})"
        for (_, meaning), platforms in seen.items()
    ]
    if len({level for level, _ in seen}) > 1:
        lines.append(
            "Calibrated and other platforms stand side by side: differences of less than their "
            "errors mean nothing, and those of the others are not known."
        )
    return lines


def _meaning(level: str, platform: str, operators: str) -> str:
    if level != "yes":
        return _MEANING[level]
    errors = _errors("platform").get(f"{platform}, {operators}")
    if errors is None:
        return (
            f"calibrated; whole iterations with {operators} operators were not compared: errors "
            "are those of their kind, with other software"
        )
    median, worst = errors
    return (
        f"calibrated; whole iterations with {operators} operators {median:.1%} off in the median, "
        f"{abs(worst):.0%} at worst"
    )
