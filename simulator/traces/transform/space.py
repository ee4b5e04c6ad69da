"""SPACE's pairs (ISCA 2021), as the artifact of GRACE has them: of the most popular rows, all."""

from __future__ import annotations

import math

import numpy as np

from simulator.traces.transform.graph import Together

__all__ = ["popular_rows"]


def popular_rows(together: Together, extra: int) -> tuple[int, ...]:
    """The rows that most bags look up, the first of them first, as many as have `extra` pairs at
    most; ties by lower row. (SPACE's sqrt(2 h n), where no memory is set aside for copies of single
    rows.)"""
    most = (1 + math.isqrt(1 + 8 * extra)) // 2
    order = np.argsort(-together.counts, kind="stable")[: most if most > 1 else 0]
    return tuple(together.items[order].tolist())
