"""S3-FIFO under the Hold mask: a small queue, a main queue, and ghosts of the small one.

Yang et al., SOSP 2023, with 10 % small, ghosts for 90 % of the slots, promotion at two hits, and a
counter up to 3 in the main queue. A row enters the small queue, or the main one where it is a ghost
(or where the small queue is full before anything was ever evicted). Victims come from the small
queue unless the main one is above its share: rows hit twice move on to the main queue, others leave
and become ghosts. In the main queue, rows that were hit go round again with a hit less.

Per batch: a batch that uses a row counts as one hit; all missed rows of a batch are looked up
among the ghosts first, then all victims are chosen, then the rows enter, in order of first
occurrence. Held rows keep their place and their count. Per lookup: `per_lookup.ghost_lists`.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from simulator._compiled import compiled
from simulator.caches.plan.buckets import (
    AFTER,
    BUCKET,
    FIRST,
    MARK,
    CountedLists,
    append,
    empty_counted_lists,
    unlink,
)
from simulator.caches.policies.base import BatchUse, CompiledPolicy, PolicySetup, Pool
from simulator.caches.policies.ghost import GhostQueue
from simulator.caches.policies.hold import Hold

__all__ = ["S3FIFO"]

Int64s = npt.NDArray[np.int64]
Int32s = npt.NDArray[np.int32]

SMALL, MAIN, NOWHERE = 0, 1, -1
SMALL_SHARE, GHOST_SHARE = 0.1, 0.9
"""Of the slots; both of the paper."""
MOVE_HITS = 2
MOST_HITS = 3


@compiled
def shift(links: Int32s, ends: Int32s, sizes: Int64s, slot: int, to: int) -> None:
    """Move `slot` to the end of queue `to` (`NOWHERE`: out of both)."""
    sizes[links[slot, BUCKET]] -= 1
    unlink(links, ends, slot)
    if to >= 0:
        append(links, ends, slot, to)
        sizes[to] += 1


@compiled
def choose_victims(
    lists: CountedLists,
    main_share: int,
    hold: Hold,
    chosen: Int64s,
    from_small: npt.NDArray[np.bool_],
) -> int:
    """Fill `chosen` and say which come from the small queue; returns the number chosen.

    Both queues are walked from their front; what lies behind the walker is held.
    """
    words, slot_key, held_from = hold
    links, ends, sizes = lists
    small = ends[SMALL, FIRST]
    main = ends[MAIN, FIRST]
    got = 0
    moved = True  # whether the last walk along the main queue changed anything
    while got < len(chosen):
        while small >= 0 and words[slot_key[small]] >= held_from:
            small = links[small, AFTER]
        if (sizes[MAIN] > main_share or small < 0) and (main >= 0 or moved):
            if main < 0:
                main = ends[MAIN, FIRST]
                moved = False
                if main < 0:
                    continue
            slot = main
            main = links[slot, AFTER]
            if words[slot_key[slot]] >= held_from:
                continue
            moved = True
            hits = links[slot, MARK]
            if hits > 0:
                links[slot, MARK] = min(hits, MOST_HITS) - 1
                shift(links, ends, sizes, slot, MAIN)
                continue
            shift(links, ends, sizes, slot, NOWHERE)
            chosen[got] = slot
            from_small[got] = False
            got += 1
        elif small >= 0:
            while small >= 0:
                slot = small
                small = links[slot, AFTER]
                if words[slot_key[slot]] >= held_from:
                    continue
                if links[slot, MARK] < MOVE_HITS:
                    shift(links, ends, sizes, slot, NOWHERE)
                    chosen[got] = slot
                    from_small[got] = True
                    got += 1
                    break
                links[slot, MARK] = 0
                shift(links, ends, sizes, slot, MAIN)
                moved = True
        else:
            break
    return got


@compiled
def enter_rows(
    lists: CountedLists,
    small_share: int,
    fresh: bool,
    slots: Int32s,
    missed: Int32s,
    returning: npt.NDArray[np.bool_],
) -> None:
    """Count a hit for every slot, then let the fetched ones in, at 0 hits.

    `fresh`: nothing was ever evicted; `returning`: which of `missed` are ghosts.
    """
    links, ends, sizes = lists
    for k in range(len(slots)):
        links[slots[k], MARK] += 1
    for k in range(len(missed)):
        slot = slots[missed[k]]
        main = returning[k] or (fresh and sizes[SMALL] >= small_share)
        append(links, ends, slot, MAIN if main else SMALL)
        sizes[MAIN if main else SMALL] += 1
        links[slot, MARK] = 0


class S3FIFO(CompiledPolicy):
    """S3-FIFO. State beyond the slots: 8 bytes a row (hashed: a ghost), 16 to 32 a ghost."""

    name = "s3fifo"

    def __init__(self, setup: PolicySetup) -> None:
        self._lists = empty_counted_lists(setup.capacity, 2)
        self._small_share = max(1, int(setup.capacity * SMALL_SHARE))
        self._main_share = setup.capacity - self._small_share
        self._ghosts = GhostQueue(setup.rows, int(setup.capacity * GHOST_SHARE))
        self._fresh = True
        self._returning = np.zeros(0, dtype=np.bool_)

    def choose(self, pool: Pool, chosen: Int64s) -> int:
        self._returning = self._ghosts.take(pool.rows_of(pool.missed_keys).astype(np.int64))
        self._fresh = False
        from_small = np.zeros(len(chosen), dtype=np.bool_)
        got = choose_victims(self._lists, self._main_share, pool.hold, chosen, from_small)
        self._ghosts.add(pool.rows_of(pool.slot_key[chosen[from_small]].astype(np.int64)))
        return got

    def used(self, pool: Pool, use: BatchUse) -> None:
        returning = self._returning
        if len(returning) != len(use.missed):
            returning = np.zeros(len(use.missed), dtype=np.bool_)
        enter_rows(self._lists, self._small_share, self._fresh, use.slots, use.missed, returning)
        self._returning = np.zeros(0, dtype=np.bool_)
