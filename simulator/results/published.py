"""What was published of the error of iterations of a kind: by system, by what binds, by GPUs.

The measurements stand beside the pages of `scratchpipe validate`
(`experiments/validation/page/*`): `iterations.csv` has each iteration with its system, number of
GPUs and bottleneck, `stages.csv` its stages. What binds an iteration is the resource that its
simulation names, whichever of several alike (any GPU's SMs); where that is latency, its longest
stage, as simulated. A point of a calibrated platform has the median error of the iterations most
like it, where `LEAST` are: same GPUs, then same system and resource, else same system and stage,
same resource, same stage, same system. Where its platform and operators are those of one page, that
page alone counts. Of platforms that are not calibrated, or partly, errors are not known.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any

from simulator.data import path as data_path
from simulator.results.column import Column
from simulator.results.resources import LATENCY, family_of, title_of
from simulator.text import few

__all__ = ["BASIS", "ERROR", "LEAST", "PAGES", "Published", "longest_stage", "published"]

Row = Mapping[str, Any]

PAGES = "validation/page"
"""Below the folder of the experiments: a folder a machine."""
LEAST = 3
"""Iterations of a kind that a median is taken of."""

ERROR = Column(
    "published_error",
    "float",
    "1",
    "Median error of whole iterations of this kind, simulated against measured "
    "(docs/validation.md): of the system, bound by the same resource (else with the same longest "
    "stage), with as many GPUs, on calibrated machines; null where the platform is not calibrated.",
)
BASIS = Column(
    "published_error_of",
    "text",
    "",
    "The measured iterations that `published_error` is the median of; null without it.",
)


@dataclass(frozen=True, slots=True)
class Published:
    """An error, and what it is of."""

    error: float
    """Median of |simulated / measured - 1|."""
    worst: float
    basis: str


@dataclass(frozen=True, slots=True)
class _Iteration:
    """A measured iteration beside its simulation."""

    machine: str
    system: str
    stage: str
    """The longest, as simulated."""
    bound: str
    """The family of the resource that binds it as simulated; empty where that is latency."""
    gpus: int
    error: float


@cache
def _iterations() -> tuple[_Iteration, ...]:
    """All that are published, machine by machine."""
    found = []
    for page in sorted((data_path("experiments") / PAGES).glob("*/")):
        longest = _longest_stages(page)
        for row in _rows(page / "iterations.csv"):
            stage, bound = longest.get(_name(row), ""), _bound_of(row)
            facts = (row["system"], stage, bound, int(row["gpus"]))
            found.append(_Iteration(page.name, *facts, abs(float(row["error"]))))
    return tuple(found)


def _bound_of(row: Row) -> str:
    """The family of the resource that binds an iteration; empty where none does."""
    bottleneck = row.get("bottleneck") or LATENCY
    return "" if bottleneck == LATENCY else family_of(bottleneck)


def _rows(file: Path) -> list[dict[str, str]]:
    if not file.is_file():
        return []
    with file.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def _name(row: Mapping[str, str]) -> tuple[str, str, str]:
    return row["experiment"], row["sweep"], row["system"]


def _longest_stages(page: Path) -> dict[tuple[str, str, str], str]:
    """Of each iteration of a page the stage that takes longest, as simulated."""
    rows = sorted(_rows(page / "stages.csv"), key=lambda row: float(row["simulated_us"]))
    return {_name(row): row["stage"] for row in rows}


def longest_stage(stages: Sequence[Row]) -> str:
    """The name of the stage (rows of one point) that is busy longest; empty without any."""
    rows = [row for row in stages if row["busy_us"] is not None]
    return str(max(rows, key=lambda row: row["busy_us"])["stage"]) if rows else ""


def published(row: Row, stage: str = "", machine: str | None = None) -> Published | None:
    """What was published of the kind of a point (a row of metrics) whose longest stage is `stage`;
    None where its platform is not calibrated. `machine`: the one whose page is of its very platform
    and operators."""
    if row["calibrated"] != "yes":
        return None
    system, alike = row.get("system"), _of_machines(machine, row.get("gpus") or 1)
    bound = _bound_of(row)
    by_bound, by_stage = f"bound by {title_of(bound)}", f"whose longest stage is {stage}"
    kinds: tuple[tuple[str, Callable[[_Iteration], bool]], ...] = (
        (
            f"of {system} {by_bound}",
            lambda i: bool(bound) and (i.system, i.bound) == (system, bound),
        ),
        (
            f"of {system} {by_stage}",
            lambda i: bool(stage) and (i.system, i.stage) == (system, stage),
        ),
        (by_bound, lambda i: bool(bound) and i.bound == bound),
        (by_stage, lambda i: bool(stage) and i.stage == stage),
        (f"of {system}", lambda i: i.system == system),
        ("", lambda i: True),
    )
    for what, fits in kinds:
        members = [iteration for iteration in alike if fits(iteration)]
        if len(members) >= LEAST or (members and not what):
            return _summary(members, what)
    return None


def _of_machines(machine: str | None, gpus: int) -> Sequence[_Iteration]:
    """Iterations of `machine`, else those on as many GPUs, else on several where it has several."""
    every = _iterations()
    own = [iteration for iteration in every if iteration.machine == machine]
    same = [iteration for iteration in every if iteration.gpus == gpus]
    return own or same or [i for i in every if (i.gpus > 1) == (gpus > 1)]


def _summary(members: Sequence[_Iteration], what: str) -> Published:
    errors = [iteration.error for iteration in members]
    machines = few(dict.fromkeys(iteration.machine for iteration in members))
    text = " ".join(filter(None, (f"{len(members)} iterations", what, f"on {machines}")))
    return Published(median(errors), max(errors), text)
