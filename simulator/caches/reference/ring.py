"""Rows of three mini-batches in a ring of buffers, in plain Python: sets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

__all__ = ["Filled", "filled"]


class Filled(NamedTuple):
    """Where the distinct rows of one mini-batch in one table come from, and its lookups of rows
    that the mini-batch before looks up too."""

    fetched: set[int]
    previous: set[int]
    old: set[int]
    again: list[int]


def filled(batches: Sequence[Sequence[int]]) -> list[Filled]:
    """Of one table, mini-batch by mini-batch; `batches`: rows that each looks up."""
    told = []
    for index, own in enumerate(batches):
        previous = set(batches[index - 1]) if index else set()
        old = set(batches[index - 2]) - previous if index > 1 else set()
        rows = set(own)
        told.append(
            Filled(
                fetched=rows - previous - old,
                previous=rows & previous,
                old=rows & old,
                again=[row for row in own if row in previous],
            )
        )
    return told
