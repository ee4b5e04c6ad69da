"""A direct-mapped cache in plain Python: a dictionary of places."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["missed"]


def missed(batches: Sequence[Sequence[int]], places: int) -> list[list[int]]:
    """Lookups of each mini-batch, sorted, that find another row at their place, or none."""
    held: dict[int, int] = {}
    told = []
    for rows in batches:
        own = []
        for row in sorted(rows):
            if held.get(row % places) != row:
                own.append(row)
                held[row % places] = row
        told.append(own)
    return told
