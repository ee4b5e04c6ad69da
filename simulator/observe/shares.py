"""What the process of one of several GPUs trains: lookups of its tables, inputs of its samples.

A process has the tables that the system gives it, numbered among themselves, for all samples, and
a share of the samples for the dense step. Where the CPU's work is one for all GPUs, every process
has all tables: that of the first GPU does the work, the others wait for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from simulator.caches.facts import BatchFacts, Flow
from simulator.config.model import ModelConfig
from simulator.systems.mlp import dense_bytes
from simulator.systems.operators import pooled_bytes

__all__ = ["Batch", "Share", "count_distinct"]

Int64s = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Batch:
    """One mini-batch: ids int64 (lookups,), offsets int64 (bags + 1,), bag_of int32 (lookups,)."""

    index: int
    ids: Int64s
    offsets: Int64s
    bag_of: npt.NDArray[np.int32]
    dense: Floats
    labels: Floats
    unique_rows: int


def count_distinct(ids: Int64s) -> int:
    """How many different numbers `ids` has. Sorted, since `np.unique` hashes, which takes tens of
    times as long for a mini-batch of ids out of millions of rows."""
    ordered = np.sort(ids)
    return min(1, len(ids)) + int(np.count_nonzero(ordered[1:] != ordered[:-1]))


@dataclass(frozen=True)
class Share:
    """What rank `rank` has of a model; `placed`: the tables of each rank."""

    whole: ModelConfig
    placed: tuple[tuple[int, ...], ...]
    rank: int = 0

    @classmethod
    def of_one(cls, model: ModelConfig) -> Share:
        """Everything on one GPU."""
        return cls(model, (tuple(range(model.tables)),))

    @property
    def ranks(self) -> int:
        return len(self.placed)

    @property
    def together(self) -> bool:
        """Whether all ranks have the same tables: the CPU's work is one for all of them."""
        return self.ranks > 1 and len(set(self.placed)) == 1

    @property
    def tables(self) -> tuple[int, ...]:
        """Tables of the rank, by number in the whole model."""
        return self.placed[self.rank]

    @property
    def model(self) -> ModelConfig:
        """The model with its tables alone."""
        return self.whole.of_tables(self.tables)

    @property
    def dense_model(self) -> ModelConfig:
        """The whole model on its samples."""
        if self.ranks == 1:
            return self.whole
        return self.whole.model_copy(update={"batch_size": self.samples})

    @property
    def samples(self) -> int:
        """Samples of the dense step, equally many on all ranks."""
        return self.whole.batch_size // self.ranks

    @property
    def own_samples(self) -> slice:
        return slice(self.rank * self.samples, (self.rank + 1) * self.samples)

    @property
    def features(self) -> tuple[tuple[int, ...], ...]:
        """Features that look up the tables of each rank, by number in the whole model."""
        each = self.whole.features_per_table
        first = _begins(each).tolist()
        return tuple(
            tuple(first[t] + k for t in tables for k in range(each[t])) for tables in self.placed
        )

    @property
    def arriving(self) -> tuple[tuple[int, ...], ...]:
        """Features whose vectors the dense step gets, block by block: those of each rank, or
        all."""
        return self.features[:1] if self.together else self.features

    @property
    def pooled_bytes(self) -> int:
        """Bytes of its tables' pooled vectors, or of what it gets of those of all."""
        return pooled_bytes(self.dense_model if self.together else self.model)

    @property
    def dense_bytes(self) -> int:
        """Bytes of the dense features and labels of its samples."""
        return dense_bytes(self.dense_model)

    @property
    def first_rows(self) -> tuple[int, ...]:
        """Number of the first row of each of its tables in the whole model."""
        return tuple(int(base) for base in _begins(self.whole.rows_per_table)[list(self.tables)])

    def batch(self, batch: Batch) -> Batch:
        """Its part of a mini-batch."""
        dense, labels = batch.dense[self.own_samples], batch.labels[self.own_samples]
        if self.together:
            return replace(batch, dense=dense, labels=labels)
        whole, features = self.whole, self.features[self.rank]
        own = np.full(whole.features, -1)
        own[list(features)] = np.arange(len(features))
        feature = batch.bag_of % whole.features
        mine = own[feature] >= 0
        sample, feature = batch.bag_of[mine] // whole.features, feature[mine]
        bag = (sample * len(features) + own[feature]).astype(np.int32)
        order = np.argsort(bag, kind="stable")
        shifts = np.repeat(self._shifts(whole.rows_per_table), whole.features_per_table)
        ids = (batch.ids[mine] + shifts[feature])[order]
        bags = np.arange(whole.batch_size * len(features) + 1)
        return Batch(
            batch.index,
            ids,
            np.searchsorted(bag[order], bags).astype(np.int64),
            bag[order],
            dense,
            labels,
            count_distinct(ids),
        )

    def facts(self, facts: BatchFacts, slots: Sequence[int]) -> BatchFacts:
        """What happens to its tables; `slots`: of the pool of each table of the whole model."""
        if self.together:
            return facts
        tables = list(self.tables)
        rows = self._shifts(self.whole.rows_per_table)[tables]
        places = self._shifts(slots)[tables] if slots else np.zeros_like(rows)
        own = facts.of_tables(tables)
        flows = {
            name: tuple(_shifted(flow, *by) for flow, *by in zip(each, rows, places, strict=True))
            for name, each in own.flows.items()
        }
        return replace(own, flows=flows)

    def resident(self, rows: Int64s, slots: Int64s, pools: Sequence[int]) -> tuple[Int64s, Int64s]:
        """Its rows in the cache and their slots, of those of all; `pools`: slots of each table."""
        if self.together or not len(rows):
            return rows, slots
        table = np.searchsorted(_begins(self.whole.rows_per_table), rows, side="right") - 1
        mine = np.isin(table, self.tables)
        table = table[mine]
        return (
            rows[mine] + self._shifts(self.whole.rows_per_table)[table],
            slots[mine] + self._shifts(pools)[table],
        )

    def _shifts(self, sizes: Sequence[int]) -> Int64s:
        """What turns a number among all tables into one among its own, by table."""
        shifts = -_begins(sizes)
        shifts[list(self.tables)] += _begins([sizes[table] for table in self.tables])
        return shifts


def _begins(sizes: Sequence[int]) -> Int64s:
    return np.cumsum([0, *sizes[:-1]], dtype=np.int64)


def _shifted(flow: Flow, rows: int, slots: int) -> Flow:
    ids, where = flow.ids, flow.slots
    return replace(
        flow,
        ids=None if ids is None else ids + rows,
        slots=None if where is None else np.where(where < 0, where, where + slots),
    )
