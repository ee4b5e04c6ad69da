"""From the offsets of bags to their lengths, with or without a last offset."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from simulator.errors import TraceError
from simulator.traces.base import Ids

__all__ = ["Offsets", "ends_open", "lengths_of"]


@dataclass(frozen=True, slots=True)
class Offsets:
    """What is known of the offsets of a table before they are read: how many, and the last one."""

    count: int
    last: int
    ids: int
    """Ids of the table."""


def ends_open(tables: Mapping[str, Offsets], samples: set[int]) -> bool:
    """Whether the offsets of a file are as many as the bags, the last bag ending with the ids.

    Otherwise they are one more, and the last one is the number of ids. One rule holds for a file:
    it ends open where some last offset lies below the number of ids, or where there are as many
    offsets as `samples` in tables that say it in another way (bag lengths, two dimensions).
    """
    return any(t.last < t.ids for t in tables.values()) or (
        len(samples) == 1 and bool(tables) and all(t.count in samples for t in tables.values())
    )


def lengths_of(parts: Iterable[Ids], where: str, ids: int, *, ends_open: bool) -> Iterator[Ids]:
    """The lengths of the bags whose offsets come in `parts`; `ids`: how many ids they cut.

    Raises `TraceError` unless they start at 0, never fall and end with the ids.
    """
    last: Ids = np.zeros(0, np.int64)
    for part in parts:
        if not len(part):
            continue
        if not len(last) and part[0] != 0:
            raise TraceError(f"{where}: offsets must start at 0, not at {part[0]}")
        lengths = np.diff(np.concatenate([last, part]))
        if np.any(lengths < 0):
            raise TraceError(f"{where}: offsets must never fall")
        yield lengths
        last = part[-1:]
    end = int(last[0]) if len(last) else 0
    if end > ids or (end < ids and not ends_open):
        raise TraceError(f"{where}: bag lengths add to {end}, but there are {ids} ids")
    if ends_open and len(last):
        yield np.array([ids - end], np.int64)
