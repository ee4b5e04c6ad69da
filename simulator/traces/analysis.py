"""What can be said of a trace: unique share, popularity, reuse, LRU misses, Zipf fit, time order.

All of one table, from its ids in order. Exact unless said otherwise. The Zipf exponent is a fit
(maximum likelihood over the touched ids); its goodness is the Kolmogorov-Smirnov distance between
the fitted and the measured share by rank, from 0 (perfect) to 1.

Whether the order in time is real: the LRU hit rate of the trace, and of a seeded shuffle of the
same ids, at every cache size. A shuffle of independent draws changes nothing beyond chance, so a
difference below `ORDER_THRESHOLD` (1 point) at every size means that there is no order to speak of.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from simulator.errors import TraceError
from simulator.traces.base import Ids
from simulator.traces.cells import zipf_sums
from simulator.traces.reuse import stack_histogram

__all__ = [
    "FRACTIONS",
    "ORDER_THRESHOLD",
    "TableReport",
    "describe_ids",
    "fit_zipf",
    "has_time_order",
]

FRACTIONS = (0.001, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.2, 0.5)
"""Cache sizes and hot sets that reports speak of, as shares of the distinct ids."""
ORDER_THRESHOLD = 0.01
"""Least difference of LRU hit rates (per lookup) that counts as order in time, by convention.
For short traces 3 / sqrt(lookups) counts instead where larger: six deviations of pure chance."""

_CURVE_POINTS = 120

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class TableReport:
    """The locality of one table; rates are per lookup, sizes are shares of the distinct ids."""

    table: str
    lookups: int
    unique_ids: int
    max_id: int
    unique_share: float
    """Distinct ids / lookups."""
    hot_share: dict[str, float]
    """Share of the lookups on the hottest x of the distinct ids, by x."""
    lru_hit_rate: dict[str, float]
    """Hits / lookups of an LRU cache that holds x of the distinct ids, by x."""
    shuffled_lru_hit_rate: dict[str, float]
    median_stack_distance: int
    """Of the lookups that are not the first of their id; 0 if none."""
    zipf_alpha: float
    zipf_ks_distance: float
    has_time_order: bool
    popularity_curve: list[tuple[int, float]]
    """(rank, share of lookups on the hottest ranks), log-spaced."""
    reuse_distance_curve: list[tuple[int, float]]
    """(d, share of lookups with a stack distance of at most d), log-spaced."""
    miss_ratio_curve: list[tuple[int, float]]
    """(rows of an LRU cache, misses / lookups, cold ones included), log-spaced."""

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)


def describe_ids(ids: Ids, table: str = "", *, seed: int = 0) -> TableReport:
    """The report of one table; `seed` is that of the shuffle. Raises `TraceError` if empty."""
    if not len(ids):
        raise TraceError(f"table {table!r} holds no ids")
    histogram, unique = stack_histogram(ids)
    lookups = len(ids)
    counts = descending_counts(ids)
    popular = np.append(0, np.cumsum(counts)) / lookups
    hits = np.cumsum(histogram) / lookups
    shuffled_ids = np.random.Generator(np.random.Philox(seed)).permutation(ids)
    shuffled = np.cumsum(stack_histogram(shuffled_ids)[0]) / lookups
    sizes = {f"{f:g}": max(1, round(f * unique)) for f in FRACTIONS}
    alpha = fit_zipf(counts)
    points = _log_points(unique)
    reuses = lookups - unique
    return TableReport(
        table=table,
        lookups=lookups,
        unique_ids=unique,
        max_id=int(ids.max()),
        unique_share=unique / lookups,
        hot_share={f: float(popular[size]) for f, size in sizes.items()},
        lru_hit_rate={f: float(hits[size]) for f, size in sizes.items()},
        shuffled_lru_hit_rate={f: float(shuffled[size]) for f, size in sizes.items()},
        median_stack_distance=int(np.searchsorted(hits, reuses / lookups / 2)) if reuses else 0,
        zipf_alpha=alpha,
        zipf_ks_distance=_ks_distance(popular, alpha),
        has_time_order=order_in_time(hits, shuffled, lookups),
        popularity_curve=[(int(n), float(popular[n])) for n in points],
        reuse_distance_curve=[(int(n), float(hits[n])) for n in points],
        miss_ratio_curve=[(int(n), float(1.0 - hits[n])) for n in points],
    )


def order_in_time(hits: Floats, shuffled: Floats, lookups: int) -> bool:
    """Whether two LRU curves (hits / lookups by cache size) of the same ids differ."""
    least = max(ORDER_THRESHOLD, 3.0 / lookups**0.5)
    return bool(np.abs(hits - shuffled).max() >= least)


def has_time_order(ids: Ids, seed: int = 0) -> bool:
    """Whether the LRU curve of `ids` differs from that of a seeded shuffle of them (none: no)."""
    if not len(ids):
        return False
    shuffled = np.random.Generator(np.random.Philox(seed)).permutation(ids)
    curves = [np.cumsum(stack_histogram(order)[0]) / len(ids) for order in (ids, shuffled)]
    return order_in_time(curves[0], curves[1], len(ids))


def descending_counts(ids: Ids) -> Ids:
    """Lookups of each distinct id, most first."""
    high = int(ids.max())
    if high < 4 * len(ids) + 1024:
        counts = np.bincount(ids, minlength=high + 1)
        counts = counts[counts > 0]
    else:
        counts = np.unique(ids, return_counts=True)[1]
    return np.sort(counts)[::-1].astype(np.int64)


def fit_zipf(counts: Ids) -> float:
    """The exponent in [0, 5] that makes `counts` (descending) likeliest, to 1e-4.

    Log-likelihood of ranks: -alpha * sum(c * ln r) - n * ln H(alpha), concave in alpha, so a
    golden-section search finds its maximum.
    """
    ids, total = len(counts), float(counts.sum())
    if ids < 2:
        return 0.0
    mean_log = float((counts * np.log(np.arange(1, ids + 1))).sum()) / total
    low, high, ratio = 0.0, 5.0, (5**0.5 - 1) / 2
    while high - low > 1e-4:
        left, right = high - ratio * (high - low), low + ratio * (high - low)
        if _cost(left, mean_log, ids) < _cost(right, mean_log, ids):
            high = right
        else:
            low = left
    return round((low + high) / 2, 4)


def _cost(alpha: float, mean_log: float, ids: int) -> float:
    return alpha * mean_log + float(np.log(_harmonic(ids, alpha)))


def _harmonic(ids: int, alpha: float) -> float:
    head = min(ids, 1000)
    total = float((np.arange(1, head + 1, dtype=np.float64) ** -alpha).sum())
    return total if ids == head else total + float(zipf_sums(head, ids, alpha))


def _ks_distance(popular: Floats, alpha: float) -> float:
    weights = np.arange(1, len(popular), dtype=np.float64) ** -alpha
    fitted = np.cumsum(weights) / weights.sum()
    return float(np.abs(fitted - popular[1:]).max())


def _log_points(limit: int) -> Ids:
    points = np.unique(np.round(np.geomspace(1, limit, _CURVE_POINTS)).astype(np.int64))
    return np.clip(points, 1, limit)
