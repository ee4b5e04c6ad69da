"""Popularity as cells of neighbouring ranks: what the drawing kernels and the closed forms need.

A cell is a run of ranks, first <= rank < first + size (rank 0 is the hottest), with the
probability that a lookup falls into it. Within a cell the probability is constant, or for Zipf
proportional to (rank + 1)**-alpha. A few thousand cells stand for tables of any size, fit a
second-level cache and are set up in milliseconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from simulator.traces.kernels import CellArrays

__all__ = ["Cells", "counts_cells", "curve_cells", "power_law_cells", "zipf_cells", "zipf_sums"]

Floats = npt.NDArray[np.float64]
_HEAD = 1024  # ranks with a cell each
_TAIL = 3000  # cells of the ranks after them, of about equal width in log rank


@dataclass(frozen=True, eq=False)
class Cells:
    """`first`, `size`: uint64 [cells]; `mass`: float64 [cells], sums to 1; `alpha`: 0 where the
    probability is constant within a cell."""

    first: npt.NDArray[np.uint64]
    size: npt.NDArray[np.uint64]
    mass: Floats
    alpha: float

    @cached_property
    def squeeze(self) -> npt.NDArray[np.uint64]:
        """Least acceptance probability in a cell, times 2**64 (rounded down)."""
        first = self.first.astype(np.float64)
        last = (first + self.size.astype(np.float64)) / (first + 1.0)
        least = np.maximum(last, 1.0) ** -self.alpha
        scaled = np.where(least < 1.0, least, 0.0) * 2.0**64
        return np.where(least < 1.0, scaled.astype(np.uint64), np.uint64(2**64 - 1))

    @cached_property
    def alias(self) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
        """(threshold, alias) of Walker's method by Vose, padded to a power of two of at least 2.

        Column c keeps its cell where 64 random bits are below threshold[c].
        """
        columns = 1 << max(1, (len(self.mass) - 1).bit_length())
        scaled = np.zeros(columns)
        scaled[: len(self.mass)] = self.mass / self.mass.sum() * columns
        kept, other = scaled.tolist(), list(range(columns))
        small = [c for c in range(columns) if kept[c] < 1.0]
        large = [c for c in range(columns) if kept[c] >= 1.0]
        while small and large:
            low, high = small.pop(), large[-1]
            other[low] = high
            kept[high] -= 1.0 - kept[low]
            if kept[high] < 1.0:
                small.append(large.pop())
        threshold = [min(2**64 - 1, int(k * 2.0**64)) for k in kept]
        for c in (*small, *large):  # what rounding left over keeps its own cell
            threshold[c], other[c] = 2**64 - 1, c if c < len(self.mass) else other[c]
        return np.array(threshold, np.uint64), np.array(other, np.uint64)

    @cached_property
    def arrays(self) -> CellArrays:
        """What the drawing kernels take."""
        return CellArrays(*self.alias, self.first, self.size, self.squeeze, self.alpha)

    def share(self, ranks: npt.ArrayLike) -> Floats:
        """Share of the lookups that fall on the hottest `ranks` rows (numbers of rows)."""
        upto = np.atleast_1d(np.asarray(ranks, np.float64))
        edges = np.append(self.first, self.first[-1] + self.size[-1]).astype(np.float64)
        total = np.append(0.0, np.cumsum(self.mass))
        cell = np.clip(np.searchsorted(edges, upto, side="right") - 1, 0, len(self.mass) - 1)
        start, stop = edges[cell], edges[cell + 1]
        if self.alpha == 0.0:
            part = (upto - start) / (stop - start)
        else:
            part = np.where(upto > start, zipf_sums(start, upto, self.alpha), 0.0) / zipf_sums(
                start, stop, self.alpha
            )
        return np.minimum(total[cell] + part * self.mass[cell], 1.0)


def zipf_sums(start: npt.ArrayLike, stop: npt.ArrayLike, alpha: float) -> Floats:
    """Sum of (r + 1)**-alpha over start <= r < stop, for arrays of non-empty ranges.

    Euler-Maclaurin with the first two correction terms: the relative error is below 1e-12 for
    start >= 100. Ranges of one rank are exact.
    """
    m = np.asarray(start, np.float64) + 1.0
    n = np.asarray(stop, np.float64)
    body = _power_integral(m, n, alpha)
    fm, fn = m**-alpha, n**-alpha
    slope = alpha * (fm / m - fn / n) / 12.0
    third = alpha * (alpha + 1) * (alpha + 2) * (fm / m**3 - fn / n**3) / 720.0
    return np.where(n <= m, fm, body + (fm + fn) / 2.0 + slope - third)


def _power_integral(start: Floats, stop: Floats, alpha: float) -> Floats:
    """Integral of y**-alpha from `start` (above 0) to `stop`; 0 where that is not above it."""
    log = np.log(np.maximum(stop / start, 1.0))
    power = 1.0 - alpha
    return np.asarray(start**power * (log if power == 0.0 else np.expm1(power * log) / power))


def zipf_cells(rows: int, alpha: float) -> Cells:
    """Zipf over `rows` ranks: rank r (from 0) with probability proportional to (r + 1)**-alpha."""
    if alpha == 0.0:
        return _from_edges(np.array([0.0, rows]), np.ones(1), 0.0)
    edges = _rank_edges(rows)
    return _from_edges(edges, zipf_sums(edges[:-1], edges[1:], alpha), alpha)


def power_law_cells(rows: int, alpha: float) -> Cells:
    """Whole parts of a number y in 1 .. `rows` + 1 with density proportional to y**-alpha: rank r
    (from 0) with probability proportional to the integral of y**-alpha over r + 1 .. r + 2.

    Exact for the first 1,024 ranks and for every cell of the others; within those the probability
    is that of Zipf, off by less than 1e-5 of itself for alpha up to 2.
    """
    edges = _rank_edges(rows)
    return _from_edges(edges, _power_integral(edges[:-1] + 1.0, edges[1:] + 1.0, alpha), alpha)


def _rank_edges(rows: int) -> Floats:
    """A cell each for the first ranks, then cells of about equal width in log rank."""
    head = min(rows, _HEAD)
    edges = np.arange(head + 1, dtype=np.float64)
    if rows > head:
        tail = np.unique(np.round(np.geomspace(head, rows, _TAIL + 1)))
        edges = np.concatenate([edges, tail[1:]])
    return edges


def counts_cells(counts: npt.ArrayLike) -> Cells:
    """Access counts (any order, zeros allowed at the cold end) as cells of equal counts: exact."""
    descending = np.sort(np.asarray(counts).astype(np.int64))[::-1]
    values, sizes = np.unique(-descending, return_counts=True)
    edges = np.append(0, np.cumsum(sizes)).astype(np.float64)
    return _from_edges(edges, (-values).astype(np.float64) * sizes, 0.0)


def curve_cells(rank_fraction: Floats, cumulative_share: Floats, rows: int) -> Cells:
    """A popularity curve scaled to `rows`: linear between its points, so constant in a cell."""
    x = np.append(0.0, rank_fraction)
    y = np.append(0.0, cumulative_share)
    edges = np.unique(np.round(x * rows))
    edges[-1] = rows
    return _from_edges(edges, np.diff(np.interp(edges / rows, x, y)), 0.0)


def _from_edges(edges: Floats, mass: Floats, alpha: float) -> Cells:
    first = edges[:-1].astype(np.uint64)
    size = np.diff(edges).astype(np.uint64)
    return Cells(first, size, mass / mass.sum(), alpha)
