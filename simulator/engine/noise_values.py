"""Private training on values: one stands in the place of every draw of noise.

A row then has as many ones as mini-batches whose noise it has: all of them where noise is dense,
those that looked it up where it is not. A row that lags behind (`Noise.history`) gets all that it
lacks at once, and at the end of a run, before its tables are compared, so does every row: the final
flush.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from simulator.hardware.noise import Noise
from simulator.hardware.program import Stage

__all__ = ["NoiseKind", "lacking", "noise_of", "wanted_ones"]

Int64s = npt.NDArray[np.int64]
Values = npt.NDArray[np.uint64]

NoiseKind = Literal["none", "looked_up", "dense"]
"""Rows that get noise in a mini-batch: none, those that it looks up, or all."""


def noise_of(programs: Sequence[Sequence[Stage]]) -> tuple[NoiseKind, bool]:
    """What noise programs add, and whether rows may lag behind with it until the end."""
    words = [w for stages in programs for s in stages for w in s.operations if isinstance(w, Noise)]
    history = any(word.history for word in words)
    if history or any(word.every_row for word in words):
        return "dense", history
    return ("looked_up" if words else "none"), False


def lacking(word: Noise, batch: int, ones: Int64s) -> Int64s:
    """Ones that `word` of mini-batch `batch` adds to rows that have `ones`, int64 alike."""
    if not word.history:
        return np.ones_like(ones)
    return np.maximum(0, batch + (not word.before) - ones)


def wanted_ones(kind: NoiseKind, batch: int, ones: Int64s) -> Int64s:
    """Ones that rows must have when `batch` pools them; those that they have where it is not said
    by the mini-batch alone."""
    return np.full_like(ones, batch) if kind == "dense" else ones
