"""How many of the lookups of a table its hottest rows take: the cumulative distribution of accesses
that placements of rows go by, as it can be known when a run begins.

Which rows are the hottest a trace says (`Trace.hottest`); how many lookups they take is counted in
mini-batches before the run, or, where a file has fewer of those, in the first that it has.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from simulator.config.trace import HALF
from simulator.traces.base import Ids, MiniBatch, Trace

__all__ = ["Coverage", "coverages", "even_coverage", "profile_batches", "rows_counted"]

STEPS = 100
"""Of a distribution, each of some percent more rows than the one before."""
COUNTED = 8
"""Mini-batches whose lookups are counted."""


@dataclass(frozen=True)
class Coverage:
    """`share[k]` of the lookups of a table go to its `rows[k]` hottest rows; both from 0 up."""

    rows: Ids
    share: npt.NDArray[np.float64]

    def of(self, rows: int) -> float:
        """Share of the lookups that the `rows` hottest rows take; linear within a step."""
        return float(np.interp(rows, self.rows, self.share))


def even_coverage(rows: int) -> Coverage:
    """That of a table whose rows are all as hot as each other."""
    return Coverage(np.array([0, rows], np.int64), np.array([0.0, 1.0]))


def coverages(trace: Trace, most: Sequence[int], share: float = HALF) -> tuple[Coverage, ...]:
    """Of each table of `trace`, step by step up to its `most[t]` hottest rows, all others in one
    step; `share`: of a file whose lookups say which rows are hot.

    Raises `TraceError` where the trace does.
    """
    batches = list(profile_batches(trace, COUNTED))
    return tuple(
        _coverage(trace, table, [batch.ids[table] for batch in batches], (most[table], share))
        for table in range(len(trace.rows))
    )


def profile_batches(trace: Trace, count: int) -> Iterator[MiniBatch]:
    """`count` mini-batches that end where the run begins; where there are fewer before it the first
    that there are, and as many as there are."""
    first = -count if trace.past is None else -min(count, trace.past)
    last = first + count if trace.batches is None else min(first + count, trace.batches)
    return (trace.minibatch(number) for number in range(first, last))


def rows_counted(trace: Trace, batches: int, least: float) -> tuple[int, ...]:
    """Rows of each table that `batches` mini-batches of a profile look up `least` times or more."""
    counts = [np.zeros(rows, np.int32) for rows in trace.rows]
    for batch in profile_batches(trace, batches):
        for own, ids in zip(counts, batch.ids, strict=True):
            rows, times = np.unique(ids, return_counts=True)
            own[rows] += times.astype(np.int32)
    return tuple(int((own >= least).sum()) for own in counts)


def _coverage(trace: Trace, table: int, ids: Sequence[Ids], profile: tuple[int, float]) -> Coverage:
    """`profile`: the most rows, and the share of a file that says which."""
    rows, (most, share) = trace.rows[table], profile
    most = min(rows, most)
    steps = np.geomspace(1, max(1, most), STEPS).round().clip(max=most)
    edges = np.unique(np.r_[0, steps, rows]).astype(np.int64)
    last = len(edges) - 2
    step = np.full(rows, last, np.uint8)
    inside = np.repeat(np.arange(last + 1, dtype=np.uint8), np.diff(edges).clip(max=most))[:most]
    step[trace.hottest(table, most, share)] = inside
    counts = np.bincount(step[np.concatenate(ids)], minlength=last + 1)
    covered = np.r_[0, np.cumsum(counts)] / max(1, counts.sum())
    return Coverage(edges, covered)
