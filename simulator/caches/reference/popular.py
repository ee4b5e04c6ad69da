"""FAE's hot rows and packed mini-batches in plain Python: sets and lists, one sample after the
other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

__all__ = ["Sample", "hot_rows", "packed"]

Sample = tuple[tuple[int, ...], ...]
"""Rows that a sample looks up in each table."""


def hot_rows(samples: Sequence[Sample], rows: Sequence[int], most: int) -> list[set[int]]:
    """The `most` rows of all tables together that are looked up most; ties by table and row."""
    used = Counter((table, row) for s in samples for table, bag in enumerate(s) for row in bag)
    every = [(table, row) for table, count in enumerate(rows) for row in range(count)]
    hottest = sorted(every, key=lambda key: (-used[key], key))[:most]
    return [{row for table, row in hottest if table == own} for own in range(len(rows))]


def packed(
    samples: Sequence[Sample], hot: Sequence[set[int]], size: int, length: int
) -> list[tuple[bool, list[Sample]]]:
    """Mini-batches of `size` samples, hot or not, in rounds of `length`: cold ones first."""
    waiting: dict[bool, list[Sample]] = {True: [], False: []}
    batches: list[tuple[bool, list[Sample]]] = []
    unread = list(samples)
    wanted = (length + 1) * size
    while len(unread) >= wanted:
        _told_apart(unread[:wanted], hot, waiting)
        unread, wanted = unread[wanted:], length * size
        cold = min(length, len(waiting[False]) // size)
        for kind, count in ((False, cold), (True, length - cold)):
            for _ in range(count):
                batches.append((kind, waiting[kind][:size]))
                del waiting[kind][:size]
    _told_apart(unread, hot, waiting)
    whole = len(waiting[True]) // size * size
    last = {False: waiting[False] + waiting[True][whole:], True: waiting[True][:whole]}
    for kind, left in last.items():
        batches += [(kind, left[k : k + size]) for k in range(0, len(left), size)]
    return batches


def _told_apart(
    samples: Sequence[Sample], hot: Sequence[set[int]], waiting: dict[bool, list[Sample]]
) -> None:
    for sample in samples:
        kind = all(set(bag) <= rows for bag, rows in zip(sample, hot, strict=True))
        waiting[kind].append(sample)
