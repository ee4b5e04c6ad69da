"""SIEVE, per lookup: the list and the hand of the batch policy, without held rows."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from simulator._compiled import compiled
from simulator.caches.per_lookup.base import COLD, EVICTIONS, HITS, RESIDENT, LookupCache
from simulator.caches.plan.buckets import AFTER, FIRST, MARK, Lists, append, empty_lists, unlink
from simulator.caches.policies.base import PolicySetup

__all__ = ["LookupSieve"]

Int64s = npt.NDArray[np.int64]


@compiled
def replay_sieve(
    slot_of: npt.NDArray[np.int32],
    slot_row: npt.NDArray[np.int32],
    lists: Lists,
    hand: int,
    ids: Int64s,
    counts: Int64s,
) -> int:
    """Replay `ids`; `slot_of`: slot + 1, 0 never seen, -1 evicted. Returns the new hand."""
    links, ends = lists
    for k in range(len(ids)):
        row = ids[k]
        slot = slot_of[row] - 1
        if slot >= 0:
            counts[HITS] += 1
            links[slot, MARK] = 1
            continue
        counts[COLD] += slot == -1
        if counts[RESIDENT] < len(slot_row):
            slot = counts[RESIDENT]
            counts[RESIDENT] += 1
        else:
            slot = hand if hand >= 0 else ends[0, FIRST]
            while links[slot, MARK] == 1:
                links[slot, MARK] = 0
                after = links[slot, AFTER]
                slot = after if after >= 0 else ends[0, FIRST]
            hand = links[slot, AFTER]
            unlink(links, ends, slot)
            slot_of[slot_row[slot]] = -1
            counts[EVICTIONS] += 1
        slot_row[slot] = row
        slot_of[row] = slot + 1
        append(links, ends, slot, 0)
        links[slot, MARK] = 0
    return hand


class LookupSieve(LookupCache):
    """SIEVE, per lookup. State: 4 bytes an id, 20 a slot."""

    def __init__(self, setup: PolicySetup, rows: int) -> None:
        super().__init__(setup, rows)
        self._slot_of = np.zeros(rows, dtype=np.int32)
        self._slot_row = np.zeros(setup.capacity, dtype=np.int32)
        self._lists = empty_lists(setup.capacity, 1)
        self._hand = -1

    def run(self, ids: Int64s, next_use: Int64s | None) -> None:
        self._hand = replay_sieve(
            self._slot_of,
            self._slot_row,
            self._lists,
            self._hand,
            ids,
            self.counts,
        )
