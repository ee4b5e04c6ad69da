"""The words of lookups that run ahead of updates: rows are read before the mini-batch before has
updated them, and what it changed them by is added to what was read.

As in `program`: data, without time.
"""

from __future__ import annotations

from dataclasses import dataclass

from simulator.caches.facts import Flow
from simulator.hardware.program import Buffer, Operation, Pool, Store

__all__ = ["Amend", "EarlyPool"]


@dataclass(frozen=True, slots=True)
class EarlyPool(Pool):
    """A gather-reduce that may read rows which the mini-batch before has yet to update: an `Amend`
    brings its sums up to date before they are used."""


@dataclass(frozen=True, slots=True)
class Amend(Operation):
    """Add what the update of the mini-batch before changed rows by, to the pooled vectors of early
    lookups and, where `copies` says so, to copies of the rows.

    `rows`: lookups whose rows the mini-batch before updates, and how many rows; where copies are
    changed, `copied` are those rows and where they lie.
    """

    rows: Flow
    into: Buffer
    """The pooled vectors."""
    row_bytes: int
    copies: Store | None = None
    copied: Flow | None = None
