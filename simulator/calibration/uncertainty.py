"""How well points decide numbers: standard errors, correlations, condition.

Modelled: the covariance of a robust regression (Huber, Robust Statistics, 1981, section 7.6): what
is left of the errors, bounded as the loss bounds them, spread over the directions in which the
points decide. Weights are importance, not noise, hence the sandwich.

Approximated: errors of points are taken as independent and as large for all points of a block. What
a model gets wrong for many points alike is in no standard error: a number may be known to 2 % as
the constant of a mechanism that is not quite the machine's.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["NOISE", "Uncertainty", "uncertainty"]

Vector = npt.NDArray[np.float64]

NOISE = 0.01
"""Relative noise of a point at least; assumed: medians of repeats on an idle machine differ by
about 1 %, however well a model happens to go through a few of them."""
_DEAD = 1e-6
"""Elasticity below which a number has no influence."""
_FLAT = 1e-12


@dataclass(frozen=True)
class Uncertainty:
    """Of n numbers, in relative terms."""

    errors: Vector
    """Standard error of each, shape (n,): 0.04 is 4 %; infinite without influence."""
    correlations: Vector
    """Between the numbers, shape (n, n); 0 where one has no influence."""
    condition: float
    """Largest over smallest singular value of the Jacobian with columns of length 1: how nearly
    numbers can stand in for each other."""

    def partner(self, index: int) -> tuple[int, float]:
        """The number that one is most correlated with, and how much (itself, 0 where alone)."""
        others = np.abs(self.correlations[index]).copy()
        others[index] = -1.0
        best = int(np.argmax(others))
        return (best, float(self.correlations[index, best])) if len(others) > 1 else (index, 0.0)


def uncertainty(jacobian: Vector, errors: Vector, weights: Vector, knee: float) -> Uncertainty:
    """Of a fit whose log errors (m,) change with the logarithms of n numbers by `jacobian` (m, n).

    `weights`: of the points, shape (m,). `knee`: where the loss turns linear.
    """
    rooted = np.sqrt(weights)[:, None] * jacobian
    lengths = np.sqrt((rooted**2).sum(axis=0))
    alive = lengths > _DEAD * np.sqrt(weights.sum())
    n = jacobian.shape[1]
    deviations = np.full(n, np.inf)
    correlations = np.eye(n)
    if not alive.any():
        return Uncertainty(deviations, correlations, np.inf)
    scaled = rooted[:, alive] / lengths[alive]
    _, values, vectors = np.linalg.svd(scaled, full_matrices=False)
    inverse = (vectors.T / np.maximum(values, _FLAT) ** 2) @ vectors
    half = inverse @ (np.sqrt(weights)[:, None] * scaled).T
    spread = half @ half.T * _variance(errors, int(alive.sum()), knee)
    root = np.sqrt(np.diag(spread))
    deviations[alive] = root / lengths[alive]
    correlations[np.ix_(alive, alive)] = spread / np.outer(root, root)
    smallest = values[-1] if len(values) == alive.sum() else 0.0
    return Uncertainty(
        deviations, correlations, float(values[0] / smallest) if smallest > _FLAT else np.inf
    )


def _variance(errors: Vector, numbers: int, knee: float) -> float:
    """Variance of a point's error as the loss sees it: of the bounded errors, with `numbers`
    degrees of freedom spent, over the squared share of points that still pull."""
    root = np.sqrt(1.0 + (errors / knee) ** 2)
    bounded = float(((errors / root) ** 2).sum()) / max(1, len(errors) - numbers)
    pull = float((root**-3).mean())
    return max(NOISE**2, bounded / pull**2)
