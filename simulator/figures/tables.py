"""Rows of tables for people who read them one by one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["rows_of"]


def rows_of(data: pd.DataFrame) -> Iterator[Any]:
    """Each row as a named tuple; a cell may hold anything, so its type is open."""
    yield from data.itertuples(index=False)
