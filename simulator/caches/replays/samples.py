"""Mini-batches divided by samples over trainers: what each looks up, which rows it has alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from simulator._compiled import compiled
from simulator.caches.facts import LOOKUP, UNIQUE, Flow
from simulator.caches.plan.distinct import Deduper

__all__ = ["Divided", "SampleParts", "Shared", "of_trainer"]

Int64s = npt.NDArray[np.int64]
Int32s = npt.NDArray[np.int32]
Int16s = npt.NDArray[np.int16]
Bools = npt.NDArray[np.bool_]
Rows = npt.NDArray[Any]
"""Numbers of rows: int32 where all fit, else int64."""

_NOTHING = np.empty(0, np.int64)
_NO_PLACES, _NOBODY = np.empty(0, np.int32), np.empty(0, np.int16)


def of_trainer(trainer: int, name: str) -> str:
    """The name of a flow that one trainer has; as any other, it ends with what it is."""
    return f"trainer{trainer}_{name}"


@dataclass(frozen=True, slots=True)
class _Part:
    """Lookups of one table by one trainer."""

    lookups: int
    rows: int
    unique: Int32s | None = None
    """Places of the distinct rows of the trainer, in order of its first lookup, where rows are
    kept."""


class Shared(NamedTuple):
    """What of a table is looked up; arrays over its distinct rows, in order of first occurrence."""

    distinct: int
    """How many those are."""
    rows: Rows
    """From 0 on; int32 where all fit."""
    times: Int32s
    """Lookups of each."""
    who: Int16s
    """The trainer that looks a row up, where that happens once; else -1."""
    parts: tuple[_Part, ...]
    """Of each trainer."""
    places: Int32s
    """Of every lookup, where its row is among them, where rows are kept."""

    def bare(self) -> Shared:
        """The same without arrays."""
        return Shared(self.distinct, _NOTHING, _NO_PLACES, _NOBODY, self.parts, _NO_PLACES)


@dataclass(frozen=True, slots=True)
class Divided:
    """A mini-batch divided over trainers, table by table; where rows are kept, those that are
    distinct, int64 in one numbering of all rows."""

    edges: tuple[int, ...]
    """Where the rows of each table begin, and the end."""
    parts: tuple[tuple[_Part, ...], ...]
    """Of each table, of each trainer."""
    rows: Int64s = field(default_factory=lambda: _NOTHING)
    places: tuple[Int32s, ...] | None = None
    """Of every lookup of each table, where its row is among those of the table, where rows are
    kept."""
    offsets: Sequence[Int64s] = field(default=())

    @classmethod
    def of_tables(
        cls, tables: Sequence[Shared], starts: Sequence[int], offsets: Sequence[Int64s] | None
    ) -> Divided:
        """All `tables`; `starts`: the first row of each; `offsets`: of samples, where rows are
        kept."""
        edges = (0, *accumulate(table.distinct for table in tables))
        parts = tuple(table.parts for table in tables)
        if offsets is None:
            return cls(edges, parts)
        pairs = zip(tables, starts, strict=True)
        rows = np.concatenate([table.rows.astype(np.int64) + start for table, start in pairs])
        return cls(edges, parts, rows, tuple(table.places for table in tables), offsets)

    def kept(
        self, counts: Sequence[Flow], chosen: Bools | slice, slots: Int64s
    ) -> tuple[Flow, ...]:
        """`counts` of the chosen rows, a flow a table, with those; `slots`: of all distinct
        rows."""
        rows, own = self.rows[chosen], slots[chosen]
        ends = pairwise(np.cumsum([0, *(flow.rows for flow in counts)]).tolist())
        pairs = zip(counts, ends, strict=True)
        return tuple(Flow(flow.lookups, flow.rows, rows[a:b], own[a:b]) for flow, (a, b) in pairs)

    def lookups(self, slots: Int64s) -> tuple[Flow, ...]:
        """Every lookup, a flow a table."""
        flows = []
        for table, (first, last) in enumerate(pairwise(self.edges)):
            count = sum(part.lookups for part in self.parts[table])
            if self.places is None:
                flows.append(Flow(count, last - first))
                continue
            mine = self.places[table]
            ids, where = self.rows[first:last][mine], slots[first:last][mine]
            flows.append(Flow(count, last - first, ids, where, self.offsets[table]))
        return tuple(flows)

    def of(self, trainer: int, slots: Int64s, every: Sequence[Flow]) -> dict[str, tuple[Flow, ...]]:
        """Lookups and distinct rows of one trainer, a flow a table; `every`: those of all trainers
        (`lookups`), of which it has the next ones after the trainer before it."""
        flows: dict[str, list[Flow]] = {LOOKUP: [], UNIQUE: []}
        for table, (first, last) in enumerate(pairwise(self.edges)):
            part, whole = self.parts[table][trainer], every[table]
            begin = sum(each.lookups for each in self.parts[table][:trainer])
            mine = slice(begin, begin + part.lookups)
            known = (
                ()
                if whole.ids is None
                else (whole.ids[mine], None if whole.slots is None else whole.slots[mine])
            )
            flows[LOOKUP].append(Flow(part.lookups, part.rows, *known))
            rows, where = self.rows[first:last], slots[first:last]
            known = () if part.unique is None else (rows[part.unique], where[part.unique])
            flows[UNIQUE].append(Flow(part.lookups, part.rows, *known))
        return {name: tuple(each) for name, each in flows.items()}


@compiled
def sharers(places: Int32s, edges: Int64s, who: Int16s, own: Int32s) -> Int64s:
    """Find who looks rows up: trainer t has the lookups `edges[t]` to `edges[t + 1]`, of the rows
    at `places`, numbered from 0.

    Writes for each row the last trainer that looks it up to `who`, and to `own` the rows of each
    trainer in order of its first lookup, one trainer after the other. Returns where those of each
    begin, and the end.
    """
    trainers = len(edges) - 1
    begins = np.zeros(trainers + 1, np.int64)
    who[:] = -1
    n = 0
    for trainer in range(trainers):
        for k in range(edges[trainer], edges[trainer + 1]):
            row = places[k]
            if who[row] != trainer:
                who[row] = trainer
                own[n] = row
                n += 1
        begins[trainer + 1] = n
    return begins


class SampleParts:
    """Divides the lookups of one table of `rows` rows over trainers of `samples` each, in order of
    samples."""

    def __init__(self, rows: int, samples: Sequence[int]) -> None:
        self._edges = np.cumsum([0, *samples])
        self._deduper = Deduper(rows)
        self._number = np.int32 if rows <= 2**31 else np.int64

    def divided(self, ids: Int64s, offsets: Int64s, *, keeps: bool) -> Shared:
        """The lookups of a mini-batch; `keeps`: with the rows of each trainer."""
        edges = offsets[self._edges]
        alone = len(edges) == 2 and not keeps
        places = np.empty(0 if alone else len(ids), np.int32)
        found = self._deduper(ids, places)
        count = len(found.ids)
        who = np.zeros(count, np.int16)
        parts: tuple[_Part, ...] = (_Part(len(ids), count),)
        if not alone:
            own = np.empty(len(ids), np.int32)
            ends = sharers(places, edges, who, own).tolist()
            looked_up = [b - a for a, b in pairwise(edges.tolist())]
            unique = [own[a:b] for a, b in pairwise(ends)]
            pairs = zip(looked_up, unique, strict=True)
            parts = tuple(_Part(n, len(rows), rows if keeps else None) for n, rows in pairs)
        who[found.times > 1] = -1
        rows, times = found.ids.astype(self._number), found.times.astype(np.int32)
        return Shared(count, rows, times, who, parts, places if keeps else _NO_PLACES)
