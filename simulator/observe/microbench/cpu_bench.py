"""What CPU operators work on: a table beyond any cache, sets of rows, rings of staging buffers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from simulator.observe import rows as kernels
from simulator.observe.machine import last_level_cache_bytes
from simulator.observe.microbench.passes import Evictor
from simulator.observe.microbench.tables import Budget
from simulator.observe.workspace import RING

__all__ = ["POOLED", "SOFTWARE", "Case", "CpuBench", "Work", "draw_rows"]

Floats = npt.NDArray[np.float32]
Int64s = npt.NDArray[np.int64]
Work = Callable[[int], object]
"""A repetition, by its number."""

POOLED = 20
"""Lookups of a bag."""
SOFTWARE = "compiled with numba"


@dataclass(frozen=True)
class Case:
    """The conditions of a row of `micro_cpu.csv`."""

    op: str
    impl: str
    threads: int
    rows: int
    dim: int = 128
    dist: str = "uniform"
    table_bytes: int = 0

    def row(self, times: dict[str, float], note: str = "", **moved: float) -> dict[str, Any]:
        """`moved`: bytes that each rate counts (`payload`, `traffic`)."""
        row: dict[str, Any] = {
            "measurement": "m1", "op": self.op, "impl": self.impl, "dim": self.dim,
            "threads": self.threads, "n_rows": self.rows, "dist": self.dist, **times,
            "note": f"{note}; {SOFTWARE}" if note else SOFTWARE,
        }  # fmt: skip
        if self.table_bytes:
            row["table_GB"] = self.table_bytes / 1e9
        return row | {f"{name}_GBps": size / times["ms"] / 1e6 for name, size in moved.items()}


def draw_rows(table_rows: int, count: int, dist: str, seed: int) -> Int64s:
    """`count` rows, `uniform` or `zipfA`; both with repeats."""
    rng = np.random.default_rng(seed)
    if dist == "uniform":
        return rng.integers(0, table_rows, count)
    ranks = max(1, table_rows // 8)
    chosen = np.searchsorted(_cumulated(ranks, float(dist[4:])), rng.random(count))
    # eight tables side by side, hot rows spread by an odd multiplier
    table = np.arange(count) % 8
    spread = (chosen * 2_654_435_761) % ranks
    return (table * ranks + spread).astype(np.int64)


@lru_cache(maxsize=1)
def _cumulated(ranks: int, exponent: float) -> npt.NDArray[np.float64]:
    """Shares of the first ranks together; seconds to compute for a large table."""
    shares = np.arange(1, ranks + 1, dtype=np.float64) ** -exponent
    total: npt.NDArray[np.float64] = np.cumsum(shares) / shares.sum()
    return total


class CpuBench:
    """A big table and everything that operators on it need."""

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self._staging: list[Floats] | None = None
        """Of the last operator: fresh pages take longer than what is measured on them."""

    @cached_property
    def flat(self) -> Floats:
        """The table's elements, filled when first asked for: tens of seconds for tens of GB."""
        flat: Floats = kernels.aligned(self.budget.table_floats // 16, 16).reshape(-1)
        kernels.use_threads(None)
        kernels.fill_rows(flat.reshape(-1, 16), self.budget.cores)
        return flat

    def table(self, dim: int) -> Floats:
        """The table with rows of `dim` elements."""
        rows = min(len(self.flat) // dim, 80_000_000)
        return self.flat[: rows * dim].reshape(rows, dim)

    def rows(self, dim: int, count: int, dist: str = "uniform") -> list[Int64s]:
        """Row sets that take turns."""
        drawn = draw_rows(
            len(self.table(dim)), max(1, self.budget.fresh_rows // count) * count, dist, 0
        )
        return list(drawn.reshape(-1, count))

    @property
    def evictor(self) -> Evictor:
        """Leaves none of the lines of others in any cache: reads twice the last level's size."""
        size = 2 * max(last_level_cache_bytes() or 0, 1 << 28)
        return Evictor(self.flat[: size // 4], self.budget.cores)

    def operator(
        self,
        op: str,
        dim: int,
        threads: int,
        sets: list[Int64s],
        *,
        stream: bool = True,
        buffers: list[Floats] | None = None,
    ) -> Work:
        """A repetition of `op` (`gather`, `scatter`, `gather+scatter`, `pooled`, `update`) on
        `threads` threads; `buffers`: the ring of staging buffers, by default one of its own."""
        kernels.use_threads(threads)
        staging = buffers or self.staging(self._staged(op, len(sets[0])), dim)
        if op in ("gather", "scatter"):
            return self._copy(op, threads, sets, staging, stream)
        if op == "gather+scatter":
            return self._both(threads, sets, staging, stream)
        make = self._pooled if op == "pooled" else self._update
        return make(self.table(dim), threads, sets, staging)

    @staticmethod
    def _staged(op: str, count: int) -> int:
        """Rows of the staging buffers: of the lookups, or of their bags."""
        return count if op in ("gather", "scatter", "gather+scatter") else -(-count // POOLED)

    def _copy(
        self, op: str, threads: int, sets: list[Int64s], staging: list[Floats], stream: bool
    ) -> Work:
        table, to = self.table(staging[0].shape[1]), op == "scatter"

        def copy(k: int) -> None:
            rows, buffer = sets[k % len(sets)], staging[k % len(staging)][: len(sets[0])]
            kernels.copy_rows(table, rows, buffer, threads, to=to, stream=stream)

        return copy

    def _both(self, threads: int, sets: list[Int64s], staging: list[Floats], stream: bool) -> Work:
        table, half = self.table(staging[0].shape[1]), len(staging) // 2

        def both(k: int) -> None:
            wanted, given = sets[k % len(sets)], sets[(k + 1) % len(sets)]
            out, values = staging[k % len(staging)], staging[(k + half) % len(staging)]
            args = (table, wanted, out, given, values, threads)
            kernels.gather_and_scatter(*args, stream=stream)

        return both

    def _pooled(
        self, table: Floats, threads: int, sets: list[Int64s], staging: list[Floats]
    ) -> Work:
        count = len(sets[0])
        offsets = np.append(np.arange(0, count, POOLED), count)

        def pooled(k: int) -> None:
            rows, sums = sets[k % len(sets)], staging[k % len(staging)]
            kernels.pool_rows(table, rows, offsets, sums, threads)

        return pooled

    def _update(
        self, table: Floats, threads: int, sets: list[Int64s], staging: list[Floats]
    ) -> Work:
        count = len(sets[0])
        bags, pairs = (np.arange(count) // POOLED).astype(np.int32), kernels.SortedPairs(count)

        def update(k: int) -> None:
            pairs.sort(sets[k % len(sets)], len(table), threads)
            gradients = staging[k % len(staging)]
            kernels.coalesced_update(table, pairs, bags, gradients, 1e-3, threads)

        return update

    def staging(self, rows: int, dim: int) -> list[Floats]:
        """Buffers that take turns as in training, written before they are read: memory that never
        was is one page of zeros in the first-level cache."""
        if self._staging is None or self._staging[0].shape != (rows, dim):
            self._staging = None
            self._staging = [kernels.aligned(rows, dim) for _ in range(RING)]
        return self._written(self._staging)

    def own_staging(self, rows: int, dim: int) -> list[Floats]:
        """The same, of an operator that alternates with others on buffers of that size."""
        return self._written([kernels.aligned(rows, dim) for _ in range(RING)])

    def _written(self, buffers: list[Floats]) -> list[Floats]:
        for buffer in buffers:
            kernels.fill_rows(buffer, self.budget.cores, scale=1e-6)
        return list(buffers)
