"""Threads that take ranges of rows one after the other, as long as there are any.

A row that many lookups name lies in one range, and one thread does all of them: however many
threads there are, an operator takes no less than its hottest row.
"""

from __future__ import annotations

import heapq

from simulator.columns import by_element

__all__ = ["hot_rows_in", "slowest_ps"]


@by_element
def slowest_ps(threads: int, even_ps: float, *own_ps: float) -> float:
    """When the last of `threads` ends that take ranges of work one after the other.

    `own_ps`: of each range, in the order in which they are taken; `even_ps`: beside that, the same
    in each of them. A thread that is done takes the next range (list scheduling: Graham, Bell
    System Technical Journal 45, 1966).
    """
    free_at = [0.0] * threads
    for ps in own_ps:
        heapq.heapreplace(free_at, free_at[0] + even_ps + ps)
    return max(free_at)


def hot_rows_in(ranges: int, hottest: tuple[int, ...]) -> list[int]:
    """Lookups of the hottest row of each table, range by range, where nobody counted by range: it
    is taken to lie in the middle of the table's ranges, and the rest is the same in every range."""
    counts = [0] * ranges
    for table, lookups in enumerate(hottest):
        counts[(2 * table + 1) * ranges // (2 * len(hottest))] += lookups
    return counts
