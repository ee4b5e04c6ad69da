"""Rows and slots that a mini-batch moves, from the trainer's own planner or from the simulator's.

All tables and pools are in one numbering. With lists of its own, how long they are is known on the
host once the Plan of the mini-batch is done; whatever works on them asks when it is launched.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from simulator.caches.facts import MISS, VICTIM, WRITE_BACK, BatchFacts
from simulator.errors import InvariantError
from simulator.observe.lru import LruCache, LruLists

if TYPE_CHECKING:
    from simulator.observe.accelerator import Accelerator

__all__ = ["LISTED", "GivenLists", "MoveLists", "OwnLists"]

Int64s = npt.NDArray[np.int64]

LISTED = (MISS, WRITE_BACK)
"""Lists that the host gets, by name of their flow."""
_NO_ROWS = np.empty(0, np.int64)


class MoveLists(Protocol):
    """What one mini-batch moves."""

    def count(self, name: str) -> int:
        """Rows on a list of `LISTED`."""

    def here(self, name: str, *, slots: bool) -> Any:
        """Its rows or slots, on the GPU."""

    def send(self, gpu: Accelerator, name: str, target: Any) -> None:
        """Its rows into staging memory; launched after the Plan."""


class GivenLists:
    """What the simulator's planner decided, uploaded before anything is timed."""

    def __init__(self, gpu: Accelerator, facts: BatchFacts) -> None:
        def listed(rows: Int64s | None) -> Any:
            return gpu.upload(_NO_ROWS if rows is None else rows)

        missed, written = facts[MISS], facts[WRITE_BACK]
        self.missed_rows, self.missed_slots = listed(missed.ids), listed(missed.slots)
        self.victim_rows = listed(facts[VICTIM].ids)
        self.write_rows, self.write_slots = listed(written.ids), listed(written.slots)

    def count(self, name: str) -> int:
        return len(self.missed_rows if name == MISS else self.write_rows)

    def here(self, name: str, *, slots: bool) -> Any:
        if name == MISS:
            return self.missed_slots if slots else self.missed_rows
        return self.write_slots if slots else self.write_rows

    def send(self, gpu: Accelerator, name: str, target: Any) -> None:
        rows = self.here(name, slots=False)
        gpu.copy(target[: len(rows)], rows)


class OwnLists:
    """What the GPU's own LRU decides. `room`: rows that staging buffers hold."""

    def __init__(self, cache: LruCache, lists: LruLists, number: int, room: int) -> None:
        self.cache, self.lists = cache, lists
        self._number, self._room = number, room

    def count(self, name: str) -> int:
        """Raises `InvariantError` where the lists cannot be moved."""
        short = self.cache.counted(self._number, "short")
        if short:
            raise InvariantError(
                f"mini-batch {self._number}: the GPU's planner found no slot for {short:,} rows"
            )
        count = self.cache.counted(self._number, _FIELD[name])
        if count > self._room:
            raise InvariantError(
                f"mini-batch {self._number}: the GPU's planner moves {count:,} rows ({name}), the "
                f"simulator's far fewer: there is room for {self._room:,}"
            )
        return count

    def here(self, name: str, *, slots: bool) -> Any:
        lists, count = self.lists, self.count(name)
        if name == MISS:
            return (lists.missed_slots if slots else lists.missed_rows)[:count]
        return (lists.write_slots if slots else lists.write_rows)[:count]

    def send(self, gpu: Accelerator, name: str, target: Any) -> None:
        rows = self.lists.missed_rows if name == MISS else self.lists.write_rows
        gpu.send(self.cache, rows, target, _FIELD[name])


_FIELD = {MISS: "misses", WRITE_BACK: "write_backs"}
