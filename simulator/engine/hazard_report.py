"""What executing a program on values shows: reads that lack an update, updates that are lost."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["HazardReport", "StaleRead"]


@dataclass(frozen=True, slots=True)
class StaleRead:
    """Mini-batch `batch` trained `row` without the update of mini-batch `missing`."""

    batch: int
    row: int
    missing: int
    behind: int | None = field(default=None, compare=False)
    """Mini-batches since the first update that it lacks; None: it read another row's data, or
    updates were counted."""
    lacks: int | None = field(default=None, compare=False)
    """Updates that it lacks; None: they were not counted."""


@dataclass(frozen=True, slots=True)
class HazardReport:
    """What a run on values showed."""

    batches: int
    trained_rows: int
    """Rows read for training, all mini-batches."""
    stale: tuple[StaleRead, ...]
    tables_equal: bool
    """Whether the tables at the end equal those of sequential training, bit for bit."""
    lost: int = 0
    """Updates that the row which a mini-batch updated did not have."""

    @property
    def behind(self) -> int:
        """Most mini-batches that a stale read is behind; 0 where none is."""
        return max((read.behind or 0 for read in self.stale), default=0)

    @property
    def lacking(self) -> int:
        """Most updates that a stale read lacks, where they were counted."""
        return max((read.lacks or 0 for read in self.stale), default=0)
