"""SIEVE, per lookup: the list and the hand of the batch policy, without held rows."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from simulator._compiled import compiled
from simulator.caches.per_lookup.base import LookupCache
from simulator.caches.plan.buckets import Ends, Links, append, empty_ends, empty_links, unlink
from simulator.caches.policies.base import PolicySetup

__all__ = ["LookupSieve"]

Int64s = npt.NDArray[np.int64]


@compiled
def replay_sieve(
    slot_of: npt.NDArray[np.int32],
    slot_row: npt.NDArray[np.int32],
    links: Links,
    ends: Ends,
    hand: int,
    ids: Int64s,
    counts: Int64s,
) -> int:
    """Replay `ids`; `slot_of`: slot + 1, 0 never seen, -1 evicted. Returns the new hand."""
    for k in range(len(ids)):
        row = ids[k]
        slot = slot_of[row] - 1
        if slot >= 0:
            counts[0] += 1
            links[slot, 3] = 1
            continue
        counts[1] += slot == -1
        if counts[3] < len(slot_row):
            slot = counts[3]
            counts[3] += 1
        else:
            slot = hand if hand >= 0 else ends[0, 0]
            while links[slot, 3] == 1:
                links[slot, 3] = 0
                slot = links[slot, 1] if links[slot, 1] >= 0 else ends[0, 0]
            hand = links[slot, 1]
            unlink(links, ends, slot)
            slot_of[slot_row[slot]] = -1
            counts[2] += 1
        slot_row[slot] = row
        slot_of[row] = slot + 1
        append(links, ends, slot, 0)
        links[slot, 3] = 0
    return hand


class LookupSieve(LookupCache):
    """SIEVE, per lookup. State: 4 bytes an id, 20 a slot."""

    def __init__(self, setup: PolicySetup, rows: int) -> None:
        super().__init__(setup, rows)
        self._slot_of = np.zeros(rows, dtype=np.int32)
        self._slot_row = np.zeros(setup.capacity, dtype=np.int32)
        self._links = empty_links(setup.capacity)
        self._ends = empty_ends(1)
        self._hand = -1

    def run(self, ids: Int64s, next_use: Int64s | None) -> None:
        self._hand = replay_sieve(
            self._slot_of,
            self._slot_row,
            self._links,
            self._ends,
            self._hand,
            ids,
            self.counts,
        )
