"""Rows over the nodes of a near-memory pool: where each lies, and what of a mini-batch is done
where. Data; `replays.nodes` counts it.

A *home* is what a row lies in: one node that holds it whole, or a group of nodes that hold a piece
of it each. A node belongs to a module, and that to a channel.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["CopiedSums", "Counts", "Homes", "NodeCache", "Spread", "together"]

Int64s = npt.NDArray[np.int64]
Counts = tuple[int, ...]
"""One number a home."""


@dataclass(frozen=True)
class Homes:
    """Where the rows of one table lie.

    `count`: homes; `table`: the home of all its rows, where those are cut over nodes; None: rows go
    round by their number over all tables. Homes go round over channels first, then over modules.
    `widths`: homes of each region, where rows go round those of their own region alone; none: all
    homes are one region. The first one's are adders of whole ranks. `channel`: the one whose homes
    have all its rows; None: they go round those of all channels.
    """

    count: int
    modules: int
    """Of all channels."""
    channels: int
    table: int | None = None
    widths: tuple[int, ...] = ()
    channel: int | None = None

    @property
    def round(self) -> int:
        """Homes that its rows go round, regions apart."""
        return self.count if self.channel is None else self.count // self.channels

    def of(self, ids: Int64s) -> Int64s:
        """The home of each row by its number over all tables, int64; of one region, not cut."""
        if self.channel is None:
            return ids % self.count
        return self.channel + self.channels * (ids % self.round)

    @property
    def outer(self) -> int:
        """Homes, the first ones, whose sums are made outside of a rank."""
        return self.widths[0] if self.widths else 0


@dataclass(frozen=True)
class NodeCache:
    """Rows that each node keeps beside its memory: the last ones that it was asked for."""

    rows: int
    hot: int = 1
    """A row is kept that a mini-batch looks up so often; others pass by the cache."""
    stays: bool = True
    """Updates are written through, and what is kept stays right; else every mini-batch starts with
    empty caches."""


@dataclass(frozen=True, slots=True)
class CopiedSums:
    """What nodes tell each other of rows that each has a copy of: distinct ones that a mini-batch
    looks up, and how often one of them was summed in a home (`homes`) or a module (`modules`)."""

    rows: int = 0
    homes: int = 0
    modules: int = 0

    def __add__(self, other: CopiedSums) -> CopiedSums:
        return CopiedSums(
            self.rows + other.rows, self.homes + other.homes, self.modules + other.modules
        )


@dataclass(frozen=True, slots=True)
class Spread:
    """What a mini-batch does at each home, exact.

    `lookups`, `rows`: lookups and distinct rows; `asked`: rows that nodes are asked for (a lookup
    each, or what is distinct in a part of the mini-batch); `read`: those that they read from their
    memory, for a cache of the node holds the others. `homes`, `modules` and `channels` are how
    often one of its pooled `vectors` has a row in a home, module or channel; `inner`: of homes,
    those within a rank. Of `copied` rows each
    home has its own: `rows` has them in all.
    """

    lookups: Counts
    rows: Counts
    asked: Counts
    read: Counts
    vectors: int
    homes: int
    modules: int
    channels: int
    inner: int
    copied: CopiedSums = CopiedSums()

    def __add__(self, other: Spread) -> Spread:
        """Both in the same homes."""

        def added(mine: Counts, theirs: Counts) -> Counts:
            return tuple(map(sum, zip(mine, theirs, strict=True)))

        return Spread(
            added(self.lookups, other.lookups),
            added(self.rows, other.rows),
            added(self.asked, other.asked),
            added(self.read, other.read),
            self.vectors + other.vectors,
            self.homes + other.homes,
            self.modules + other.modules,
            self.channels + other.channels,
            self.inner + other.inner,
            self.copied + other.copied,
        )

    def without(self, some: Spread) -> Spread:
        """The rest, where `some` of it is done before: vectors are then where that had rows."""

        def left(mine: Counts, theirs: Counts) -> Counts:
            return tuple(a - b for a, b in zip(mine, theirs, strict=True))

        return Spread(
            left(self.lookups, some.lookups),
            left(self.rows, some.rows),
            left(self.asked, some.asked),
            left(self.read, some.read),
            self.vectors,
            self.homes - some.homes,
            self.modules - some.modules,
            self.channels - some.channels,
            self.inner - some.inner,
        )


def together(spreads: list[Spread | None]) -> Spread | None:
    """All of them in the same homes; None where one is not told or has other homes."""
    told = [spread for spread in spreads if spread is not None]
    if not told or len(told) < len(spreads) or len({len(s.lookups) for s in told}) > 1:
        return None
    whole = told[0]
    for spread in told[1:]:
        whole += spread
    return whole
