"""Flows: rows of a mini-batch that move together, by name and shard (see `facts`)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from operator import add
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from simulator.caches.nodes import Spread, together
from simulator.caches.ranges import Ranges

__all__ = ["Counted", "Flow", "interleaved", "total"]

Int64s = npt.NDArray[np.int64]
Number = TypeVar("Number", np.int64, np.uint8)

_HALF = 1 << 31
"""Counts below it fit 32 bits."""

LOOKUP = "lookup"
"""Every lookup of the mini-batch; flows of lookups have names that end so."""


@dataclass(frozen=True, slots=True)
class Flow:
    """Rows that move together: how many, and, where kept, which.

    `ids`: int64 row numbers over all tables (table offset + row), one a lookup in `lookup` flows,
    else one a row. `slots`: int64 slots over all pools, in the order of `ids`. `offsets`: int64
    (samples + 1,), where the lookups of each sample begin. None where a replay does not keep them.
    `longest`: most lookups of one sample; None where it is not told. `hottest`: at most how many
    lookups are of one row, for each table; empty where nobody asked. `tiers`: of tables that
    are spread over tiers, how many of the rows (lookups, in flows of those) each serves; empty
    elsewhere. `homes`: uint8, the tier of each of `ids`. `nodes`: of tables in a near-memory pool,
    what of the mini-batch is done at which of its nodes; None elsewhere. `chunks`: of rows that lie
    packed in chunks, in how many of those; None elsewhere. `ranges`: how the lookups fall on ranges
    of rows; None where nobody asked.
    """

    lookups: int = 0
    rows: int = 0
    ids: Int64s | None = None
    slots: Int64s | None = None
    offsets: Int64s | None = None
    longest: int | None = None
    hottest: tuple[int, ...] = ()
    tiers: tuple[int, ...] = ()
    homes: npt.NDArray[np.uint8] | None = None
    nodes: Spread | None = None
    chunks: int | None = None
    ranges: Ranges | None = None

    @property
    def says_more(self) -> bool:
        """Than lookups, rows and the longest bag."""
        arrays = (self.ids, self.slots, self.offsets, self.homes)
        others = (self.nodes, self.chunks, self.ranges, *arrays)
        return bool(self.hottest or self.tiers) or any(other is not None for other in others)


def total(flows: Iterable[Flow]) -> Flow:
    """All `flows` as one; row numbers one after the other, without samples."""
    parts = list(flows)
    if len(parts) == 1:
        return parts[0]
    return Flow(
        sum(flow.lookups for flow in parts),
        sum(flow.rows for flow in parts),
        _joined([flow.ids for flow in parts]),
        _joined([flow.slots for flow in parts]),
        longest=max((f.longest for f in parts if f.longest is not None), default=None),
        hottest=tuple(most for f in parts for most in f.hottest),
        tiers=tuple(map(sum, zip(*(f.tiers for f in parts if f.tiers), strict=True))),
        homes=_joined([flow.homes for flow in parts]),
        nodes=together([flow.nodes for flow in parts]),
        chunks=_sum_of_told(flow.chunks for flow in parts),
        ranges=_of_all([flow.ranges for flow in parts]),
    )


def _of_all(parts: Sequence[Ranges | None]) -> Ranges | None:
    told = [ranges for ranges in parts if ranges is not None]
    return reduce(add, told) if told and len(told) == len(parts) else None


def _sum_of_told(counts: Iterable[int | None]) -> int | None:
    told = [count for count in counts if count is not None]
    return sum(told) if told else None


def _joined(arrays: Sequence[npt.NDArray[Number] | None]) -> npt.NDArray[Number] | None:
    kept = [array for array in arrays if array is not None]
    return np.concatenate(kept) if kept and len(kept) == len(arrays) else None


def interleaved(flows: Sequence[Flow]) -> Flow:
    """All `flows` as one, their row numbers by relative place in each."""
    whole = total(flows)
    if whole.ids is None and whole.slots is None:
        return whole
    arrays = [flow.ids if whole.ids is not None else flow.slots for flow in flows]
    places = [np.arange(len(a)) / max(1, len(a)) for a in arrays if a is not None]
    order = np.argsort(np.concatenate(places), kind="stable")
    ids, slots = (None if a is None else a[order] for a in (whole.ids, whole.slots))
    homes = None if whole.homes is None else whole.homes[order]
    return replace(whole, ids=ids, slots=slots, homes=homes, offsets=None)


@dataclass(frozen=True, slots=True, eq=False)
class Counted(Mapping[str, tuple[Flow, ...]]):
    """Flows of which nothing but counts is told, in an array: a hundredth of the memory of as many
    `Flow`, which are made when they are asked for.

    `counts`: int64, or int32 where that holds them, shape (names, shards, 2), lookups and rows.
    `bags`: longest bag by shard, of flows of lookups; none told: empty.
    """

    names: tuple[str, ...]
    counts: npt.NDArray[np.signedinteger[Any]]
    bags: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        """Counts in the half of the memory: a long run keeps those of all its mini-batches."""
        if self.counts.dtype == np.int64 and np.abs(self.counts).max(initial=0) < _HALF:
            object.__setattr__(self, "counts", self.counts.astype(np.int32))

    @classmethod
    def of(cls, flows: Mapping[str, tuple[Flow, ...]]) -> Counted | None:
        """`flows` as such, where they tell no more."""
        if isinstance(flows, cls):
            return flows
        shards = {len(each) for each in flows.values()}
        if len(shards) != 1 or any(flow.says_more for each in flows.values() for flow in each):
            return None
        lookups = next((each for name, each in flows.items() if name.endswith(LOOKUP)), ())
        bags = tuple(flow.longest for flow in lookups if flow.longest is not None)
        counts = [[(flow.lookups, flow.rows) for flow in each] for each in flows.values()]
        try:
            held = np.array(counts, np.int64).reshape(len(flows), -1, 2)
            counted = cls(tuple(flows), held, bags)
        except OverflowError:
            return None
        alike = all(counted[name] == each for name, each in flows.items())
        return counted if alike else None

    def __getitem__(self, name: str) -> tuple[Flow, ...]:
        counts = self._of(name).tolist()
        if not self.bags or not name.endswith(LOOKUP):
            return tuple(Flow(lookups, rows) for lookups, rows in counts)
        pairs = zip(counts, self.bags, strict=True)
        return tuple(Flow(lookups, rows, longest=bag) for (lookups, rows), bag in pairs)

    def _of(self, name: str) -> Int64s:
        if name not in self.names:
            raise KeyError(name)
        return np.asarray(self.counts[self.names.index(name)], np.int64)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)

    def __contains__(self, name: object) -> bool:
        return name in self.names

    def total(self, name: str) -> Flow:
        """See `total`."""
        lookups, rows = self._of(name).sum(axis=0).tolist()
        bags = self.bags if name.endswith(LOOKUP) else ()
        return Flow(lookups, rows, longest=max(bags, default=None))

    def by_shard(self, name: str) -> Flow:
        """The flow of every shard in one: arrays in place of its numbers."""
        counts: Any = self._of(name)
        return Flow(counts[:, 0], counts[:, 1])

    def of_shards(self, shards: Sequence[int]) -> Counted:
        """The flows of some of the shards, without a look at the others."""
        bags = tuple(self.bags[k] for k in shards) if self.bags else ()
        return Counted(self.names, self.counts[:, list(shards)], bags)

    def with_bags(self, bags: Sequence[int]) -> Counted:
        """The same with the longest bag of each shard."""
        return replace(self, bags=tuple(bags))
