"""W-TinyLFU, per lookup: a small LRU window before a segmented LRU that admits by frequency.

Einziger et al., ACM TOS 2017: window 1 % of the slots, the rest 20 % probation and 80 % protected.
A row that leaves the window enters the main part only if it was used more often than the row that
it would displace. Differs from the paper: use counts are exact, one an id, not a sketch (up to 15,
halved every 10 lookups a slot), so no hash collision plays a part.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from simulator._compiled import compiled
from simulator.caches.per_lookup.base import LookupCache
from simulator.caches.per_lookup.ghost_lists import NOWHERE, SEEN, move
from simulator.caches.plan.buckets import Ends, Links, empty_ends, empty_links
from simulator.caches.policies.base import PolicySetup

__all__ = ["LookupTinyLFU"]

Int64s = npt.NDArray[np.int64]
Int32s = npt.NDArray[np.int32]

WINDOW, PROBATION, PROTECTED = 0, 1, 2
MOST_USES = 15
LOOKUPS_A_SLOT = 10


@compiled
def uses_of(uses: Int32s, row: int, age: int) -> int:
    """Uses of `row`, halved once for each age since they were written (age << 4 | uses)."""
    return int((uses[row] & 15) >> min(age - (uses[row] >> 4), 4))


@compiled
def replay_tinylfu(
    links: Links,
    ends: Ends,
    sizes: Int64s,
    limits: Int64s,
    uses: Int32s,
    start: int,
    ids: Int64s,
    counts: Int64s,
) -> None:
    """`limits`: [window, main, protected, lookups an age]; lists least recent first."""
    for k in range(len(ids)):
        row = ids[k]
        age = (start + k) // limits[3]
        uses[row] = (age << 4) | min(uses_of(uses, row, age) + 1, MOST_USES)
        where = links[row, 2]
        if where >= 0:
            counts[0] += 1
            move(links, ends, sizes, row, where if where == WINDOW else PROTECTED)
            if sizes[PROTECTED] > limits[2]:
                move(links, ends, sizes, ends[PROTECTED, 0], PROBATION)
            continue
        counts[1] += where == NOWHERE
        move(links, ends, sizes, row, WINDOW)
        if sizes[WINDOW] <= limits[0]:
            continue
        candidate = ends[WINDOW, 0]
        if sizes[PROBATION] + sizes[PROTECTED] < limits[1]:
            move(links, ends, sizes, candidate, PROBATION)
            continue
        counts[2] += 1
        victim = ends[PROBATION, 0] if sizes[PROBATION] > 0 else ends[PROTECTED, 0]
        if victim >= 0 and uses_of(uses, candidate, age) > uses_of(uses, victim, age):
            move(links, ends, sizes, victim, SEEN)
            move(links, ends, sizes, candidate, PROBATION)
        else:
            move(links, ends, sizes, candidate, SEEN)
    counts[3] = sizes[WINDOW] + sizes[PROBATION] + sizes[PROTECTED]


class LookupTinyLFU(LookupCache):
    """W-TinyLFU with exact counts. State: 20 bytes an id. Ages fit for 2**27 x 10 x slots."""

    def __init__(self, setup: PolicySetup, rows: int) -> None:
        super().__init__(setup, rows)
        self._links = empty_links(rows)
        self._ends = empty_ends(3)
        self._sizes = np.zeros(3, dtype=np.int64)
        self._uses = np.zeros(rows, dtype=np.int32)
        window = max(1, setup.capacity // 100)
        main = setup.capacity - window
        self._limits = np.array(
            [window, main, main * 4 // 5, LOOKUPS_A_SLOT * setup.capacity], dtype=np.int64
        )

    def run(self, ids: Int64s, next_use: Int64s | None) -> None:
        replay_tinylfu(
            self._links,
            self._ends,
            self._sizes,
            self._limits,
            self._uses,
            self.lookups,
            ids,
            self.counts,
        )
