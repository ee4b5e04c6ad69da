"""Mini-batches that a test gives, sample by sample, for replays that need bags."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simulator.traces import MiniBatch


@dataclass(frozen=True)
class GivenBags:
    """A trace of given mini-batches: of each table, the rows of every sample; of the rows every
    `apart`-th is hot, the first ones most."""

    looked_up: list[tuple[list[list[int]], ...]]
    rows: tuple[int, ...]
    apart: int
    past = 0
    has_time_order = False

    @property
    def batches(self) -> int:
        return len(self.looked_up)

    def minibatch(self, index: int) -> MiniBatch:
        bags = self.looked_up[index]
        ids = tuple(np.array([row for bag in own for row in bag], np.int64) for own in bags)
        edges = tuple(np.cumsum([0, *map(len, own)], dtype=np.int64) for own in bags)
        return MiniBatch(index, ids, edges)

    def hottest(self, table: int, count: int, share: float = 1.0) -> np.ndarray:
        return np.arange(0, self.apart * count, self.apart)

    def fingerprint(self) -> str:
        return ""
