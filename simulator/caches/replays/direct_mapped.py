"""A direct-mapped cache of rows, of all tables together, for lookups that come sorted: a row has
one place, and whoever misses takes it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from simulator._compiled import compiled
from simulator.caches.facts import HIT, LOOKUP, MISS, UNIQUE, BatchFacts, Flow
from simulator.caches.replays.base import Kept, Replay
from simulator.caches.replays.unique import UniqueReplay
from simulator.traces.base import MiniBatch, Trace

__all__ = ["DirectMappedReplay", "probe_in_order"]

Int64s = npt.NDArray[np.int64]
_ALL = range(2**62)


@dataclass(frozen=True)
class DirectMappedReplay(Replay):
    """Hits and misses of a direct-mapped cache, a shard a table.

    Lookups of a table come in the order of their rows, tables one after the other; row r (numbered
    over all tables) has the place r modulo `places`. The cache starts empty. A missed row is
    counted as one lookup that misses, its other lookups hit.
    """

    keep: Kept
    places: int

    @property
    def slots(self) -> tuple[int, ...]:
        return (self.places,)

    def run(self, trace: Trace, batches: Iterator[MiniBatch], threads: int) -> Iterator[BatchFacts]:
        tags = np.full(self.places, -1, np.int64)
        for facts in UniqueReplay(keep=_ALL).run(trace, batches, threads):
            flows = [
                _shard(own, unique, tags)
                for own, unique in zip(facts.flows[LOOKUP], facts.flows[UNIQUE], strict=True)
            ]
            told = replace(facts, flows={name: tuple(s[name] for s in flows) for name in flows[0]})
            yield told if facts.index in self.keep else told.without_rows()


def _shard(lookups: Flow, unique: Flow, tags: Int64s) -> dict[str, Flow]:
    """What a table's lookups find in the cache `tags`, which they change."""
    assert unique.ids is not None, "rows of all mini-batches are kept"
    rows = np.sort(unique.ids)
    missed = rows[probe_in_order(rows, tags)]
    hits = lookups.lookups - len(missed)
    return {
        LOOKUP: lookups,
        UNIQUE: unique,
        HIT: Flow(hits, len(rows) - len(missed)),
        MISS: Flow(len(missed), len(missed), missed),
    }


@compiled
def probe_in_order(rows: Int64s, tags: Int64s) -> npt.NDArray[np.bool_]:
    """Which of `rows`, int64 (n,), are missed, bool (n,); `tags` int64 (places,): the row at every
    place, -1 where there is none; each missed row takes its place."""
    missed = np.zeros(len(rows), np.bool_)
    for k in range(len(rows)):
        place = rows[k] % len(tags)
        if tags[place] != rows[k]:
            missed[k] = True
            tags[place] = rows[k]
    return missed
