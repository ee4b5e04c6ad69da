"""Mini-batches divided by samples over trainers: what each looks up, which rows it has alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from simulator._compiled import compiled
from simulator._threads import map_threads
from simulator.caches.facts import LOOKUP, UNIQUE, Flow
from simulator.caches.plan.distinct import Deduper
from simulator.caches.replays.base import bases
from simulator.traces.base import MiniBatch

__all__ = ["Divided", "SampleParts", "of_trainer"]

Int64s = npt.NDArray[np.int64]
Int32s = npt.NDArray[np.int32]
Int16s = npt.NDArray[np.int16]
Bools = npt.NDArray[np.bool_]
Rows = npt.NDArray[Any]
"""Numbers of rows: int32 where all fit, else int64."""


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


class _Shared(NamedTuple):
    """What of a table is looked up: see `Divided`."""

    rows: Rows
    times: Int32s
    who: Int16s
    parts: tuple[_Part, ...]
    places: Int32s


@dataclass(frozen=True, slots=True)
class Divided:
    """A mini-batch divided over trainers; arrays over its distinct rows, table by table, in one
    numbering of all rows: flows with rows are asked of one that is `widened`."""

    rows: Rows
    times: Int32s
    """Lookups of each."""
    who: Int16s
    """The trainer that looks a row up, where that happens once; else -1."""
    edges: tuple[int, ...]
    """Where the rows of each table begin, and the end."""
    parts: tuple[tuple[_Part, ...], ...]
    """Of each table, of each trainer."""
    places: tuple[Int32s, ...] | None
    """Of every lookup of each table, where its row is among those of the table, where rows are
    kept."""
    offsets: Sequence[Int64s] = field(default=())

    def widened(self) -> Divided:
        """The same with rows of 64 bits, as flows have them; it waits with 32 where those do."""
        return replace(self, rows=self.rows.astype(np.int64))

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
            count = int(self.times[first:last].sum())
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
    """Divides the mini-batches of tables of `rows` rows over trainers of `samples` each, in order
    of samples."""

    def __init__(self, rows: Sequence[int], samples: Sequence[int], threads: int = 1) -> None:
        self._starts = bases(rows)
        self._edges = np.cumsum([0, *samples])
        self._dedupers = [Deduper(count) for count in rows]
        self._threads = threads
        self._number = np.int32 if sum(rows) <= 2**31 else np.int64

    def divided(self, batch: MiniBatch, *, keeps: bool) -> Divided:
        """One mini-batch, tables on threads; `keeps`: with its row numbers."""

        def divide(table: int) -> _Shared:
            return self._shared(table, batch, keeps=keeps)

        tables = map_threads(divide, len(self._dedupers), self._threads)
        return Divided(
            np.concatenate([table.rows for table in tables]),
            np.concatenate([table.times for table in tables]),
            np.concatenate([table.who for table in tables]),
            (0, *np.cumsum([len(table.rows) for table in tables]).tolist()),
            tuple(table.parts for table in tables),
            tuple(table.places for table in tables) if keeps else None,
            batch.offsets if keeps else (),
        )

    def _shared(self, table: int, batch: MiniBatch, *, keeps: bool) -> _Shared:
        """What of a table is looked up, and by whom."""
        ids, edges = batch.ids[table], batch.offsets[table][self._edges]
        alone = len(edges) == 2 and not keeps
        places = np.empty(0 if alone else len(ids), np.int32)
        found = self._dedupers[table](ids, places)
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
        rows = (found.ids + self._starts[table]).astype(self._number)
        return _Shared(rows, found.times.astype(np.int32), who, parts, places)
