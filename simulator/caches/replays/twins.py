"""Parts of tables that do the same are replayed once.

All parts by columns of a table get all of its lookups: with as many slots each they hit, miss and
evict the same rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from simulator.caches.facts import BatchFacts, Flow
from simulator.caches.replays.base import Replay, bases
from simulator.traces.base import Trace
from simulator.traces.cuts import Parts, parted

__all__ = ["Single", "twins"]


def twins(parts: Parts, slots: Sequence[int] = ()) -> tuple[int, ...]:
    """For each part the number of the first that does the same; `slots`: of each, or none."""
    if not parts:
        return ()
    firsts: dict[object, int] = {}
    each = slots or [0] * len(parts)
    return tuple(
        firsts.setdefault((part.table, count) if part.cut == "column" else number, number)
        for number, (part, count) in enumerate(zip(parts, each, strict=True))
    )


@dataclass(frozen=True)
class Single:
    """A replay of the first part of each kind, in place of one of all parts."""

    replay: Replay
    places: tuple[int, ...] = ()
    """Of each part of the whole, its place among those that are replayed; none: all are."""
    rows: Sequence[int] = ()
    """What is added to the rows of each part."""
    slots: Sequence[int] = ()

    @classmethod
    def of(cls, replay: Replay, trace: Trace) -> Single:
        """Of a replay of the parts of `trace`."""
        firsts = replay.twins
        chosen = sorted(set(firsts))
        if len(chosen) == len(firsts):
            return cls(replay)
        places = tuple(chosen.index(first) for first in firsts)
        rows = parted(trace, replay.parts).rows
        moved = (_moved(rows, chosen, places), _moved(replay.slots, chosen, places))
        return cls(replay.of_parts(chosen), places, *moved)

    def spread(self, facts: BatchFacts) -> BatchFacts:
        """What happens in all parts, from what happens in those that were replayed."""
        if not self.places:
            return facts
        whole = facts.of_shards(self.places)
        if not whole.keeps_rows:
            return whole
        flows = {
            name: tuple(self._as_of(part, flow) for part, flow in enumerate(each))
            for name, each in whole.flows.items()
        }
        return replace(whole, flows=flows)

    def _as_of(self, part: int, flow: Flow) -> Flow:
        ids = None if flow.ids is None else flow.ids + self.rows[part]
        slots = None if flow.slots is None else flow.slots + self.slots[part]
        return replace(flow, ids=ids, slots=slots)


def _moved(sizes: Sequence[int], chosen: Sequence[int], places: Sequence[int]) -> Sequence[int]:
    """How far each part's numbering begins behind that of the part in its place."""
    if not sizes:
        return [0] * len(places)
    moved = bases(sizes) - bases([sizes[k] for k in chosen])[list(places)]
    return [int(distance) for distance in moved]
