"""Whether numbers of consecutive mini-batches stay where they are: a test of their slope.

A line is fitted by least squares. The numbers move where its slope is significant (two-sided
Student t test at 0.1 %, the residuals taken to be independent) *and* the line changes by more than
2 % of the mean from the first number to the last: a long run finds slopes that matter to nobody.
Ignored: residuals that depend on each other (a trace with a period longer than the run looks like
a trend, and is one for the run).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["FEWEST", "LEAST_CHANGE", "Trend", "trend_of"]

FEWEST = 6
"""Numbers below which nothing is said: with less than four degrees of freedom no slope of interest
is significant."""
LEAST_CHANGE = 0.02
_Z = 3.290527
"""Two-sided 0.1 % point of the normal distribution."""
_MOST_T = 1e6
"""In the place of an infinite t: numbers that lie on a line."""


@dataclass(frozen=True, slots=True)
class Trend:
    """A line through numbers of consecutive mini-batches."""

    first_half: float
    """Mean of the first half of them (the middle one of an odd number left out)."""
    second_half: float
    change: float
    """Of the line from the first number to the last, as a share of the mean."""
    t: float
    """Slope over its standard error, at most +-1e6."""
    count: int

    @property
    def moves(self) -> bool:
        """Whether the numbers trend: significantly, and by more than `LEAST_CHANGE`."""
        significant = abs(self.t) > critical_t(self.count - 2)
        return significant and abs(self.change) > LEAST_CHANGE


def trend_of(numbers: Sequence[float]) -> Trend | None:
    """The trend of `numbers`, one a mini-batch; None for fewer than `FEWEST`."""
    y = np.asarray(numbers, np.float64)
    count = len(y)
    if count < FEWEST:
        return None
    x = np.arange(count) - (count - 1) / 2.0
    squares = float(x @ x)
    mean = float(y.mean())
    slope = float(x @ y) / squares
    residuals = y - mean - slope * x
    error = float(np.sqrt(residuals @ residuals / (count - 2) / squares))
    exact = error <= 1e-12 * max(abs(mean), abs(slope))
    t = slope / error if not exact else np.sign(slope) * _MOST_T * (abs(slope) > 1e-12 * abs(mean))
    half = count // 2
    return Trend(
        first_half=float(y[:half].mean()),
        second_half=float(y[-half:].mean()),
        change=slope * (count - 1) / mean if mean else 0.0,
        t=float(np.clip(t, -_MOST_T, _MOST_T)),
        count=count,
    )


def critical_t(freedom: int) -> float:
    """Two-sided 0.1 % point of Student's t with `freedom` degrees (at least 4): within 5 %.

    Cornish-Fisher expansion in 1 / freedom (Abramowitz and Stegun 26.7.5).
    """
    z = _Z
    terms = (
        (z**3 + z) / 4.0,
        (5.0 * z**5 + 16.0 * z**3 + 3.0 * z) / 96.0,
        (3.0 * z**7 + 19.0 * z**5 + 17.0 * z**3 - 15.0 * z) / 384.0,
    )
    return float(z + sum(term / freedom**power for power, term in enumerate(terms, 1)))
