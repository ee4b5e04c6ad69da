"""cDLRM's cache in plain Python: dicts, one row after the other."""

from __future__ import annotations

from dataclasses import dataclass, field

from simulator._mix import GOLDEN, mixed

__all__ = ["ReferenceWindowed"]


@dataclass
class ReferenceWindowed:
    """`held`: slot -> row."""

    sets: int
    ways: int
    seed: int = 0
    held: dict[int, int] = field(default_factory=dict)
    window: int = 0

    def load(self, rows: list[int]) -> tuple[dict[int, int], list[int]]:
        """Load the rows of a window; who came into which slot, and who left, sorted."""
        hit = {slot for slot, row in self.held.items() if row in rows}
        missing = sorted(set(rows) - set(self.held.values()))
        drawn: dict[int, int] = {}
        for row in missing:
            own = range(row % self.sets * self.ways, (row % self.sets + 1) * self.ways)
            free = [slot for slot in own if slot not in hit]
            if free:
                drawn[free[self._draw(row, len(free))]] = row  # the later one wins
        left = sorted(self.held[slot] for slot in drawn if slot in self.held)
        self.held |= drawn
        self.window += 1
        return {row: slot for slot, row in drawn.items()}, left

    def _draw(self, row: int, ways: int) -> int:
        stream = mixed(self.seed + self.window + int(GOLDEN))
        return ((mixed(stream ^ row) >> 32) * ways) >> 32
