"""How large a cache is asked to be, and how its slots go to pools."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from simulator.errors import ConfigError
from simulator.units import format_bytes

__all__ = ["CacheSize"]


@dataclass(frozen=True, slots=True)
class CacheSize:
    """One of: a share of all rows; rows; bytes of rows that take `entry_bytes` each.

    A share rounds down in each pool. Rows (and as many as fit the bytes) go to the pools in
    proportion to their sizes, the largest remainders first, so that none is lost.
    """

    fraction: float | None = None
    rows: int | None = None
    bytes: int | None = None
    entry_bytes: int = 1
    """Of a row with its optimizer state."""

    @property
    def key(self) -> str:
        """The key of the experiment that gives it."""
        return f"cache.{'fraction' if self._wanted is None else self._unit}"

    def __str__(self) -> str:
        if self.fraction is not None:
            return f"{self.key} {self.fraction:g}"
        if self.bytes is not None:
            return (
                f"{self.key} {format_bytes(self.bytes)} ({self._wanted:,} x {self.entry_bytes} B)"
            )
        return f"{self.key} {self._wanted:,}"

    def slots(self, sizes: Sequence[int], least: int = 1) -> tuple[int, ...]:
        """Slots of pools over `sizes` rows, at least `least` each where a share rounds to less.

        Raises `ConfigError` for more rows than there are, and for fewer than `least` a pool.
        """
        if self._wanted is None:
            share = self.fraction or 0.0
            return tuple(max(least, int(share * size)) for size in sizes)
        total = sum(sizes)
        if self._wanted > total:
            raise ConfigError(
                f"{self} is more than the {total:,} rows of all tables: "
                f"set {self.at_least(total, most=True)}"
            )
        floors = [self._wanted * size // total for size in sizes]
        rests = [self._wanted * size % total for size in sizes]
        by_rest = sorted(range(len(sizes)), key=lambda pool: (-rests[pool], pool))
        for pool in by_rest[: self._wanted - sum(floors)]:
            floors[pool] += 1
        if min(floors) < least:
            need = max(math.ceil(least * total / size) for size in sizes)
            raise ConfigError(f"{self} leaves pools without a slot: set {self.at_least(need)}")
        return tuple(floors)

    def holding(self, need: Sequence[int], sizes: Sequence[int]) -> str:
        """What to set so that every pool over `sizes` rows has the slots that it needs."""
        share = max(n / size for n, size in zip(need, sizes, strict=True))
        if self._wanted is None:
            return f"{self.key} to at least {min(1.0, math.ceil(share * 1e5) / 1e5):g}"
        total = sum(sizes)
        return self.at_least(
            max(-(-n * total // size) for n, size in zip(need, sizes, strict=True))
        )

    def at_least(self, rows: int, *, most: bool = False) -> str:
        """`rows` in the unit that was used, as what to set."""
        bound = "at most" if most else "at least"
        number = f"{rows:,}" if self.bytes is None else f"{rows * self.entry_bytes} B"
        return f"{self.key} to {bound} {number}"

    @property
    def _unit(self) -> str:
        return "rows" if self.bytes is None else "bytes"

    @property
    def _wanted(self) -> int | None:
        """Rows asked for; None where a share is."""
        return self.rows if self.bytes is None else self.bytes // self.entry_bytes
