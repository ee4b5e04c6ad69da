"""A Fenwick tree (binary indexed tree) in an int64 array: prefix sums in O(log n), compiled.

Element i of n stands in `tree` of length n + 1; see Fenwick (1994).
"""

from __future__ import annotations

from simulator._compiled import compiled
from simulator.traces.base import Ids

__all__ = ["add", "find", "prefix"]


@compiled
def add(tree: Ids, index: int, value: int) -> None:
    """Add `value` to element `index`."""
    i = index + 1
    while i < len(tree):
        tree[i] += value
        i += i & -i


@compiled
def prefix(tree: Ids, count: int) -> int:
    """Sum of the first `count` elements."""
    total = 0
    i = count
    while i > 0:
        total += tree[i]
        i -= i & -i
    return total


@compiled
def find(tree: Ids, target: int) -> int:
    """The element in which the running sum of non-negative elements passes `target` (from 0)."""
    position, step = 0, 1
    while step * 2 < len(tree):
        step *= 2
    left = target
    while step > 0:
        if position + step < len(tree) and tree[position + step] <= left:
            position += step
            left -= tree[position]
        step >>= 1
    return position
