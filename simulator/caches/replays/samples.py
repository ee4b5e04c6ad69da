"""Mini-batches divided by samples over trainers: what each looks up, which rows it has alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from simulator._compiled import compiled
from simulator.caches.facts import LOOKUP, UNIQUE, Flow
from simulator.caches.plan.distinct import Deduper
from simulator.caches.plan.renumber import Numbering
from simulator.caches.replays.base import bases, slots_of_lookups
from simulator.traces.base import MiniBatch

__all__ = ["Divided", "SampleParts", "of_trainer"]

Int64s = npt.NDArray[np.int64]
Int16s = npt.NDArray[np.int16]
Bools = npt.NDArray[np.bool_]


def of_trainer(trainer: int, name: str) -> str:
    """The name of a flow that one trainer has; as any other, it ends with what it is."""
    return f"trainer{trainer}_{name}"


@dataclass(frozen=True, slots=True)
class _Part:
    """Lookups of one table by one trainer."""

    lookups: int
    rows: int
    each: Int64s | None
    """Of every lookup, the place of its row among the distinct rows of the table, where rows are
    kept."""
    unique: Int64s | None
    """Places of the distinct rows of the trainer, in order of its first lookup."""


@dataclass(frozen=True, slots=True)
class Divided:
    """A mini-batch divided over trainers; arrays over its distinct rows, table by table, in one
    numbering of all rows."""

    rows: Int64s
    times: Int64s
    """Lookups of each."""
    who: Int16s
    """The trainer that looks a row up, where that happens once; else -1."""
    edges: tuple[int, ...]
    """Where the rows of each table begin, and the end."""
    parts: tuple[tuple[_Part, ...], ...]
    """Of each table, of each trainer."""
    ids: tuple[Int64s, ...] | None
    """Every lookup of each table, where rows are kept."""
    offsets: Sequence[Int64s] = field(default=())

    @property
    def once(self) -> Bools:
        """Rows that are looked up once."""
        once: Bools = self.times == 1
        return once

    def chosen(self, chosen: Bools, slots: Int64s) -> tuple[Flow, ...]:
        """Some of the distinct rows, a flow a table; `slots`: of all of them."""
        flows = []
        tallies = tally(chosen, self.times, np.array(self.edges)).tolist()
        for (first, last), (lookups, count) in zip(pairwise(self.edges), tallies, strict=True):
            if self.ids is None:
                flows.append(Flow(lookups, count))
            else:
                mine = first + np.flatnonzero(chosen[first:last])
                flows.append(Flow(lookups, count, self.rows[mine], slots[mine]))
        return tuple(flows)

    def lookups(self, slots: Int64s) -> tuple[Flow, ...]:
        """Every lookup, a flow a table."""
        flows = []
        for table, (first, last) in enumerate(pairwise(self.edges)):
            count = int(self.times[first:last].sum())
            if self.ids is None:
                flows.append(Flow(count, last - first))
                continue
            ids = self.ids[table]
            where = slots_of_lookups(self.rows[first:last], slots[first:last], ids)
            flows.append(Flow(count, last - first, ids, where, self.offsets[table]))
        return tuple(flows)

    def of(self, trainer: int, slots: Int64s) -> dict[str, tuple[Flow, ...]]:
        """Lookups and distinct rows of one trainer, a flow a table."""
        flows: dict[str, list[Flow]] = {LOOKUP: [], UNIQUE: []}
        for table, (first, last) in enumerate(pairwise(self.edges)):
            part = self.parts[table][trainer]
            rows, where = self.rows[first:last], slots[first:last]
            for name, places in ((LOOKUP, part.each), (UNIQUE, part.unique)):
                known = () if places is None else (rows[places], where[places])
                flows[name].append(Flow(part.lookups, part.rows, *known))
        return {name: tuple(each) for name, each in flows.items()}


@compiled
def tally(chosen: Bools, times: Int64s, edges: Int64s) -> Int64s:
    """Lookups and number of the chosen rows between `edges`; shape (edges - 1, 2)."""
    counts = np.zeros((len(edges) - 1, 2), np.int64)
    for table in range(len(edges) - 1):
        for k in range(edges[table], edges[table + 1]):
            if chosen[k]:
                counts[table, 0] += times[k]
                counts[table, 1] += 1
    return counts


@compiled
def sharers(which: Int64s, edges: Int64s, who: Int16s, own: Int64s) -> Int64s:
    """Find who looks rows up: trainer t has the lookups `edges[t]` to `edges[t + 1]`, of the rows
    `which`, numbered from 0.

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
            row = which[k]
            if who[row] != trainer:
                who[row] = trainer
                own[n] = row
                n += 1
        begins[trainer + 1] = n
    return begins


class SampleParts:
    """Divides the mini-batches of tables of `rows` rows over trainers of `samples` each, in order
    of samples."""

    def __init__(self, rows: Sequence[int], samples: Sequence[int]) -> None:
        self._starts = bases(rows)
        self._edges = np.cumsum([0, *samples])
        self._dedupers = [Deduper(count) for count in rows]

    def divided(self, batch: MiniBatch, *, keeps: bool) -> Divided:
        """One mini-batch; `keeps`: with its row numbers."""
        rows, times, owners, parts = [], [], [], []
        for table, (ids, start) in enumerate(zip(batch.ids, self._starts, strict=True)):
            distinct = self._dedupers[table](ids)
            edges = batch.offsets[table][self._edges]
            who, own = self._shared(ids, len(distinct.ids), edges, keeps)
            rows.append(distinct.ids + start)
            times.append(distinct.times)
            owners.append(who)
            parts.append(own)
        all_times = np.concatenate(times)
        return Divided(
            np.concatenate(rows),
            all_times,
            np.where(all_times == 1, np.concatenate(owners), np.int16(-1)),
            (0, *np.cumsum([len(each) for each in rows]).tolist()),
            tuple(parts),
            tuple(i + s for i, s in zip(batch.ids, self._starts, strict=True)) if keeps else None,
            batch.offsets if keeps else (),
        )

    def _shared(
        self, ids: Int64s, distinct: int, edges: Int64s, keeps: bool
    ) -> tuple[Int16s, tuple[_Part, ...]]:
        """Of a table: the last trainer that looks each distinct row up, and what each trainer looks
        up."""
        if len(edges) == 2 and not keeps:
            return np.zeros(distinct, np.int16), (_Part(len(ids), distinct, None, None),)
        which = Numbering(distinct).of(ids)
        who, own = np.empty(distinct, np.int16), np.empty(len(ids), np.int64)
        begins = sharers(which, edges, who, own)
        parts = []
        for lookups, mine in zip(pairwise(edges.tolist()), pairwise(begins.tolist()), strict=True):
            kept = (which[slice(*lookups)], own[slice(*mine)]) if keeps else (None, None)
            parts.append(_Part(lookups[1] - lookups[0], mine[1] - mine[0], *kept))
        return who, tuple(parts)
