"""Shares of Zipf lookups that a processor's own cache holds, as simulations count them."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import reduce
from operator import add

import numpy as np
import numpy.typing as npt

from simulator.caches import row_hits
from simulator.caches.facts import Flow
from simulator.caches.ranges import by_range
from simulator.config.trace import ZipfTraceConfig
from simulator.traces import Trace, open_trace

__all__ = ["HitShares"]

Rows = npt.NDArray[np.int64]

_SEED = 1


@dataclass
class HitShares:
    """LRU over rows, warmed with the mini-batch before; each share counted once.

    `cpu_bytes`, `gpu_bytes`: sizes of the last-level cache and of L2. `tables`, `rows_per_table`:
    what lookups are drawn from.
    """

    cpu_bytes: int
    gpu_bytes: int
    tables: int
    rows_per_table: int
    kept: dict[tuple[object, ...], float] = field(default_factory=dict)
    drawn: dict[tuple[str, int, int], Flow] = field(default_factory=dict)

    def cpu(self, dist: str, lookups: int, row_bytes: int) -> float:
        """Share of `lookups` over all tables that the CPU's last-level cache holds."""
        return self._share(dist, self.tables, lookups, self.cpu_bytes // row_bytes)

    def gpu(self, dist: str, lookups: int, row_bytes: int) -> float:
        """Share of `lookups` in one table that the GPU's L2 holds (cold: it is flushed)."""
        return self._share(dist, 1, lookups, self.gpu_bytes // row_bytes, warm=False)

    def updated(self, dist: str, lookups: int, range_bits: int) -> Flow:
        """`lookups` over all tables: those of the hottest row of each, and of each range of rows.

        `dist`: `uniform`, or `zipf` and its alpha.
        """
        key = (dist, lookups, range_bits)
        if key not in self.drawn:
            trace = self._trace(dist, self.tables, lookups)
            batch = trace.minibatch(0)
            ranges = by_range(batch.ids, trace.rows, range_bits) if range_bits else ()
            whole = reduce(add, ranges) if ranges else None
            self.drawn[key] = Flow(lookups, hottest=batch.hottest, ranges=whole)
        return self.drawn[key]

    def _share(
        self, dist: str, tables: int, lookups: int, capacity: int, *, warm: bool = True
    ) -> float:
        if not dist.startswith("zipf"):
            return 0.0
        key = (dist, tables, lookups, capacity, warm)
        if key not in self.kept:
            trace = self._trace(dist, tables, lookups)
            before, after = (self._rows(trace.minibatch(index).ids) for index in (0, 1))
            hits = row_hits(before if warm else before[:0], after, capacity)
            self.kept[key] = float(hits.mean())
        return self.kept[key]

    def _trace(self, dist: str, tables: int, lookups: int) -> Trace:
        return open_trace(
            ZipfTraceConfig(alpha=float(dist.removeprefix("zipf")) if "zipf" in dist else 0.0),
            rows=(self.rows_per_table,) * tables,
            lookups=(1,) * tables,
            batch_size=max(1, lookups // tables),
            seed=_SEED,
        )

    def _rows(self, ids: tuple[Rows, ...]) -> Rows:
        """Rows numbered over all tables, sample by sample."""
        each = [table + number * self.rows_per_table for number, table in enumerate(ids)]
        return np.stack(each, axis=1).ravel()
