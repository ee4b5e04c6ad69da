"""Checks that hold in every correct simulation; a failure is a bug of the simulator.

Run always: what enters a cache replay comes out of it (`check_counts`). Run with `run.check`:
no device idles while work that it could do waits (in the machine's division of devices).
"""

from __future__ import annotations

from typing import Protocol

from simulator.errors import InvariantError

__all__ = ["Counts", "check_counts"]


class Counts(Protocol):
    """What `check_counts` reads of the counts of a mini-batch."""

    @property
    def index(self) -> int: ...
    @property
    def lookups(self) -> int: ...
    @property
    def unique_rows(self) -> int: ...
    @property
    def lookup_hits(self) -> int: ...
    @property
    def unique_hits(self) -> int: ...
    @property
    def misses(self) -> int: ...
    @property
    def victims(self) -> int: ...
    @property
    def write_backs(self) -> int: ...
    @property
    def cold_misses(self) -> int: ...


def check_counts(counts: Counts) -> None:
    """Hits and misses add up; no count exceeds what it is a part of."""
    parts = (
        ("unique rows <= lookups", counts.unique_rows <= counts.lookups),
        ("lookup hits <= lookups", counts.lookup_hits <= counts.lookups),
        ("unique hits <= lookup hits", counts.unique_hits <= counts.lookup_hits),
        ("cold misses <= misses", counts.cold_misses <= counts.misses),
        ("victims <= misses", counts.victims <= counts.misses),
        ("write-backs <= victims", counts.write_backs <= counts.victims),
    )
    for what, holds in parts:
        if not holds:
            raise InvariantError(f"mini-batch {counts.index}: {what} does not hold: {counts}")
    if counts.unique_hits + counts.misses not in (0, counts.unique_rows):
        raise InvariantError(
            f"mini-batch {counts.index}: {counts.unique_hits} unique hits + {counts.misses} "
            f"misses are not the {counts.unique_rows} unique rows"
        )
