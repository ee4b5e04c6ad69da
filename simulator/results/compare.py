"""Compares two runs point by point: deterministic columns only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from simulator.results.dictionary import CHECKPOINT, DEVICES, LOAD, METRICS, STAGES, Column
from simulator.results.reading import StoredRun
from simulator.results.rows import Row, by_point

__all__ = ["Comparison", "Difference", "compare"]

_NAMES = ("label", "locality", "sweep", "policy", "platform", "model", "operators")
"""What people call a point: compared where keys differ because the configuration does."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A value that differs by more than the tolerance."""

    point: str
    stage: str
    """Empty unless the value is one of a stage."""
    resource: str
    """Empty unless the value is one of a resource."""
    column: str
    first: Any
    second: Any
    relative: float | None
    """|first - second| / max(|first|, |second|); None where a value is no number."""


@dataclass(frozen=True)
class Comparison:
    """How two runs differ."""

    compared: int
    """Points that both runs have."""
    tolerance: float
    differences: tuple[Difference, ...]
    only_first: tuple[str, ...]
    only_second: tuple[str, ...]
    changed: int = 0
    """Points that both runs have under the same names, with another configuration."""

    @property
    def within(self) -> bool:
        """Whether the runs have the same points with values inside the tolerance."""
        return not (self.differences or self.only_first or self.only_second)

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self) | {"within": self.within}


@dataclass(frozen=True, slots=True)
class _Point:
    """A point of one run: its metrics, and its other rows by what they are about."""

    metrics: Row
    rows: dict[str, dict[str, Row]]
    """`stage`, `resource`, `loader` and `checkpoint` -> its name -> its row."""

    @property
    def title(self) -> str:
        texts = (self.metrics["label"], self.metrics["locality"], self.metrics["sweep"])
        return ", ".join(text for text in texts if text)


def compare(first: StoredRun, second: StoredRun, tolerance: float = 0.0) -> Comparison:
    """Points are matched by label and key, then by their names."""
    ours, theirs = _points(first), _points(second)
    pairs, only_first, only_second = _matched(ours, theirs)
    differences = [
        difference for n, m in pairs for difference in _of_points(ours[n], theirs[m], tolerance)
    ]
    return Comparison(
        compared=len(pairs),
        tolerance=tolerance,
        differences=tuple(differences),
        only_first=tuple(ours[n].title for n in only_first),
        only_second=tuple(theirs[m].title for m in only_second),
        changed=sum(ours[n].metrics["point"] != theirs[m].metrics["point"] for n, m in pairs),
    )


def _points(run: StoredRun) -> list[_Point]:
    metrics = run.metrics()
    groups = {
        "stage": by_point(metrics, run.stages()),
        "resource": by_point(metrics, run.devices()),
        "loader": by_point(metrics, run.loads()),
        "checkpoint": by_point(metrics, run.checkpoints()),
    }
    return [
        _Point(
            row,
            {key: {r[key]: r for r in rows[number]} for key, rows in groups.items()},
        )
        for number, row in enumerate(metrics)
    ]


def _matched(
    first: Sequence[_Point], second: Sequence[_Point]
) -> tuple[list[tuple[int, int]], list[int], list[int]]:
    """Pairs of numbers of points, and those without a partner on each side."""
    unmatched, partnerless = list(range(len(first))), list(range(len(second)))
    pairs = []
    for columns in (("label", "point"), _NAMES):
        partners = {
            tuple(second[m].metrics[column] for column in columns): m for m in reversed(partnerless)
        }
        for n in list(unmatched):
            key = tuple(first[n].metrics[column] for column in columns)
            partner = partners.pop(key, None)
            if partner is not None:
                pairs.append((n, partner))
                unmatched.remove(n)
                partnerless.remove(partner)
    return sorted(pairs), unmatched, partnerless


_KEYED = (("stage", STAGES), ("resource", DEVICES), ("loader", LOAD), ("checkpoint", CHECKPOINT))
"""Of each table below that of the points, the column that names a row of a point."""


def _of_points(first: _Point, second: _Point, tolerance: float) -> Iterator[Difference]:
    yield from _of_rows(METRICS, (first.metrics, second.metrics), (first.title, "", ""), tolerance)
    for key, columns in _KEYED:
        ours, theirs = first.rows[key], second.rows[key]
        for name in dict.fromkeys([*ours, *theirs]):
            of_stage, of_resource = (name if key == kind else "" for kind in ("stage", "resource"))
            about = (first.title, of_stage, of_resource)
            if name in ours and name in theirs:
                yield from _of_rows(columns, (ours[name], theirs[name]), about, tolerance)
            else:
                mine, other = (name if name in side else None for side in (ours, theirs))
                yield Difference(*about, key, mine, other, None)


def _of_rows(
    columns: Sequence[Column], pair: tuple[Row, Row], about: tuple[str, str, str], tolerance: float
) -> Iterator[Difference]:
    """`about`: point, stage and resource of both rows."""
    for column in columns:
        if not column.deterministic or column.name == "point":
            continue
        x, y = (row[column.name] for row in pair)
        if x == y:
            continue
        relative = None
        if column.dtype in ("int", "float") and x is not None and y is not None:
            relative = abs(x - y) / max(abs(x), abs(y))
        if relative is None or relative > tolerance:
            yield Difference(*about, column.name, x, y, relative)
