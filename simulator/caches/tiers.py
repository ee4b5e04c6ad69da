"""Tables spread over tiers of host memory: which tier each row lies in, and how many rows of each
flow every tier serves. Exact, without time.

A row has one home that never changes. Of every table the rows come in an order, and the first tier
takes as many as its share, the second those that follow: `hottest`, by the profile of the trace; or
`hash`, by a multiplicative hash of the row number (a bijection, so that every tier gets exactly its
rows). A table that lies in one tier as a whole has all its rows there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, Protocol

import numpy as np
import numpy.typing as npt

from simulator.caches.facts import BatchFacts, Flow
from simulator.traces.base import Trace

__all__ = ["Counter", "Homes", "Resident", "Tiering", "Tiers", "hashed"]

Resident = Callable[[], npt.NDArray[np.int64]]
TierNumbers = npt.NDArray[np.uint8]
_GOLDEN = (math.sqrt(5.0) - 1.0) / 2.0
_MOST = 2**62
"""What a product of a row number and the multiplier stays below."""


class Counter(Protocol):
    """Counts the rows of mini-batches, one after the other, by tier."""

    def counted(self, facts: BatchFacts) -> BatchFacts:
        """`facts` with what each tier serves."""
        ...


class Tiers(Protocol):
    """How tables lie over tiers of host memory: a frozen, hashable value."""

    by_replay: ClassVar[bool]
    """Each replay needs a counter of its own: it goes by what was moved before."""

    def counter(self, trace: Trace, above: Sequence[int], resident: Resident) -> Counter:
        """What counts the rows of `trace`; `above`: slots of each pool of the cache above,
        `resident`: gives the rows in those before the first mini-batch (-1: none)."""
        ...


@dataclass(frozen=True)
class Tiering:
    """How the rows of all tables lie over tiers.

    `rows`: of each table, how many lie in each tier; `keep`: mini-batches whose row numbers the
    facts keep; `profile`: share of a file whose lookups say which rows are the hottest.
    """

    rows: tuple[tuple[int, ...], ...]
    order: Literal["hottest", "hash"]
    profile: float
    keep: tuple[int, ...] | range = ()

    by_replay: ClassVar[bool] = False

    def counter(self, trace: Trace, above: Sequence[int], resident: Resident) -> Homes:
        """See `Tiers`: what lies above does not matter."""
        del above, resident
        return self.homes(trace)

    def homes(self, trace: Trace) -> Homes:
        """The tier of every row of `trace`."""
        tables = [self._of_table(trace, table, rows) for table, rows in enumerate(self.rows)]
        return Homes(np.concatenate(tables), len(self.rows[0]), self.keep)

    def _of_table(self, trace: Trace, table: int, rows: Sequence[int]) -> TierNumbers:
        count = sum(rows)
        if max(rows) == count:
            return np.full(count, rows.index(count), np.uint8)
        if self.order == "hash":
            edges = np.cumsum(rows)[:-1]
            return np.searchsorted(edges, hashed(count), side="right").astype(np.uint8)
        last = max(tier for tier, own in enumerate(rows) if own)
        homes = np.full(count, last, np.uint8)
        edges = np.cumsum(rows)
        hottest = trace.hottest(table, int(edges[last] - rows[last]), self.profile)
        for tier in range(last):
            homes[hottest[edges[tier] - rows[tier] : edges[tier]]] = tier
        return homes


def hashed(count: int) -> npt.NDArray[np.int64]:
    """Where each of `count` rows comes in an order that spreads neighbours; int64 (count,), every
    number below `count` once."""
    factor = max(1, min(int(_GOLDEN * count), _MOST // count))
    while math.gcd(factor, count) > 1:
        factor -= 1
    return np.arange(count, dtype=np.int64) * factor % count


@dataclass(frozen=True)
class Homes:
    """The tier of every row, all tables in one count; uint8 (rows,)."""

    tier: TierNumbers
    tiers: int
    keep: tuple[int, ...] | range

    def counted(self, facts: BatchFacts) -> BatchFacts:
        """`facts` whose flows say how many of their rows (lookups, in flows of those) each tier
        serves; row numbers are left in where they are to be kept."""
        kept = facts.index in self.keep
        flows = {
            name: tuple(self._counted(flow, kept) for flow in shards)
            for name, shards in facts.flows.items()
        }
        return replace(facts, flows=flows)

    def _counted(self, flow: Flow, kept: bool) -> Flow:
        if flow.ids is None:
            return flow
        homes = self.tier[flow.ids]
        tiers = tuple(np.bincount(homes, minlength=self.tiers).tolist())
        if kept:
            return replace(flow, tiers=tiers, homes=homes)
        return Flow(flow.lookups, flow.rows, longest=flow.longest, tiers=tiers)
