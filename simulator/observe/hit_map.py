"""ScratchPipe's Hit-Map on the accelerator: dense, row to slot, with the last use of every slot."""

from __future__ import annotations

from typing import Any

from simulator.observe.accelerator import Accelerator

__all__ = ["HitMap"]


class HitMap:
    """`slot_of[row]` int32 (-1: not cached), kept by others too; `age[slot]` of `slots` slots."""

    def __init__(self, gpu: Accelerator, slot_of: Any, slots: int, lookups: int) -> None:
        self._gpu = gpu
        self.slot_of = slot_of
        self.age = gpu.empty((slots,), "int32")
        self._winner = gpu.empty((len(slot_of),), "int32")
        self._missed = gpu.empty((lookups,), "int64")
        self._idle = gpu.empty((1,), "int32")

    def plan(self, ids: Any, lists: Any, slots: Any, counts: Any, number: int) -> None:
        """One mini-batch: find unique and missed ids (added to `counts`), read every slot's age,
        drop `lists.victim_rows`, add `lists.missed_rows`, and give each lookup its slot."""
        gpu = self._gpu
        gpu.find_missed(ids, self.slot_of, self._winner, self._missed, counts)
        gpu.count_idle(self.age, self._idle, number - 3)
        gpu.put(self.slot_of, lists.victim_rows, -1)
        gpu.put(self.slot_of, lists.missed_rows, lists.missed_slots)
        gpu.touch(ids, self.slot_of, self.age, slots, number)
