"""What neighbouring mini-batches have in common, in plain Python: sets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

__all__ = ["Overlap", "overlaps"]

Bags = Sequence[Sequence[int]]
"""Rows that a mini-batch looks up in each table."""


class Overlap(NamedTuple):
    """Of one table in one mini-batch: lookups in order, rows as sets, and lookups of both."""

    fresh: list[int]
    again: list[int]
    shared: set[int]
    alone: set[int]
    covered: int
    """Lookups of shared rows."""


def overlaps(batches: Sequence[Bags]) -> list[list[Overlap]]:
    """For each mini-batch and table what it shares with the one before and the next."""
    nothing: Bags = [()] * len(batches[0])
    told = []
    for before, own, after in zip(
        [nothing, *batches[:-1]], batches, [*batches[1:], nothing], strict=True
    ):
        told.append([_overlap(*bags) for bags in zip(before, own, after, strict=True)])
    return told


def _overlap(before: Sequence[int], own: Sequence[int], after: Sequence[int]) -> Overlap:
    shared = set(own) & set(after)
    return Overlap(
        fresh=[row for row in own if row not in set(before)],
        again=[row for row in own if row in set(before)],
        shared=shared,
        alone=set(own) - set(after),
        covered=sum(row in shared for row in own),
    )
