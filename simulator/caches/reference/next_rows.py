"""Rows of the next mini-batch in plain Python: sets."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["next_rows"]

Bags = Sequence[Sequence[int]]
"""Rows that a mini-batch looks up in each table."""


def next_rows(batches: Sequence[Bags]) -> list[list[tuple[set[int], set[int]]]]:
    """For each mini-batch and table the rows of the next one, and those of them that this one does
    not look up; none for the last."""
    told = []
    for own, coming in zip(batches, [*batches[1:], [()] * len(batches[0])], strict=True):
        pairs = zip(map(set, own), map(set, coming), strict=True)
        told.append([(after, after - rows) for rows, after in pairs])
    return told
