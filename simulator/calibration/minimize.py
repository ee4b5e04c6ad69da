"""A small deterministic simplex search (Nelder and Mead, The Computer Journal 7, 1965).

Why not least squares by Gauss-Newton: the models are maxima of several limits, so the error has
kinks, and the fits minimise absolute log errors (robust against odd hosts), which has more.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

__all__ = ["minimize"]

Vector = npt.NDArray[np.float64]

_STEP = 0.25
"""Edge of the first simplex, in the logarithm of a parameter."""
_TOLERANCE = 1e-7


def minimize(
    loss: Callable[[Vector], float], start: Vector, *, restarts: int = 3, steps: int = 2000
) -> Vector:
    """The vector near `start` (shape (n,)) where `loss` is least.

    Restarts from the best point with a fresh simplex: a simplex that has collapsed into a kink
    gets out again. Same input, same result.
    """
    best = np.asarray(start, np.float64)
    for restart in range(restarts):
        best = _search(loss, best, _STEP / (1 + restart), steps)
    return best


def _search(loss: Callable[[Vector], float], start: Vector, edge: float, steps: int) -> Vector:
    points = np.vstack([start, start + edge * np.eye(len(start))])
    values = np.array([loss(point) for point in points])
    for _ in range(steps):
        order = np.argsort(values, kind="stable")
        points, values = points[order], values[order]
        if values[-1] - values[0] < _TOLERANCE * (1.0 + abs(values[0])):
            break
        _step(loss, points, values)
    return np.asarray(points[int(np.argmin(values))], np.float64)


def _step(loss: Callable[[Vector], float], points: Vector, values: Vector) -> None:
    """Replace the worst point by its reflection, expansion or contraction, or shrink."""
    centre = points[:-1].mean(axis=0)
    away = centre - points[-1]
    reflected = centre + away
    value = loss(reflected)
    if value < values[0]:
        expanded = centre + 2.0 * away
        further = loss(expanded)
        if further < value:
            reflected, value = expanded, further
    elif value >= values[-2]:
        inside = centre - 0.5 * away if value >= values[-1] else centre + 0.5 * away
        contracted = loss(inside)
        if contracted >= min(value, values[-1]):
            points[1:] = points[0] + 0.5 * (points[1:] - points[0])
            values[1:] = [loss(point) for point in points[1:]]
            return
        reflected, value = inside, contracted
    points[-1], values[-1] = reflected, value
