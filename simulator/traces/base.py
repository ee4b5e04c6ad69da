"""What every trace source gives: mini-batches of ids, by number, and what is known about them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from simulator.config.memo import by_identity
from simulator.config.trace import HALF

__all__ = ["Bags", "Ids", "MiniBatch", "Trace", "bags_of"]

Ids = npt.NDArray[np.int64]


@by_identity
def _longest(edges: Ids) -> int:
    """Most lookups between two of the `edges`, which many mini-batches may share."""
    return int(np.diff(edges).max(initial=0))


@dataclass(frozen=True, slots=True)
class MiniBatch:
    """The embedding lookups of one training iteration.

    `ids[t]`: int64, shape (lookups of table t,): the rows looked up in table *t*, in order
    (sample by sample). `offsets[t]`: int64, shape (samples + 1,): lookups of sample *s* are
    `ids[t][offsets[t][s]:offsets[t][s + 1]]` (pooling may be jagged). `bags[t]`: int64, shape
    (samples * features + 1,): what is pooled together; where several features look table *t* up,
    a sample has a bag of each. None: `offsets`, one feature a table.
    """

    index: int
    ids: tuple[Ids, ...]
    offsets: Sequence[Ids]
    bags: Sequence[Ids] | None = field(default=None, kw_only=True)

    @property
    def lookups(self) -> int:
        """Lookups over all tables."""
        return sum(len(table) for table in self.ids)

    @property
    def samples(self) -> int:
        return len(self.offsets[0]) - 1

    @property
    def pooled(self) -> Sequence[Ids]:
        """Edges of what is pooled together, for each table: as `bags`."""
        return self.offsets if self.bags is None else self.bags

    @property
    def longest(self) -> tuple[int, ...]:
        """Most lookups of one sample in each table that are pooled together."""
        return tuple(map(_longest, self.pooled))

    @property
    def hottest(self) -> tuple[int, ...]:
        """Lookups of the row of each table that is looked up most."""
        counts = (np.unique(ids, return_counts=True)[1] for ids in self.ids)
        return tuple(int(each.max(initial=0)) for each in counts)


@dataclass(frozen=True, slots=True)
class Bags:
    """How many lookups samples make in each table, as the trace has them.

    `mean`: of a sample. `most`: of a mini-batch, at most.
    """

    mean: tuple[float, ...]
    most: tuple[int, ...]


def bags_of(trace: Trace) -> Bags | None:
    """The bags that a trace brings itself; None where all are as long as the model says."""
    bags = getattr(trace, "bags", None)
    return bags if isinstance(bags, Bags) else None


@runtime_checkable
class Trace(Protocol):
    """A source of mini-batches that can be asked for any one of them, in any order.

    A run takes number 0 and those after it. Numbers below 0 are its past: of it caches are warmed
    and profiled.
    """

    @property
    def rows(self) -> tuple[int, ...]:
        """Rows of each table."""
        ...

    @property
    def batches(self) -> int | None:
        """Mini-batches at hand from number 0 on; None where there is no end (generators)."""
        ...

    @property
    def past(self) -> int | None:
        """Mini-batches at hand before number 0; None where there is no beginning (generators)."""
        ...

    @property
    def has_time_order(self) -> bool:
        """Whether the order of the ids in time is real (or modelled), not a shuffle."""
        ...

    def minibatch(self, index: int) -> MiniBatch:
        """Mini-batch number `index`, the same at each call; at least -`past`.

        Raises `TraceError` outside of what is at hand, and for ids outside of their table.
        """
        ...

    def hottest(self, table: int, count: int, share: float = HALF) -> Ids:
        """The `count` most accessed rows of `table`, hottest first; shape (count,).

        One rule for all: what can be known when the run begins. Files count the lookups of their
        first `share`, generators answer from the distribution that mini-batch 0 is drawn from.
        """
        ...

    def fingerprint(self) -> str:
        """SHA-256 (hex) over everything that determines the ids."""
        ...
