"""Ranges of rows by the leading bits of their numbers, and how lookups fall on them.

Software that sorts by leading bits first (most-significant-digit radix partition) deals such ranges
to threads. Rows of all tables are numbered together, table after table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
import numpy.typing as npt

__all__ = ["Ranges", "by_range", "ranges_of"]

Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Ranges:
    """Lookups of each range of `among` rows, in the order of their numbers."""

    among: int
    lookups: tuple[int, ...]

    def __add__(self, other: Ranges) -> Ranges:
        """Of both; ranges of the same rows."""
        return Ranges(self.among, tuple(map(sum, zip(self.lookups, other.lookups, strict=True))))

    def in_fewer(self, ranges: int) -> tuple[int, ...] | None:
        """Lookups of the `ranges` ranges that fewer leading bits tell apart; None: no bits do."""
        counts = self.lookups
        while len(counts) > ranges:
            counts = tuple(sum(counts[k : k + 2]) for k in range(0, len(counts), 2))
        return counts if len(counts) == ranges else None


def ranges_of(rows: int, range_bits: int) -> int:
    """Ranges that `rows` rows are split into by the leading `range_bits` bits of their numbers.

    Numbers have as many bits as the last one needs, so that at least half of the 2^`range_bits`
    ranges have rows. 0 rows: nobody says how many there are, and all have.
    """
    return ((rows - 1) >> _shift(rows, range_bits)) + 1 if rows else 1 << range_bits


def _shift(rows: int, range_bits: int) -> int:
    """Bits of a row's number behind those that tell its range."""
    return max(0, max(0, rows - 1).bit_length() - range_bits)


def by_range(ids: Sequence[Int64s], rows: Sequence[int], range_bits: int) -> tuple[Ranges, ...]:
    """How the lookups `ids` of each table of `rows` rows fall on the ranges of all rows."""
    among = sum(rows)
    shift, ranges = _shift(among, range_bits), ranges_of(among, range_bits)
    starts = accumulate(rows, initial=0)
    counts = (
        np.bincount((own + start) >> shift, minlength=ranges)
        for own, start in zip(ids, starts, strict=False)
    )
    return tuple(Ranges(among, tuple(each.tolist())) for each in counts)
