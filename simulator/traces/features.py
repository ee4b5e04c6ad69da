"""Features: several columns of a file may look up one table.

Each feature has bags, and a pooled vector, of its own; the rows that they look up are those of one
table. In a mini-batch the lookups of a table come sample by sample, and those of a sample feature
by feature, in the order in which the columns of the table stand.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from simulator.errors import TraceError
from simulator.text import few
from simulator.traces.base import Ids
from simulator.traces.pieces import Column, check_ids, integers, joined

__all__ = ["Feeds", "by_feature", "even_bags", "require_tables", "sample_edges"]


@dataclass(frozen=True, slots=True)
class Feeds:
    """Which columns of a file feed which table."""

    names: tuple[str, ...]
    """Of the tables, in the order of their first columns."""
    columns: tuple[tuple[int, ...], ...]
    """Numbers of the columns of each table."""

    @classmethod
    def of(cls, path: Path, columns: Sequence[str], tables: Mapping[str, str]) -> Feeds:
        """`tables`: the table of a column; any other column is a table of its own name.

        Raises `TraceError` where it names a column that is not among `columns`.
        """
        unknown = [name for name in tables if name not in columns]
        if unknown:
            raise TraceError(
                f"{path}: no column {few(unknown)} to feed a table; columns that are read: "
                f"{few(columns)}"
            )
        fed: dict[str, list[int]] = {}
        for number, column in enumerate(columns):
            fed.setdefault(tables.get(column, column), []).append(number)
        return cls(tuple(fed), tuple(map(tuple, fed.values())))

    @property
    def shared(self) -> bool:
        """Whether some table has several columns."""
        return any(len(columns) > 1 for columns in self.columns)

    @property
    def table_of(self) -> tuple[int, ...]:
        """The table of each column."""
        pairs = [(c, table) for table, columns in enumerate(self.columns) for c in columns]
        return tuple(table for _, table in sorted(pairs))

    def merged(
        self,
        path: Path,
        columns: Sequence[Column],
        lookups: Sequence[Sequence[int]] | None = None,
        rows: Sequence[int] | None = None,
        *,
        unsigned: bool = False,
    ) -> list[Column]:
        """The tables, one column each; those of several columns are put together in memory.

        `lookups`: of a sample, for each feature of each table, where columns have no bags; left
        out, the shortest of a table has one. `rows`: of each table, which ids must be below;
        `unsigned`: ids above `MAX_ID` are taken, as uint64. Raises `TraceError` for other ids,
        naming column and record.
        """
        tables = []
        for table, (name, numbers) in enumerate(zip(self.names, self.columns, strict=True)):
            own = [columns[number] for number in numbers]
            if len(own) == 1:
                tables.append(Column(name, own[0].ids, own[0].offsets))
                continue
            for column in own:
                where = f"{path}: column {column.name!r} of table {name!r}"
                check_ids(column.ids, rows[table] if rows else None, where, unsigned=unsigned)
            each = _even_lookups(path, name, own) if lookups is None else lookups[table]
            tables.append(_merged(path, name, own, each))
        return tables


def _even_lookups(path: Path, name: str, columns: Sequence[Column]) -> tuple[int, ...]:
    """Lookups of a sample of each column, as far as lengths tell; 1 for those with bags."""
    bags = {len(c.offsets) - 1 for c in columns if c.offsets is not None}
    samples = min(bags, default=min(len(c.ids) for c in columns))
    uneven = [c.name for c in columns if c.offsets is None and len(c.ids) % max(1, samples)]
    if len(bags) > 1 or uneven or (not samples and any(len(c.ids) for c in columns)):
        counts = few([f"{c.name} {len(c.ids):,}" for c in columns])
        raise TraceError(
            f"{path}: columns of table {name!r} hold no equal number of samples (ids: {counts}): "
            "give each the bags of its samples, or look at one with --column"
        )
    return tuple(
        1 if c.offsets is not None else max(1, len(c.ids) // max(1, samples)) for c in columns
    )


def _merged(path: Path, name: str, columns: Sequence[Column], lookups: Sequence[int]) -> Column:
    """One column with the lookups of all, as many samples as the shortest has."""
    pairs = list(zip(columns, lookups, strict=True))
    samples = min(len(c.ids) // n if c.offsets is None else len(c.offsets) - 1 for c, n in pairs)
    begins = [
        np.arange(samples + 1, dtype=np.int64) * n if c.offsets is None else c.offsets
        for c, n in pairs
    ]
    sizes = np.stack([np.diff(each[: samples + 1]) for each in begins], axis=1)
    bags = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes.reshape(-1))])
    values = joined(
        [
            integers(column.ids, f"{path}: column {column.name!r}")[: own[samples]]
            for column, own in zip(columns, begins, strict=True)
        ]
    )
    ids, first = np.empty_like(values), 0
    starts = bags[:-1].reshape(samples, len(columns))
    for feature, own in enumerate(begins):
        shift = np.repeat(starts[:, feature] - own[:samples], sizes[:, feature])
        ids[np.arange(len(shift)) + shift] = values[first : first + len(shift)]
        first += len(shift)
    if all(column.offsets is None for column in columns):
        return Column(name, ids)
    return Column(name, ids, sample_edges(bags, lookups), bags)


def require_tables(
    path: Path, feeds: Feeds, columns: Sequence[str], features: Sequence[Sequence[int]]
) -> None:
    """Raise `TraceError` where the columns of a file do not feed the tables of a model.

    `features`: lookups of each feature of each of its tables.
    """
    if len(feeds.names) != len(features):
        more = sum(map(len, features)) == len(columns)
        raise TraceError(
            f"{path}: {len(feeds.names)} tables in the file ({few(feeds.names)}), {len(features)} "
            "in the model: choose as many with trace.columns, "
            + ("say with trace.tables which columns feed one, " if more else "")
            + "or change model.tables"
        )
    for table, (name, own) in enumerate(zip(feeds.names, feeds.columns, strict=True)):
        if len(own) == len(features[table]):
            continue
        raise TraceError(
            f"{path}: table {name!r} is fed by {len(own)} column(s) "
            f"({few([columns[c] for c in own])}), but model.lookups_per_table has "
            f"{few([str(lookups) for lookups in features[table]])} for it: give a number for each "
            "column, as in [[1, 10], 4], or other columns to the table with trace.tables"
        )


def even_bags(lookups: Sequence[int], samples: int) -> Ids:
    """Edges of the bags of features that make `lookups` lookups in every sample: int64, shape
    (samples * features + 1,)."""
    edges = np.concatenate([np.zeros(1, np.int64), np.cumsum(np.array(lookups, np.int64))])
    firsts = np.arange(samples, dtype=np.int64)[:, None] * edges[-1] + edges[None, :-1]
    return np.append(firsts.reshape(-1), samples * edges[-1])


def sample_edges(bags: Ids, features: Sequence[int]) -> Ids:
    """Where the lookups of each sample begin, int64, shape (samples + 1,), from the edges of the
    bags of its features."""
    return np.ascontiguousarray(bags[:: len(features)])


def by_feature(
    ids: npt.NDArray[Any], bags: Ids, features: int
) -> tuple[tuple[npt.NDArray[Any], Ids], ...]:
    """(ids, bag lengths) of each of the `features` features of a table; `bags`: edges of the bags
    in `ids`, feature by feature within a sample."""
    if features == 1:
        return ((ids, np.diff(bags)),)
    sizes = np.diff(bags)
    owner = np.repeat(np.arange(len(sizes)) % features, sizes)
    return tuple((ids[owner == f], sizes[f::features]) for f in range(features))
