"""What runs of one replay have in common: records of operations that a run before had too, and the
words that it began with.

Points of a sweep differ in few operations: whoever changes the latency of the CPU's memory has the
operations of the GPU as they were (`hardware.known_prices` gives back the same objects). Those that
are the same object have the same records; where all of a run lies as that before did, only words of
other records are written.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from simulator.columns import Column
from simulator.engine.memory import Int64s
from simulator.engine.together import Groups
from simulator.hardware.demand import Demand, Resource

__all__ = ["Image", "KnownWords", "OperationRecords", "changed"]

Record = tuple[Any, ...]


class OperationRecords(NamedTuple):
    """What an operation has in tables, wherever it stands in a stage."""

    begin: Record
    """The first words of its own record, but for its place."""
    pool: int
    alone_ps: Any
    services: Sequence[Record]
    fetched: Sequence[Record]
    loaded: Sequence[Record]


@dataclass(frozen=True)
class Image:
    """The words of a run before it began, and what they were made of."""

    words: Int64s
    groups: Groups
    layout: tuple[Any, ...]
    """Numbers and arrays that say where everything lies."""
    rows: Sequence[Mapping[str, Sequence[Record]]]
    """Of each group, table by table."""

    def fits(self, groups: Groups, layout: tuple[Any, ...]) -> bool:
        """Whether all of a run lies where that of this one did."""
        return len(groups) == len(self.groups) and all(
            map(_equal, (*groups, *layout), (*self.groups, *self.layout))
        )


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray):
        return one is other or np.array_equal(one, other)
    return bool(one == other)


@dataclass
class KnownWords:
    """Records and words of the last run of a replay; the next one takes its memory."""

    image: Image | None = None
    _room: Int64s = field(default_factory=lambda: np.empty(0, np.int64))
    _resources: Mapping[str, Resource] = field(default_factory=dict)
    _records: dict[int, tuple[Demand, OperationRecords]] = field(default_factory=dict)
    _fresh: dict[int, tuple[Demand, OperationRecords]] = field(default_factory=dict)

    def begin(self, resources: Mapping[str, Resource]) -> None:
        """Another run begins, on a machine with `resources`."""
        alike = list(resources) == list(self._resources) and resources == self._resources
        self._records = self._fresh if alike else {}
        self._resources, self._fresh = resources, {}

    def records(
        self, demand: Demand, make: Callable[[Demand], OperationRecords]
    ) -> OperationRecords:
        """The records of an operation: those of the run before where it is the same object."""
        entry = self._records.get(id(demand)) or (demand, make(demand))
        self._fresh[id(demand)] = entry
        return entry[1]

    def copied(self, words: Int64s) -> Int64s:
        """A copy of `words`, until the next one is asked for: fresh memory has to be fetched."""
        if len(self._room) != len(words):
            self._room = np.empty_like(words)
        np.copyto(self._room, words)
        return self._room


def changed(rows: Sequence[Record], before: Sequence[Record]) -> list[slice]:
    """Those of `rows` that have other words than those `before`, as many: which follow each
    other, together."""
    runs: list[slice] = []
    for number, pair in enumerate(zip(rows, before, strict=True)):
        if _same(*pair):
            continue
        if runs and runs[-1].stop == number:
            runs[-1] = slice(runs[-1].start, number + 1)
        else:
            runs.append(slice(number, number + 1))
    return runs


def _same(one: Record, other: Record) -> bool:
    return one is other or (len(one) == len(other) and all(map(_same_word, one, other)))


def _same_word(one: Any, other: Any) -> bool:
    """Whether both are the same to the last bit, signs of zero included."""
    if one is other:
        return True
    if type(one) is not type(other):
        return False
    if isinstance(one, Column):
        ours, theirs = one.values, other.values
        known = ours.dtype == theirs.dtype and not ours.dtype.hasobject
        return known and ours.tobytes() == theirs.tobytes()
    return bool(one == other) and (bool(one) or repr(one) == repr(other))
