"""Where to cut a line of rows so that its pieces together cost least: dynamic programming."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from simulator.traces.coverage import Coverage

__all__ = ["cheapest_cuts", "cutting_places"]

STEPS, TAIL_STEPS = 24, 8
"""Steps between places where a table may be cut: of its hottest rows, and of all others."""


def cheapest_cuts(last: int, most: int, cost: Callable[[int, int], float]) -> tuple[int, ...]:
    """Borders, 0 and `last` among them, of the at most `most` pieces of least cost.

    `cost(i, j)`: of the piece from border *i* to *j* (inf: not to be had). Of equally cheap ways
    one with fewest pieces. best(j, k) = min over i of best(i, k - 1) + cost(i, j), so `last`^2 / 2
    costs are asked for and `most` times as many sums made.
    """
    costs = {(i, j): cost(i, j) for j in range(1, last + 1) for i in range(j)}
    best = [0.0] + [math.inf] * last
    whole = math.inf
    chosen: tuple[int, ...] = (0, last)
    came: list[list[int]] = []
    for pieces in range(1, most + 1):
        sources = [
            min(range(j), key=lambda i, j=j: best[i] + costs[i, j], default=0)  # type: ignore[misc]
            for j in range(last + 1)
        ]
        came.append(sources)
        best = [math.inf] + [best[sources[j]] + costs[sources[j], j] for j in range(1, last + 1)]
        if best[last] < whole:
            whole, chosen = best[last], _borders(came, pieces, last)
    return chosen


def _borders(came: list[list[int]], pieces: int, last: int) -> tuple[int, ...]:
    """The borders that led to `last` in as many pieces."""
    borders = [last]
    for sources in reversed(came[:pieces]):
        borders.append(sources[borders[-1]])
    return tuple(reversed(borders))


def cutting_places(covered: Coverage) -> Coverage:
    """Where a table may be cut: `STEPS` steps of its distribution and `TAIL_STEPS` equal ones of
    the rows that were not told apart; its ends are among them."""
    known = covered.rows[:-1]
    chosen = np.linspace(0, len(known) - 1, min(STEPS, len(known))).round().astype(np.int64)
    tail = np.linspace(known[-1], covered.rows[-1], TAIL_STEPS + 1).round().astype(np.int64)
    rows = np.unique(np.r_[known[chosen], tail])
    return Coverage(rows, np.interp(rows, covered.rows, covered.share))
