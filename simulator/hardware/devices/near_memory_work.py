"""Rows that an operation touches in a near-memory pool, by the nodes that they are in."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from simulator.caches.facts import Flow
from simulator.caches.nodes import Counts, Spread
from simulator.hardware.devices.near_memory_layout import NodePool

__all__ = ["NodeWork"]

Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True)
class NodeWork:
    """Rows of one size that an operation touches, by home."""

    part: NodePool
    rows: Flow
    row_bytes: int

    @cached_property
    def pieces(self) -> int:
        """Nodes of a home that a row lies in."""
        return self.part.pieces(self.row_bytes)

    @cached_property
    def spread(self) -> Spread:
        """That of the rows; where it is not told all homes do the same, for vectors of one home."""
        if self.rows.nodes is not None:
            return self.rows.nodes
        homes = self.part.homes(self.row_bytes)
        lookups, rows = (_evenly(count, homes) for count in (self.rows.lookups, self.rows.rows))
        return Spread(lookups, rows, lookups, lookups, 1, 1, 1, 1, 1)

    def copies(self, places: int) -> float:
        """Of a vector, where so many places hold rows of all vectors together."""
        return places / self.spread.vectors if self.spread.vectors else 1.0

    def by_rank(self, by_home: Counts) -> Counts:
        """Of each rank, where homes are what has adders in it."""
        if self.part.level == "rank":
            return by_home
        nodes = self.part.nodes
        return tuple(sum(by_home[rank::nodes]) for rank in range(nodes))

    def fullest_channel(self, by_home: Counts) -> int:
        """Rows that the fullest channel is asked for; a home of several channels asks each."""
        channels, homes = self.part.channels, len(by_home)
        if homes < channels:
            return max(by_home, default=0)
        numbers = np.arange(homes)
        cut = self.part.cut == "vertical"
        channel = numbers * channels // homes if cut else numbers % channels
        return int(np.bincount(channel, weights=np.array(by_home, np.float64)).max())

    def of_fullest(self, by_home: Counts, ids: Int64s | None) -> Int64s | None:
        """Those of `ids` that lie in the fullest rank, numbered within it; rows that are cut all
        stand for those of one home. None where some are copied, or tables lie in channels: who
        reads which is not kept."""
        if ids is None or self.part.cut == "vertical":
            return ids
        if self.spread.copied.rows or self.part.spread == "channel":
            return None
        ranks = self.by_rank(by_home)
        own: Int64s = ids[ids % len(ranks) == int(np.argmax(ranks))] // len(ranks)
        return own


def _evenly(count: int, homes: int) -> Counts:
    """`count` over all homes, as even as can be."""
    return tuple((count + k) // homes for k in range(homes))
