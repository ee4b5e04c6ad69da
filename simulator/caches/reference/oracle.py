"""Bagpipe's Oracle Cacher in plain Python, as its code has it: times to live and latest uses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Told", "reference_oracle"]


@dataclass
class Told:
    """What trainers are told of a mini-batch."""

    fetch: set[int]
    keep: dict[int, int]
    """Row -> time to live."""
    now: set[int]
    later: set[int]
    no_sync: set[int]


def reference_oracle(batches: Sequence[Sequence[int]], look_ahead: int) -> list[Told]:
    """`batches`: lookups of each, rows may repeat."""
    ttl: dict[int, int] = {}
    told = []
    for i, lookups in enumerate(batches):
        queue = batches[i : i + look_ahead]
        latest = {row: i + k for k, batch in enumerate(queue) for row in batch}
        unique = set(lookups)
        fetch = {row for row in unique if ttl.get(row, -1) < i}
        keep = {row: latest[row] for row in unique if i < latest[row] <= i + look_ahead}
        ttl |= keep
        following = set(batches[i + 1]) if i + 1 < len(batches) else set()
        now = unique & following
        once = {row for row in unique if list(lookups).count(row) == 1}
        no_sync = {row for row in once - now if latest[row] == i}
        told.append(Told(fetch, keep, now, unique - now - no_sync, no_sync))
    return told
