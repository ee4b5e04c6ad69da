"""W-TinyLFU, per lookup: a small LRU window before a segmented LRU that admits by frequency.

Einziger et al., ACM TOS 2017: window 1 % of the slots, the rest 20 % probation and 80 % protected.
A row that leaves the window enters the main part only if it was used more often than the row that
it would displace. Differs from the paper: use counts are exact, one an id, not a sketch (up to 15,
halved every 10 lookups a slot), so no hash collision plays a part.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from simulator._compiled import compiled
from simulator.caches.per_lookup.base import COLD, EVICTIONS, HITS, RESIDENT, LookupCache
from simulator.caches.per_lookup.queues import FORGOTTEN, UNSEEN
from simulator.caches.plan.buckets import BUCKET, FIRST, CountedLists, empty_counted_lists, move
from simulator.caches.policies.base import PolicySetup

__all__ = ["LookupTinyLFU"]

Int64s = npt.NDArray[np.int64]
Int32s = npt.NDArray[np.int32]

WINDOW, PROBATION, PROTECTED = 0, 1, 2
MOST_USES = 15
LOOKUPS_A_SLOT = 10


class Limits(NamedTuple):
    """Most rows of the window, of the main part, of its protected list; lookups of an age."""

    window: int
    main: int
    protected: int
    age: int


@compiled
def uses_of(uses: Int32s, row: int, age: int) -> int:
    """Uses of `row`, halved once for each age since they were written (age << 4 | uses)."""
    return int((uses[row] & 15) >> min(age - (uses[row] >> 4), 4))


@compiled
def replay_tinylfu(
    lists: CountedLists,
    limits: Limits,
    uses: Int32s,
    start: int,
    ids: Int64s,
    counts: Int64s,
) -> None:
    """Replay `ids`; lists least recent first."""
    links, ends, sizes = lists
    for k in range(len(ids)):
        row = ids[k]
        age = (start + k) // limits.age
        uses[row] = (age << 4) | min(uses_of(uses, row, age) + 1, MOST_USES)
        bucket = links[row, BUCKET]
        if bucket >= 0:
            counts[HITS] += 1
            move(links, ends, sizes, row, bucket if bucket == WINDOW else PROTECTED)
            if sizes[PROTECTED] > limits.protected:
                move(links, ends, sizes, ends[PROTECTED, FIRST], PROBATION)
            continue
        counts[COLD] += bucket == UNSEEN
        move(links, ends, sizes, row, WINDOW)
        if sizes[WINDOW] <= limits.window:
            continue
        candidate = ends[WINDOW, FIRST]
        if sizes[PROBATION] + sizes[PROTECTED] < limits.main:
            move(links, ends, sizes, candidate, PROBATION)
            continue
        counts[EVICTIONS] += 1
        victim = ends[PROBATION, FIRST] if sizes[PROBATION] > 0 else ends[PROTECTED, FIRST]
        if victim >= 0 and uses_of(uses, candidate, age) > uses_of(uses, victim, age):
            move(links, ends, sizes, victim, FORGOTTEN)
            move(links, ends, sizes, candidate, PROBATION)
        else:
            move(links, ends, sizes, candidate, FORGOTTEN)
    counts[RESIDENT] = sizes[WINDOW] + sizes[PROBATION] + sizes[PROTECTED]


class LookupTinyLFU(LookupCache):
    """W-TinyLFU with exact counts. State: 20 bytes an id. Ages fit for 2**27 x 10 x slots."""

    def __init__(self, setup: PolicySetup, rows: int) -> None:
        super().__init__(setup, rows)
        self._lists = empty_counted_lists(rows, 3)
        self._uses = np.zeros(rows, dtype=np.int32)
        window = max(1, setup.capacity // 100)
        main = setup.capacity - window
        self._limits = Limits(window, main, main * 4 // 5, LOOKUPS_A_SLOT * setup.capacity)

    def run(self, ids: Int64s, next_use: Int64s | None) -> None:
        replay_tinylfu(
            self._lists,
            self._limits,
            self._uses,
            self.lookups,
            ids,
            self.counts,
        )
