"""Records of mini-batches for a compiled run, and the room that those of a whole run take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from simulator.engine import memory
from simulator.engine.memory import Int64s
from simulator.engine.together import Groups
from simulator.engine.word_tables import BY_BATCH

__all__ = ["Block", "FullError", "Room", "Rows"]


class Rows(Protocol):
    """Records of a mini-batch, or with columns of a group of them, table by table."""

    rows: dict[str, list[tuple[Any, ...]]]


@dataclass(frozen=True)
class Block:
    """Records of mini-batches that follow each other: `lists` of each group of them."""

    groups: Groups
    lists: Sequence[Rows]

    @cached_property
    def batches(self) -> int:
        """Mini-batches of it."""
        return sum(map(len, self.groups))

    @cached_property
    def starts(self) -> dict[str, Int64s]:
        """The first record of each mini-batch in each of its tables, and the number of all: int64,
        shape (mini-batches + 1,)."""
        starts = {}
        for name in BY_BATCH:
            sizes = np.zeros(self.batches + 1, np.int64)
            for group, own in zip(self.groups, self.lists, strict=True):
                sizes[group + 1] = len(own.rows[name])
            starts[name] = np.cumsum(sizes)
        return starts

    @cached_property
    def of_operation(self) -> tuple[int, int]:
        """Services, and resources that it loads, of an operation at most."""
        most = []
        for word, name in ((memory.FIRST_SERVICE, "SERVICES"), (memory.FIRST_LOADED, "LOADED")):
            rows = (own.rows for own in self.lists)
            ends = ([*(op[word] for op in own["OPS"]), len(own[name])] for own in rows)
            most.append(max(int(np.diff(each).max(initial=0)) for each in ends))
        return most[0], most[1]


class FullError(Exception):
    """A mini-batch has more records than there is room for."""


@dataclass(frozen=True)
class Room:
    """Records of a run at most, by table; services, and resources that it loads, of an
    operation."""

    records: Mapping[str, int]
    of_operation: tuple[int, int]

    @classmethod
    def of(cls, first: Block, batches: int, more: int) -> Room:
        """Room for `batches` mini-batches, of which the `first` are there: just that where these
        are all, else for `more` times twice the records of the largest. Room that nobody writes to
        takes no memory."""
        starts, of_operation = first.starts, first.of_operation
        if first.batches == batches:
            return cls({name: int(each[-1]) for name, each in starts.items()}, of_operation)
        most = {name: int(np.diff(each).max()) for name, each in starts.items()}
        records = {name: 2 * more * (1 + each) * batches for name, each in most.items()}
        records["STAGES"] = most["STAGES"] * batches
        services, loaded = (2 * more * (1 + each) for each in of_operation)
        return cls(records, (services, loaded))

    def require(self, block: Block, ends: Mapping[str, int]) -> None:
        """Raise `FullError` where the records of a block do not fit; `ends`: of its tables."""
        fits = all(end <= self.records[name] for name, end in ends.items())
        pairs = zip(block.of_operation, self.of_operation, strict=True)
        if not fits or any(own > most for own, most in pairs):
            raise FullError
