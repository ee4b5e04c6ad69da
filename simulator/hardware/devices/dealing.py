"""Threads that take ranges of rows one after the other, as long as there are any.

A row that many lookups name lies in one range, and one thread does all of them: however many
threads there are, an operator takes no less than its hottest row.
"""

from __future__ import annotations

import heapq

from simulator.columns import by_element

__all__ = ["ranges_of", "slowest_ps"]


def ranges_of(rows: int, range_bits: int) -> int:
    """Ranges that `rows` rows are split into by the leading `range_bits` bits of their numbers.

    Numbers have as many bits as the last one needs, so that at least half of the 2^`range_bits`
    ranges have rows. 0 rows: nobody says how many there are, and all have.
    """
    bits = max(0, rows - 1).bit_length()
    if not rows:
        return 1 << range_bits
    return ((rows - 1) >> max(0, bits - range_bits)) + 1


@by_element
def slowest_ps(threads: int, ranges: int, whole_ps: float, *hottest_ps: float) -> float:
    """When the last of `threads` ends that share `whole_ps` of work, dealt in `ranges` ranges.

    `hottest_ps`: what of it belongs to the hottest row of each table, which lies in the middle of
    the table's ranges; the rest is the same in every range. A thread that is done takes the next
    range (list scheduling: Graham, Bell System Technical Journal 45, 1966).
    """
    hot = [0.0] * ranges
    for table, ps in enumerate(hottest_ps):
        hot[(2 * table + 1) * ranges // (2 * len(hottest_ps))] += ps
    each_ps = max(0.0, whole_ps - sum(hottest_ps)) / ranges
    free_at = [0.0] * threads
    for ps in hot:
        heapq.heapreplace(free_at, free_at[0] + each_ps + ps)
    return max(free_at)
