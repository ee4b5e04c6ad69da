"""How much memory a table with an entry a row may take; beyond that, state is hashed.

Answers never depend on it, only speed and memory do: indexing by row is faster, an entry for each
row at hand is smaller where the rows are many. All three are assumed affordable.
"""

from __future__ import annotations

__all__ = ["DIRECT_IDS", "HIT_MAP_BYTES", "SIDE_MAP_BYTES", "WORD_BYTES", "fits"]

WORD_BYTES = 8
"""A state word of a row."""

HIT_MAP_BYTES = 2 << 30
"""State words of all pools of a run together: a quarter of 8 GiB."""

SIDE_MAP_BYTES = 512 << 20
"""A second map beside the Hit-Map of a pool: of next uses, of rows that were evicted."""

DIRECT_IDS = 1 << 24
"""Ids of a trace of unknown rows index tables directly below this (up to 20 bytes an id)."""


def fits(rows: int, budget_bytes: int) -> bool:
    """Whether a word for each of `rows` rows keeps within the budget."""
    return WORD_BYTES * rows <= budget_bytes
