"""Compares two runs point by point: deterministic columns only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from simulator.results.dictionary import METRICS, STAGES, Column
from simulator.results.reading import StoredRun

__all__ = ["Comparison", "Difference", "compare"]

Row = Mapping[str, Any]
_NAMES = ("label", "locality", "sweep", "policy", "platform", "model", "operators")
"""What people call a point: compared where keys differ because the configuration does."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A value that differs by more than the tolerance."""

    point: str
    stage: str
    """Empty for a metric of the whole point."""
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

    @property
    def within(self) -> bool:
        """Whether the runs have the same points with values inside the tolerance."""
        return not (self.differences or self.only_first or self.only_second)

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self) | {"within": self.within}


def compare(first: StoredRun, second: StoredRun, tolerance: float = 0.0) -> Comparison:
    """Points are matched by label and key, then by their names."""
    pairs, only_first, only_second = _matched(first.metrics, second.metrics)
    differences = [
        d for one, other in pairs for d in _of_point(first, second, one, other, tolerance)
    ]
    return Comparison(
        compared=len(pairs),
        tolerance=tolerance,
        differences=tuple(differences),
        only_first=tuple(_title(first.metrics[n]) for n in only_first),
        only_second=tuple(_title(second.metrics[n]) for n in only_second),
    )


def _matched(
    first: Sequence[Row], second: Sequence[Row]
) -> tuple[list[tuple[int, int]], list[int], list[int]]:
    """Pairs of row numbers, and those without a partner on each side."""
    ones, others = list(range(len(first))), list(range(len(second)))
    pairs = []
    for columns in (("label", "point"), _NAMES):
        partners = {tuple(second[n][c] for c in columns): n for n in reversed(others)}
        for n in list(ones):
            partner = partners.pop(tuple(first[n][c] for c in columns), None)
            if partner is not None:
                pairs.append((n, partner))
                ones.remove(n)
                others.remove(partner)
    return sorted(pairs), ones, others


def _of_point(
    first: StoredRun, second: StoredRun, one: int, other: int, tolerance: float
) -> Iterator[Difference]:
    a, b = first.metrics[one], second.metrics[other]
    yield from _of_rows(METRICS, a, b, _title(a), "", tolerance)
    stages = [{s["stage"]: s for s in _stages(run, row)} for run, row in ((first, a), (second, b))]
    for stage in dict.fromkeys([*stages[0], *stages[1]]):
        pair = [side.get(stage) for side in stages]
        if pair[0] is None or pair[1] is None:
            x, y = (None if side is None else stage for side in pair)
            yield Difference(_title(a), stage, "stage", x, y, None)
        else:
            yield from _of_rows(STAGES, pair[0], pair[1], _title(a), stage, tolerance)


def _stages(run: StoredRun, point: Row) -> list[Row]:
    return [s for s in run.stages if (s["point"], s["label"]) == (point["point"], point["label"])]


def _of_rows(
    columns: Sequence[Column], a: Row, b: Row, title: str, stage: str, tolerance: float
) -> Iterator[Difference]:
    for column in columns:
        if not column.deterministic or column.name == "point":
            continue
        x, y = a[column.name], b[column.name]
        if x == y:
            continue
        relative = None
        if column.dtype in ("int", "float") and x is not None and y is not None:
            relative = abs(x - y) / max(abs(x), abs(y))
        if relative is None or relative > tolerance:
            yield Difference(title, stage, column.name, x, y, relative)


def _title(row: Row) -> str:
    parts = (row["label"] or row["system"], row["locality"], row["sweep"])
    return ", ".join(part for part in parts if part)
