"""Tables of the words of a compiled run: what a record of each holds, and which words name records
of others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from simulator.columns import Column
from simulator.engine import memory
from simulator.engine.memory import Int64s

__all__ = ["ADDRESSES", "BY_BATCH", "ENDED", "LOSS_RECORD", "RESOURCE_RECORD", "fill", "records_of"]

_INT, _FLOAT = np.dtype(np.int64), np.dtype(np.float64)


def _record(integers: int, floats: int, events: int = 0) -> np.dtype[Any]:
    """Integers, then floats, then events that nobody waits for yet."""
    kinds = [_INT] * integers + [_FLOAT] * floats + [_INT] * memory.EVENT_SIZE * events
    return np.dtype([(f"word{k}", kind) for k, kind in enumerate(kinds)])


_STAGE, _LANE, _OP = _record(7, 0, 3), _record(2, 0), _record(12, 1, 3)
_SERVICE, _FETCHED, _LOADED = _record(1, 7), _record(1, 1), _record(1, 3)
RESOURCE_RECORD, LOSS_RECORD = _record(5, 9), _record(0, 2)
_NUMBER = _record(1, 0)
BY_BATCH = {
    "STAGES": _STAGE,
    "LANES": _LANE,
    "OPS": _OP,
    "SERVICES": _SERVICE,
    "FETCHED": _FETCHED,
    "LOADED": _LOADED,
    "WAITS": _NUMBER,
    "GROUPS": _NUMBER,
    "TURNS": _NUMBER,
}
"""Tables of records that mini-batches have of their own."""

ENDED = ("STAGES", "OPS", "LANES", "GROUPS")
"""Tables with a record behind the last: where what comes after it would begin."""


ADDRESSES = {
    "STAGES": {memory.LANE: "LANES", memory.GROUP: "GROUPS", memory.BEFORE: "BEFORES"},
    "LANES": {memory.OP: "OPS", memory.BLOCK_OP: "OPS"},
    "OPS": {
        memory.HOST: "RESOURCES",
        memory.POOL: "RESOURCES",
        memory.FIRST_SERVICE: "SERVICES",
        memory.FIRST_FETCHED: "FETCHED",
        memory.FIRST_LOADED: "LOADED",
        memory.FIRST_WAIT: "WAITS",
    },
    "SERVICES": {memory.RESOURCE: "RESOURCES"},
    "FETCHED": {memory.BEHIND: "RESOURCES"},
    "LOADED": {memory.LOADS: "RESOURCES"},
    "WAITS": {0: "OPS"},
    "GROUPS": {0: "TURNS"},
    "TURNS": {0: "OPS"},
    "RESOURCES": {memory.FIRST_LOSS: "LOSSES"},
}
"""Words of records that name others."""


def fill(
    words: Int64s, rows: Sequence[tuple[Any, ...]], record: np.dtype[Any], some: slice
) -> None:
    """Put rows of each of several mini-batches into `words`: int64, shape (mini-batches, rows,
    words); `some`: which mini-batches of columns these are."""
    kinds = [kind for kind, *_ in (record.fields or {}).values()]
    spare = (0,) * (len(kinds) - len(rows[0]))
    plain = [
        (*(0 if isinstance(value, Column) else value for value in row), *spare) for row in rows
    ]
    words[:] = records_of(plain, record)
    for number, row in enumerate(rows):
        for word, value in enumerate(row):
            if isinstance(value, Column):
                values = np.ascontiguousarray(value.values[some], kinds[word])
                words[:, number, word] = values.view(np.int64)


def records_of(rows: Sequence[tuple[Any, ...]], record: np.dtype[Any]) -> Int64s:
    """Rows as words: int64, shape (rows, words)."""
    return np.array(rows, record).view(np.int64).reshape(len(rows), record.itemsize // 8)
