"""What is known of the draws of generated tables, and of parts of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from simulator.traces.base import Ids, Trace
from simulator.traces.cuts import PartedTrace, TablePart
from simulator.traces.frequency import Counts
from simulator.traces.synthetic import SyntheticTrace

__all__ = ["Ages", "Draws", "Lookups", "draws_of"]


class Ages(Protocol):
    """When the rows of a table were last looked up, in mini-batches (see `Recency`)."""

    @property
    def touched(self) -> int:
        """Rows that are looked up at all."""

    def expected(self, age: float) -> float:
        """Mean number of rows whose last lookup lies at most `age` mini-batches back."""

    def within(self, age: float) -> tuple[Ids, npt.NDArray[np.float64]]:
        """The rows that were last looked up at most `age` mini-batches ago, and their ages."""


class Lookups(Protocol):
    """How often the rows of a table were looked up (see `Frequency`)."""

    def over(self, batches: int) -> Iterator[tuple[Ids, Counts]]:
        """Rows that were looked up in so many mini-batches, and how often, piece by piece."""


@dataclass(frozen=True)
class Draws:
    """Of the tables of a trace."""

    ages: Callable[[int], Ages]
    """Of a table, as if its draws were independent in time."""
    counts: Callable[[int], Lookups]
    """The same."""
    independent: bool
    """Whether they are."""
    correlated: bool
    """Whether tables are looked up together."""


def draws_of(trace: Trace) -> Draws | None:
    """What is known of the draws of `trace`; None of one that is read, and of copies of tables,
    which serve a share of the samples each."""
    if isinstance(trace, SyntheticTrace):
        independent = not trace.has_time_order
        return Draws(trace.popularity_ages, trace.popularity_counts, independent, trace.correlated)
    if not isinstance(trace, PartedTrace) or any(p.cut == "replica" for p in trace.parts):
        return None
    whole, parts = draws_of(trace.whole), trace.parts
    if whole is None:
        return None

    def ages(number: int) -> Ages:
        part = parts[number]
        own = whole.ages(part.table)
        return _OfRows(own, part) if part.cut == "row" else own

    def counts(number: int) -> Lookups:
        part = parts[number]
        own = whole.counts(part.table)
        return _LookupsOfRows(own, part) if part.cut == "row" else own

    return Draws(ages, counts, whole.independent, whole.correlated)


@dataclass(frozen=True)
class _OfRows:
    """Ages of the rows of a part of a table: every `parts`-th, of all popularities alike."""

    whole: Ages
    part: TablePart

    @property
    def touched(self) -> int:
        return self.part.rows(self.whole.touched)

    def expected(self, age: float) -> float:
        return self.whole.expected(age) / self.part.parts

    def within(self, age: float) -> tuple[Ids, npt.NDArray[np.float64]]:
        rows, ages = self.whole.within(age)
        own, numbers = self.part.of(rows)
        return numbers, ages[own]


@dataclass(frozen=True)
class _LookupsOfRows:
    """Lookups of the rows of a part of a table."""

    whole: Lookups
    part: TablePart

    def over(self, batches: int) -> Iterator[tuple[Ids, Counts]]:
        for rows, counts in self.whole.over(batches):
            own, numbers = self.part.of(rows)
            yield numbers, counts[own]
