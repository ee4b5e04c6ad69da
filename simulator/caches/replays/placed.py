"""Rows of a near-memory pool in regions of its homes, by how hot they are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from simulator.caches.nodes import Homes
from simulator.traces.base import Trace

__all__ = ["PlacedRows"]

Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True)
class PlacedRows:
    """The region of every row, by its number over all tables; rows go round the homes of their
    region by that number."""

    region: npt.NDArray[np.uint8]
    starts: Int64s
    """The first home of each region."""
    widths: Int64s
    """Homes of each region."""

    @classmethod
    def of(
        cls,
        trace: Trace,
        first: Int64s,
        placed: tuple[tuple[int, ...], ...],
        widths: tuple[int, ...],
        share: float,
    ) -> PlacedRows:
        """Tables begin at row `first`; `placed`: rows of each table in each region, the hottest by
        the profile of the first `share` of a file in the last."""
        region = np.zeros(sum(trace.rows), np.uint8)
        for table, counts in enumerate(placed):
            hottest = trace.hottest(table, sum(counts[1:]), share)
            where = np.repeat(np.arange(len(counts) - 1, 0, -1), counts[:0:-1])
            region[first[table] + hottest] = where
        starts = np.concatenate(([0], np.cumsum(widths)[:-1]))
        return cls(region, starts, np.array(widths, np.int64))

    def homes(self, ids: Int64s, at: Homes) -> Int64s:
        """The home of each row of a table that lies `at` those, int64."""
        own = self.region[ids]
        # a region without homes has no rows
        if at.channel is None:
            return self.starts[own] + ids % np.maximum(self.widths, 1)[own]
        widths = np.maximum(self.widths // at.channels, 1)
        return self.starts[own] + at.channel + at.channels * (ids % widths[own])
