"""Tensor-trains: tables as products of small cores, and the word that makes rows out of them.

As in `program`: data, without time. The rows of a table are numbered in three digits and so are the
elements of a row; three cores have a small matrix for each pair of digits, whose product is an
element (Yin et al., "TT-Rec", MLSys 2021). That approximates a trained table.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product

from simulator.caches.facts import Flow
from simulator.hardware.program import GRADIENT_BYTES, Buffer, Operation

__all__ = ["Rebuild", "TensorTrain", "factors"]


@dataclass(frozen=True, slots=True)
class Rebuild(Operation):
    """Make a row for each lookup out of tensor-train cores, and add it to the pooled vectors."""

    rows: Flow
    into: Buffer
    row_bytes: int
    flops: int
    """Of a row."""


def factors(dim: int) -> tuple[int, int, int]:
    """Three numbers, the smallest first, whose product is `dim` and whose sum is least."""
    divisors = [n for n in range(1, dim + 1) if dim % n == 0]
    shapes = ((a, b, dim // (a * b)) for a, b in product(divisors, repeat=2) if dim % (a * b) == 0)
    return min((tuple(sorted(shape)) for shape in shapes), key=lambda s: (sum(s), s))  # type: ignore[return-value]


@dataclass(frozen=True)
class TensorTrain:
    """`rows` rows of `dim` fp32 elements in three cores of equal `rank`."""

    rows: int
    dim: int
    rank: int

    @property
    def bytes(self) -> int:
        """Of the cores: rows in three digits of equal base, the least that names all of them."""
        base = round(math.cbrt(self.rows))
        base += base**3 < self.rows
        first, middle, last = factors(self.dim)
        elements = base * self.rank * (first + self.rank * middle + last)
        return GRADIENT_BYTES * elements

    @property
    def flops(self) -> int:
        """To make one row: the first two matrices of each pair of elements, then the third."""
        first, middle, last = factors(self.dim)
        return 2 * first * middle * self.rank * (self.rank + last)
