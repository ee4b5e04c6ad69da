"""Popularity curves and stack-distance histograms of real data sets, read from CSV.

The shipped files hold aggregates of some forty columns of public data sets (`traces/README.md`
says which, and how they were computed). Other files of the same layout can be named instead.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from simulator.data import path as data_path
from simulator.errors import TraceError
from simulator.streams import open_text, refusing

__all__ = ["Distances", "Popularity", "read_distances", "read_popularity", "shipped"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Popularity:
    """Share of the lookups (`share`) on the hottest `fraction` of `ids` ids; float64 [points]."""

    name: str
    ids: int
    accesses: int
    fraction: Floats
    share: Floats

    def counts(self, ids: int, accesses: int) -> npt.NDArray[np.int64]:
        """Access counts of `ids` ids, descending, at least 1 each, adding to about `accesses`.

        The curve is linear between its points, so ids between two points have equal counts (up
        to rounding, which is carried along so that no share moves).
        """
        edges = np.interp(
            np.arange(ids + 1) / ids, np.append(0.0, self.fraction), np.append(0.0, self.share)
        )
        counts = np.diff(np.round(accesses * edges)).astype(np.int64)
        return np.sort(np.maximum(counts, 1))[::-1].copy()


@dataclass(frozen=True, eq=False)
class Distances:
    """Lookups (`hits`, cumulative, of `accesses`) that hit an LRU cache of `fraction` of all ids.

    The rest of the lookups at fraction 1, one an id, are cold.
    """

    name: str
    ids: int
    accesses: int
    fraction: Floats
    hits: Floats

    def hit_rate(self, fraction: npt.ArrayLike) -> Floats:
        """Per lookup, cold misses included; linear between the points."""
        x, y = np.append(0.0, self.fraction), np.append(0.0, self.hits)
        return np.asarray(np.interp(np.asarray(fraction, np.float64), x, y)) / self.accesses


def shipped(name: str) -> Path:
    """The file `name` of `traces/`, which comes with the simulator."""
    file = data_path("traces") / name
    if not file.is_file():
        raise TraceError(f"the shipped file {name} is missing; give a path instead")
    return file


def read_popularity(name: str, path: str = "") -> Popularity:
    """The curve `name`; `TraceError` with the names there are where it is missing."""
    file = Path(path) if path else shipped("popularity_curves.csv")
    columns = ("n_ids", "n_accesses", "rank", "cumulative_share")
    table = _numbers(file, columns, {"dataset": name})
    ids, accesses = int(table[0, 0]), int(table[0, 1])
    fraction, share = table[:, 2] / ids, table[:, 3]
    _check_rising(file, name, fraction, share)
    return Popularity(name, ids, accesses, fraction, share / share[-1])


def read_distances(name: str, order: str = "real", path: str = "") -> Distances:
    """The stack-distance histogram of data set `name` in `order` (real or shuffled)."""
    file = Path(path) if path else shipped("stack_distance_hist.csv")
    columns = ("n_ids", "n_accesses", "le_distance", "cumulative_hits")
    table = _numbers(file, columns, {"dataset": name, "order": order})
    ids, accesses = int(table[0, 0]), int(table[0, 1])
    fraction = table[:, 2] / ids
    _check_rising(file, name, fraction, table[:, 3])
    return Distances(name, ids, accesses, fraction, table[:, 3])


def _check_rising(file: Path, name: str, x: Floats, y: Floats) -> None:
    if np.any(np.diff(x) <= 0) or np.any(np.diff(y) < 0) or x[0] <= 0 or x[-1] > 1 or y[0] < 0:
        raise TraceError(f"{file}: {name!r} is no rising curve over at most all of its ids")


def _numbers(file: Path, columns: Sequence[str], chosen: dict[str, str]) -> Floats:
    """The numbers of `columns` in the lines where every key of `chosen` has its value."""
    rows, names = [], dict[str, None]()
    for line, record in _records(file, (*chosen, *columns)):
        names[record["dataset"]] = None
        if all(record[key] == value for key, value in chosen.items()):
            try:
                rows.append([float(record[column]) for column in columns])
            except (TypeError, ValueError):
                raise TraceError(f"{file}: line {line}: a number is missing or wrong") from None
    if not rows:
        wanted = ", ".join(f"{key} {value!r}" for key, value in chosen.items())
        raise TraceError(f"{file}: has no {wanted}; data sets: {', '.join(names)}")
    table = np.array(rows)
    if not np.all(np.isfinite(table)) or table[0, 0] < 1 or table[0, 1] < 1:
        raise TraceError(f"{file}: {chosen['dataset']!r}: numbers must be finite, sizes positive")
    return table


def _records(file: Path, columns: Sequence[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    with refusing(file), open_text(file) as lines:
        reader = csv.DictReader(lines)
        missing = [c for c in columns if c not in (reader.fieldnames or ())]
        if missing:
            raise TraceError(f"{file}: lacks the columns {', '.join(missing)}")
        for record in reader:
            yield reader.line_num, record
