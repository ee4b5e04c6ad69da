"""One run against another: points paired by what they share, and by how much they differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from typing import Any

from simulator.errors import UsageError
from simulator.results.extension import extension_note
from simulator.results.published import ERROR
from simulator.results.rows import Row
from simulator.results.software import software_note

__all__ = ["MATCHED", "METRICS", "Against", "Pair", "against", "shared_columns"]

MATCHED = ("label", "system", "locality", "sweep", "policy", "platform", "model", "operators")
"""Columns by which points can be paired; `label` is the system's name where it has no other."""
_SIZES = ("tables", "dim", "batch_size", "gpus", "cache_fraction")
"""Columns that are told, too, where they differ within pairs: models of one name differ in them."""
METRICS = (
    "iteration_time_us",
    "throughput_samples_per_s",
    "lookup_hit_rate",
    "misses_per_batch",
    "energy_mj",
)
"""What is told of each pair, as far as both have it."""
_TIME = "iteration_time_us"


@dataclass(frozen=True, slots=True)
class Pair:
    """A metric of two points."""

    point: str
    """What they share."""
    metric: str
    first: float
    second: float
    error: float | None
    """Published median error of iterations of the two machines together; None where one is not
    calibrated, and of other metrics."""

    @property
    def change(self) -> float | None:
        """Signed, relative to the first; None from nothing."""
        return None if self.first == 0 else self.second / self.first - 1

    @property
    def texts(self) -> tuple[str, str]:
        """Both values for people."""
        return _text(self.first), _text(self.second)

    @property
    def beyond_error(self) -> bool | None:
        """Whether the change is larger than the error; None where that is not known."""
        if self.error is None or self.change is None:
            return None
        return abs(self.change) > self.error


@dataclass(frozen=True)
class Against:
    """Two runs side by side."""

    matched_by: tuple[str, ...]
    differ_in: tuple[str, ...]
    """Columns that differ within pairs, of those that say what was simulated."""
    pairs: tuple[Pair, ...]
    bottlenecks: tuple[tuple[str, str, str], ...]
    """Point, and the bottleneck in each run."""
    unpaired: tuple[int, int]
    """Points of each run without a partner."""
    warnings: tuple[str, ...] = ()
    """What else differs where the machines do, and whose training is ours."""

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        pairs = [
            asdict(pair) | {"change": pair.change, "beyond_error": pair.beyond_error}
            for pair in self.pairs
        ]
        return asdict(self) | {"pairs": pairs}


def shared_columns(first: Sequence[Row], second: Sequence[Row]) -> tuple[str, ...]:
    """The columns in which both runs have the same values."""
    return tuple(
        column
        for column in MATCHED
        if {row[column] for row in first} == {row[column] for row in second}
    )


def against(first: Sequence[Row], second: Sequence[Row], columns: Sequence[str]) -> Against:
    """The points (rows of metrics) of two runs, paired by `columns`.

    Raises `UsageError` for a column that names no point, where a run has several points of one
    name, and where nothing is shared.
    """
    for column in columns:
        if column not in MATCHED:
            raise UsageError(f"--match {column}: points are matched by {', '.join(MATCHED)}")
    for rows, which in ((first, "first"), (second, "second")):
        _require_distinct(rows, columns, which)
    partners = {_key(row, columns): row for row in second}
    both = [(row, partners[key]) for row in first if (key := _key(row, columns)) in partners]
    if not both:
        raise UsageError(
            f"no point of one run has a partner in the other by {', '.join(columns)}: they share "
            f"{', '.join(shared_columns(first, second)) or 'none of ' + ', '.join(MATCHED)}"
        )
    differ = tuple(
        column
        for column in (*MATCHED, *_SIZES)
        if any(one.get(column) != other.get(column) for one, other in both)
    )
    return Against(
        tuple(columns),
        differ,
        tuple(pair for rows in both for pair in _pairs(*rows, columns)),
        tuple(
            (_name(one, columns), str(one["bottleneck"]), str(other["bottleneck"]))
            for one, other in both
        ),
        (len(first) - len(both), len(second) - len(both)),
        tuple(note for told in (software_note, extension_note) if (note := told(chain(*both)))),
    )


def _text(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1e4 else f"{value:,.5g}"


def _key(row: Row, columns: Sequence[str]) -> tuple[Any, ...]:
    return tuple(row[column] for column in columns)


def _require_distinct(rows: Sequence[Row], columns: Sequence[str], which: str) -> None:
    key, count = Counter(_key(row, columns) for row in rows).most_common(1)[0]
    if count > 1:
        varied = [c for c in MATCHED if c not in columns and len({row[c] for row in rows}) > 1]
        hint = f"add {' or '.join(varied)} to --match" if varied else "their names are the same"
        name = ", ".join(str(value) for value in key if value)
        raise UsageError(f"{count} points of the {which} run are {name!r} alike: {hint}")


def _name(row: Row, columns: Sequence[str]) -> str:
    return ", ".join(dict.fromkeys(str(row[column]) for column in columns if row[column]))


def _pairs(first: Row, second: Row, columns: Sequence[str]) -> list[Pair]:
    errors = [row[ERROR.name] for row in (first, second)]
    known = [error for error in errors if error is not None]
    error = sum(known) if len(known) == len(errors) else None
    return [
        Pair(_name(first, columns), metric, x, y, error if metric == _TIME else None)
        for metric in METRICS
        if (x := first[metric]) is not None and (y := second[metric]) is not None
    ]
