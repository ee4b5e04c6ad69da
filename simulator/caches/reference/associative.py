"""The set-associative cache as FBGEMM's kernels read: lists, dicts and lock counters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from simulator.caches.plan.associative_kernels import NEVER
from simulator.caches.plan.counted_sets import place_of

__all__ = ["ReferenceAssociative", "reference_fill", "reference_set"]

_MASK = (1 << 64) - 1


def reference_set(row: int, sets: int) -> int:
    """The finaliser of MurmurHash3, modulo the sets."""
    h = row & _MASK
    h = ((h ^ (h >> 33)) * 0xFF51AFD7ED558CCD) & _MASK
    h = ((h ^ (h >> 33)) * 0xC4CEB9FE1A85EC53) & _MASK
    return (h ^ (h >> 33)) % sets


def reference_fill(counts: Sequence[int], sets: int, ways: int) -> list[list[int]]:
    """Rows of each set, the one with the highest count first, of equal ones that with the lowest
    place (`counted_sets.place_of`), then number; rows without a lookup are nowhere."""
    order = sorted(
        (row for row, count in enumerate(counts) if count),
        key=lambda row: (-counts[row], place_of(row), row),
    )
    held = [[row for row in order if reference_set(row, sets) == own] for own in range(sets)]
    return [rows[:ways] for rows in held]


@dataclass
class ReferenceAssociative:
    """Slots by set; `locks`: of each slot, +1 when a mini-batch is loaded, -1 when `unlock`ed."""

    sets: int
    ways: int
    algorithm: str = "lru"
    tags: list[int | None] = field(default_factory=list)
    stamps: list[int] = field(default_factory=list)
    locks: Counter[int] = field(default_factory=Counter)
    counts: Counter[int] = field(default_factory=Counter)
    time: int = 0

    def __post_init__(self) -> None:
        self.tags = [None] * (self.sets * self.ways)
        self.stamps = [NEVER] * (self.sets * self.ways)

    def slot_of(self, row: int) -> int | None:
        """Where a row is."""
        return self.tags.index(row) if row in self.tags else None

    def load(self, rows: Mapping[int, int], *, lock: bool = False) -> tuple[set[int], list[int]]:
        """Load rows with their lookups; the rows that came in, and those that left, sorted."""
        self.time += 1
        hits = [row for row in rows if row in self.tags]
        self.counts.update(rows)
        for row in hits:
            self._use(row, lock)
        missing = [row for row in rows if row not in hits]
        came: set[int] = set()
        left: list[int] = []
        for own in {reference_set(row, self.sets) for row in missing}:
            wanting = [row for row in missing if reference_set(row, self.sets) == own]
            self._fill_set(own, wanting, came, left)
        for row in came:
            self._use(row, lock)
        return came, sorted(left)

    def unlock(self, rows: list[int]) -> None:
        """Rows of a mini-batch that has trained may leave."""
        for row in rows:
            if row in self.tags:
                self.locks[self.tags.index(row)] -= 1

    def _use(self, row: int, lock: bool) -> None:
        slot = self.tags.index(row)
        self.stamps[slot] = self.time
        self.locks[slot] += lock

    def _fill_set(self, own: int, wanting: list[int], came: set[int], left: list[int]) -> None:
        slots = [
            slot
            for slot in sorted(range(own * self.ways, (own + 1) * self.ways), key=self._mark)
            if not self.locks[slot]
        ]
        order = sorted(wanting, key=lambda row: (-self.counts[row] if self._lfu else 0, row))
        for slot, row in zip(slots, order, strict=False):
            stop = self.counts[row] if self._lfu else self.time - 1
            if self._mark(slot)[0] > stop:
                break
            if (victim := self.tags[slot]) is not None:
                left.append(victim)
            self.tags[slot] = row
            came.add(row)

    @property
    def _lfu(self) -> bool:
        return self.algorithm == "lfu"

    def _mark(self, slot: int) -> tuple[int, int]:
        row = self.tags[slot]
        if row is None:
            return NEVER, slot
        return (self.counts[row] if self._lfu else self.stamps[slot]), slot
