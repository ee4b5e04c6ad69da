"""Mini-batches divided by samples over trainers: what each looks up, which rows it has alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from simulator.caches.facts import LOOKUP, UNIQUE, Flow
from simulator.caches.plan.distinct import Deduper
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
    """Lookups of one table by one trainer, in one numbering of all rows."""

    lookups: int
    rows: int
    ids: Int64s | None
    """Every lookup, where rows are kept."""
    unique: Int64s | None


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
        for first, last in pairwise(self.edges):
            mask = chosen[first:last]
            count, lookups = int(mask.sum()), int(self.times[first:last][mask].sum())
            if self.ids is None:
                flows.append(Flow(lookups, count))
            else:
                rows, where = self.rows[first:last], slots[first:last]
                flows.append(Flow(lookups, count, rows[mask], where[mask]))
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
        looked_up, unique = [], []
        for table, (first, last) in enumerate(pairwise(self.edges)):
            part = self.parts[table][trainer]
            if part.ids is None or part.unique is None:
                looked_up.append(Flow(part.lookups, part.rows))
                unique.append(Flow(part.lookups, part.rows))
                continue
            order = np.argsort(self.rows[first:last])
            known, where = self.rows[first:last][order], slots[first:last][order]
            each, own = (where[np.searchsorted(known, ids)] for ids in (part.ids, part.unique))
            looked_up.append(Flow(part.lookups, part.rows, part.ids, each))
            unique.append(Flow(part.lookups, part.rows, part.unique, own))
        return {LOOKUP: tuple(looked_up), UNIQUE: tuple(unique)}


class SampleParts:
    """Divides the mini-batches of tables of `rows` rows over trainers of `samples` each, in order
    of samples."""

    def __init__(self, rows: Sequence[int], samples: Sequence[int]) -> None:
        self._starts = bases(rows)
        self._edges = np.cumsum([0, *samples])
        self._dedupers = [Deduper(count) for count in rows]
        self._who = np.full(sum(rows) if len(samples) > 1 else 0, -1, np.int16)

    def divided(self, batch: MiniBatch, *, keeps: bool) -> Divided:
        """One mini-batch; `keeps`: with its row numbers."""
        rows, times, parts = [], [], []
        for table, (ids, start) in enumerate(zip(batch.ids, self._starts, strict=True)):
            distinct = self._dedupers[table](ids)
            edges = batch.offsets[table][self._edges]
            parts.append(self._parts(table, ids, edges, len(distinct.ids), keeps))
            rows.append(distinct.ids + start)
            times.append(distinct.times)
        all_rows, all_times = np.concatenate(rows), np.concatenate(times)
        return Divided(
            all_rows,
            all_times,
            np.where(all_times == 1, self._owners(all_rows), np.int16(-1)),
            (0, *np.cumsum([len(each) for each in rows]).tolist()),
            tuple(parts),
            tuple(i + s for i, s in zip(batch.ids, self._starts, strict=True)) if keeps else None,
            batch.offsets if keeps else (),
        )

    def _owners(self, rows: Int64s) -> Int16s:
        return self._who[rows] if len(self._who) else np.zeros(len(rows), np.int16)

    def _parts(
        self, table: int, ids: Int64s, edges: Int64s, distinct: int, keeps: bool
    ) -> tuple[_Part, ...]:
        start, parts = int(self._starts[table]), []
        for trainer, (first, last) in enumerate(pairwise(edges)):
            own = ids[first:last]
            if len(self._who) or keeps:
                unique = self._dedupers[table](own).ids + start
                distinct = len(unique)
            if len(self._who):
                self._who[unique] = trainer
            kept = (own + start, unique) if keeps else (None, None)
            parts.append(_Part(len(own), distinct, *kept))
        return tuple(parts)
