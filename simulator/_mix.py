"""Counter-based random numbers and hashes of integers: SplitMix64 (Steele, Lea and Flood, 2014).

The finaliser is Stafford's variant 13. A stream is the finaliser of a counter times `GOLDEN`, so
any number of it can be drawn without those before it. `mixed` is the finaliser in plain Python
integers, for references; the compiled one must equal it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from simulator._compiled import compiled

__all__ = [
    "FIRST_FACTOR",
    "GOLDEN",
    "SECOND_FACTOR",
    "Word",
    "draw_below",
    "hashed",
    "mix64",
    "mixed",
]

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
"""2**64 divided by the golden ratio, rounded to odd: the step of the stream."""
FIRST_FACTOR = np.uint64(0xBF58476D1CE4E5B9)
SECOND_FACTOR = np.uint64(0x94D049BB133111EB)
_U27, _U30, _U31, _U32 = (np.uint64(bits) for bits in (27, 30, 31, 32))
_ONE = np.uint64(1)
_MASK = (1 << 64) - 1

Word = Any
"""np.uint64, or an array of them, in compiled code."""


@compiled
def mix64(x: Word) -> Word:
    """A bijection of 64-bit integers whose output bits look independent of the input."""
    x = (x ^ (x >> _U30)) * FIRST_FACTOR
    x = (x ^ (x >> _U27)) * SECOND_FACTOR
    return x ^ (x >> _U31)


def mixed(x: int) -> int:
    """`mix64` of a Python integer, of which the lowest 64 bits count."""
    x &= _MASK
    x = ((x ^ (x >> 30)) * int(FIRST_FACTOR)) & _MASK
    x = ((x ^ (x >> 27)) * int(SECOND_FACTOR)) & _MASK
    return x ^ (x >> 31)


@compiled
def hashed(key: int) -> int:
    """A hash of an int64 as a non-negative int64, for tables of a power of two places."""
    return np.int64(mix64(np.uint64(key) + GOLDEN) >> _ONE)  # type: ignore[return-value]


@compiled
def draw_below(state: npt.NDArray[np.uint64], bound: int) -> int:
    """The next integer in [0, bound) of the stream in `state` (shape (1,)), which moves on.

    Upper 32 bits times bound, upper half (bound < 2**30, so the bias is below 2**-2 a billion).
    """
    state[0] += GOLDEN
    drawn = ((mix64(state[0]) >> _U32) * np.uint64(bound)) >> _U32
    return np.int64(drawn)  # type: ignore[return-value]  # int() keeps it unsigned in numba
