"""What the stages of a compiled run wait for, and in which order a host thread submits them: of
some mini-batches at a time."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from simulator.engine.memory import Int64s
from simulator.engine.pipeline import ONE_PROGRAM, Mode, conditions, submitted

__all__ = ["RunOrder"]

_LATE = 1 << 32
"""A mini-batch with others before and behind it, however far its stages look."""


@dataclass(frozen=True)
class RunOrder:
    """The order of a run of `batches` mini-batches of `count` stages each. Stages are told by their
    number in the run: mini-batch x `count` + stage."""

    mode: Mode
    batches: int
    count: int
    waits: tuple[tuple[int, int, int], ...] = ()

    @property
    def one_program(self) -> bool:
        """Whether a host thread submits all stages."""
        return self.mode in ONE_PROGRAM

    def conditions(self, first: int, last: int) -> tuple[Int64s, Int64s]:
        """For each stage of mini-batches `first` to `last` - 1 the first of those that it waits for
        (and the number of all), and those: int64."""
        return (_conditions if first else _from_the_first)(self, first, last)

    def submitted(self) -> Iterator[int]:
        """All stages as a host thread submits them."""
        for batch, stage in submitted(self.mode, self.batches, range(self.count)):
            yield batch * self.count + stage

    def reach(self) -> tuple[int, int, int]:
        """How many mini-batches back, and ahead, those that a stage waits for are at most, and how
        many all stages of a mini-batch wait for."""
        stages = range(self.count)
        told = [conditions(self.mode, self.count, _LATE, stage, self.waits) for stage in stages]
        apart = [batch - _LATE for keys in told for batch, _ in keys]
        return -min(0, *apart), max(0, *apart), len(apart)


def _conditions(order: RunOrder, begin: int, end: int) -> tuple[Int64s, Int64s]:
    first, before = array("q"), array("q")
    for batch in range(begin, end):
        for stage in range(order.count):
            first.append(len(before))
            keys = conditions(order.mode, order.count, batch, stage, order.waits)
            before.extend(b * order.count + s for b, s in keys if b < order.batches)
    first.append(len(before))
    return np.array(first, np.int64), np.array(before, np.int64)


_from_the_first = lru_cache(maxsize=16)(_conditions)
"""Those that a run begins with: of a short one all, which other points have too."""
