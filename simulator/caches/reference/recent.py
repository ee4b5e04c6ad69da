"""A ring of buffers in plain Python: a dict a buffer."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["ReferenceRecent"]


@dataclass
class ReferenceRecent:
    """`rings`: row -> slot of the last mini-batches, oldest first."""

    buffers: int
    size: int
    rings: list[dict[int, int]] = field(default_factory=list)
    batches: int = 0

    def load(self, rows: list[int]) -> tuple[list[int], list[int]]:
        """Slots of the rows, and the newest earlier copy of each, -1: none."""
        newest = [
            next((ring[row] for ring in reversed(self.rings) if row in ring), -1) for row in rows
        ]
        first = self.batches % self.buffers * self.size
        own = {row: first + k for k, row in enumerate(rows)}
        self.rings = [*self.rings, own][1 - self.buffers :] if self.buffers > 1 else []
        self.batches += 1
        return list(own.values()), newest
