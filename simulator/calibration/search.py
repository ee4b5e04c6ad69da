"""Robust least squares from several starts: where the error of a block is least.

Modelled: log errors e of the points, weighted soft L1: the sum of w x k^2 (sqrt(1 + (e/k)^2) - 1),
quadratic below the knee k = 5 % and linear beyond, so that one odd point cannot pull a fit, and
errors of 10 us and of 10 ms count alike. `scipy.optimize.least_squares` (trust region reflective:
Branch, Coleman and Li, SIAM J. Sci. Comput. 21, 1999) searches within bounds.

Approximated: derivatives are differences over 1 % of a number. The models are maxima of several
limits, so they have kinks, and a search can end in one: hence the other starts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["KNEE", "Optimum", "Problem", "search", "starts"]

Vector = npt.NDArray[np.float64]

KNEE = 0.05
"""Error (relative) from which on a point counts linearly."""
REACH = 4.0
"""Starts are drawn between 1/4 and 4 times a number's own start."""
DRAWS = 4
"""Starts of a round, beside the block's own."""
ROUNDS = 3
"""Rounds of draws at most: another one follows until two searches agree on the least loss."""
STEP = 0.01
"""Relative change of a number over which a derivative is taken: picoseconds are whole numbers, and
many a mechanism costs a few hundred."""
AGREED = 0.01
"""Starts agree where their losses differ by less than this share of the least."""
_EVALUATIONS = 100
_FLAT = 1e-10
"""Slope of the loss at which a search ends."""
_TOLERANCE = 1e-5
"""Relative change of the loss, or of the numbers, at which a search ends."""
_INSIDE = 1e-3
"""Share of a range that starts keep from its ends."""
_NOTHING = 1e-9
"""Loss that is none."""


@dataclass(frozen=True)
class Problem:
    """What is searched: n numbers by their logarithms, m points."""

    errors: Callable[[Vector], Vector]
    """Log errors, shape (m,), of logarithms of numbers, shape (n,)."""
    weights: Vector
    """Of the points, shape (m,): importance, no statement on their noise."""
    start: Vector
    low: Vector
    high: Vector
    """Logarithms, shape (n,) each."""

    def loss(self, errors: Vector) -> float:
        """The weighted soft L1 sum that `search` minimises, of log errors of shape (m,)."""
        return float((self.weights * KNEE**2 * (np.sqrt(1.0 + (errors / KNEE) ** 2) - 1.0)).sum())

    def jacobian(self, logs: Vector) -> Vector:
        """Elasticities, shape (m, n): what a log error gains by the logarithm of a number."""
        here = self.errors(logs)
        columns = []
        for index, log in enumerate(logs):
            step = STEP if log + STEP <= self.high[index] else -STEP
            moved = logs.copy()
            moved[index] += step
            columns.append((self.errors(moved) - here) / step)
        return np.stack(columns, axis=1)


@dataclass(frozen=True)
class Optimum:
    """Where the best of the searches ended."""

    logs: Vector
    loss: float
    agreed: int
    """Searches that ended at this loss, the best one included."""
    tried: int
    """Searches."""


def search(problem: Problem, begin: Sequence[Vector] | None = None) -> Optimum:
    """The least loss found from each of `begin` (None: from `starts`, round by round until two
    searches agree); the same input gives the same result.

    Imports scipy. Searches end within the bounds, never outside.
    """
    if begin is not None:
        return _best([_descent(problem, start) for start in begin])
    ends = [_descent(problem, problem.start)]
    for number in range(ROUNDS):
        ends += [_descent(problem, start) for start in starts(problem, number)]
        if _best(ends).agreed > 1:
            break
    return _best(ends)


def _descent(problem: Problem, start: Vector) -> tuple[float, Vector]:
    """Loss and place where one search ends."""
    from scipy.optimize import least_squares

    inside = (problem.high - problem.low) * _INSIDE
    found = least_squares(
        problem.errors,
        np.clip(start, problem.low + inside, problem.high - inside),
        jac=problem.jacobian,
        bounds=(problem.low, problem.high),
        loss=_weighted_soft_l1(problem.weights),
        f_scale=KNEE,
        ftol=_TOLERANCE,
        xtol=_TOLERANCE,
        gtol=_FLAT,
        max_nfev=_EVALUATIONS,
    )
    return float(found.cost), np.asarray(found.x, np.float64)


def _best(ends: Sequence[tuple[float, Vector]]) -> Optimum:
    best, logs = min(ends, key=lambda end: end[0])
    agreed = sum(loss <= best * (1.0 + AGREED) + _NOTHING for loss, _ in ends)
    return Optimum(logs, best, agreed, len(ends))


def starts(problem: Problem, number: int = 0) -> list[Vector]:
    """`DRAWS` starts around the problem's own, within the bounds: a Latin hypercube, another one
    for each `number`.

    Latin hypercube (McKay, Beckman and Conover, Technometrics 21, 1979): each number's range is cut
    into as many parts as there are draws, and each part is drawn from once.
    """
    inside = (problem.high - problem.low) * _INSIDE
    low = np.maximum(problem.start - np.log(REACH), problem.low + inside)
    high = np.minimum(problem.start + np.log(REACH), problem.high - inside)
    rng = np.random.default_rng(number)
    parts = np.stack([rng.permutation(DRAWS) for _ in problem.start], axis=1)
    shares = (parts + rng.random(parts.shape)) / DRAWS
    return list(low + shares * (high - low))


def _weighted_soft_l1(weights: Vector) -> Callable[[Vector], Vector]:
    """scipy's `soft_l1` times the weight of each point: value, first and second derivative in the
    squared error, shape (3, m)."""

    def loss(squares: Vector) -> Vector:
        root = np.sqrt(1.0 + squares)
        return weights * np.stack([2.0 * (root - 1.0), 1.0 / root, -0.5 / root**3])

    return loss
