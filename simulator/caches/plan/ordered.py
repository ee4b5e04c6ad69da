"""Distinct numbers in ascending order, sorted by digits."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from simulator._compiled import compiled
from simulator._threads import map_threads

__all__ = ["DIGIT", "order_by_digit", "scattered", "sorted_distinct"]

Int64s = npt.NDArray[np.int64]

DIGIT = 11
"""Bits of a pass of the sort: a histogram that stays in the first-level cache."""


def scattered(
    kinds: int,
    threads: int,
    count: Callable[[int, Int64s], None],
    write: Callable[[int, Int64s], None],
) -> Int64s:
    """Put things in order of their kind on `threads`, each of which takes a part of them; a stable
    order, whatever their number. How many each part has of each kind: shape (threads, kinds).

    `count(part, sizes)` adds how many a part has of each kind, all 0 before; `write(part, begins)`
    writes them, those of each kind from its place in `begins` on, which is the part's own.
    """
    sizes = np.zeros((threads, kinds), np.int64)
    map_threads(lambda part: count(part, sizes[part]), threads, threads)
    of_kind = sizes.sum(axis=0)
    begins = np.cumsum(of_kind) - of_kind + np.cumsum(sizes, axis=0) - sizes
    map_threads(lambda part: write(part, begins[part]), threads, threads)
    return sizes


@compiled
def order_by_digit(ids: Int64s, shift: int, ordered: Int64s) -> None:
    """Write `ids` to `ordered` by the digit that starts at bit `shift`; a stable order."""
    mask = (1 << DIGIT) - 1
    first = np.zeros(mask + 2, np.int64)
    for k in range(len(ids)):
        first[((ids[k] >> shift) & mask) + 1] += 1
    for digit in range(mask + 1):
        first[digit + 1] += first[digit]
    for k in range(len(ids)):
        digit = (ids[k] >> shift) & mask
        ordered[first[digit]] = ids[k]
        first[digit] += 1


@compiled
def drop_repeated(ordered: Int64s) -> int:
    """Keep the first of equal neighbours, at the front; returns how many are left."""
    count = 0
    for k in range(len(ordered)):
        if k == 0 or ordered[k] != ordered[k - 1]:
            ordered[count] = ordered[k]
            count += 1
    return count


def sorted_distinct(ids: Int64s) -> Int64s:
    """`numpy.unique` of `ids`, none of them negative, in a pass for each digit that they have."""
    ordered, other = ids, np.empty(len(ids), np.int64)
    spare = np.empty(len(ids), np.int64)
    for shift in range(0, int(ids.max(initial=0)).bit_length(), DIGIT):
        order_by_digit(ordered, shift, other)
        ordered, other = other, spare if ordered is ids else ordered
    if ordered is ids:  # no number but 0
        ordered = ids.copy()
    return ordered[: drop_repeated(ordered)]
