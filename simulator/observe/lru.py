"""The trainer's own planner: a Hit-Map with LRU that chooses its victims itself.

It shares nothing with the simulator's planner but the rules of the game: what is in the slots
before the first mini-batch, in which order (the most recent row of a pool in its first slot), and
the hold window. Rows, slots, stamps and the Hold mask lie where the accelerator computes. To plan a
mini-batch is to look its ids up, to mark the slots of all rows that the window ahead uses as held,
to choose as many slots as rows are missed (those whose stamp is oldest, pool by pool, among all
that are neither held nor used by the mini-batches behind), and to hand them over.

Stamps are `(mini-batch + 2) << PLACE | place of the first lookup`: 0 for the age of a free slot, 1
for rows that were there before; so the order within a mini-batch is that of first occurrence, no
two slots are equal, and the choice is exact. Everything in the cache was trained: every victim is
written back.

Approximated: the ids of coming mini-batches lie on the accelerator from the start, while Plan reads
them as if they had just been loaded. Ignored: pools that hold several tables, policies but LRU (see
`hit_map` for those).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from simulator.caches import Window
from simulator.errors import InvariantError, UsageError

__all__ = ["COUNTED", "DIGIT", "LruCache", "LruLists", "Pools", "digits_of", "plan"]

Int64s = npt.NDArray[np.int64]

DIGIT = 11
"""Bits of a stamp that one pass over all slots tells apart."""
COUNTED = ("unique_rows", "misses", "victims", "write_backs", "short")
"""What is counted of each mini-batch; `short`: missed rows for which no slot was free to give."""


@dataclass(frozen=True)
class Pools:
    """Pools of slots, one a table: `rows[p]` rows share `slots[p]` slots; and the hold window."""

    rows: tuple[int, ...]
    slots: tuple[int, ...]
    window: Window

    def bounds(self, sizes: Sequence[int]) -> Int64s:
        """Where each pool begins, and the end of the last."""
        return np.cumsum([0, *sizes], dtype=np.int64)


def digits_of(places: int) -> int:
    """Digits that tell `places` places and one more apart."""
    return -(-int(places).bit_length() // DIGIT)


class LruCache:
    """The planner's state on an accelerator `gpu`, for mini-batches of `ids` (int64, one array
    each).

    `resident`: row of each slot before the first mini-batch, -1 where free, int64 (slots,).
    Raises `UsageError` for more mini-batches than a stamp can tell apart.
    """

    def __init__(self, gpu: Any, pools: Pools, resident: Int64s, ids: Sequence[Int64s]) -> None:
        if len(ids) + 2 >= 1 << DIGIT:
            raise UsageError(
                f"observe plans at most {(1 << DIGIT) - 3} mini-batches, not {len(ids)}: "
                "--set run.batches=50"
            )
        self.pools, self.batches = pools, len(ids)
        self.lookups = max(1, *(len(each) for each in ids))
        self.place_digits = digits_of(max(self.lookups, *pools.slots))
        bounds = pools.bounds(pools.slots)
        ages = (resident >= 0).astype(np.int64) << (DIGIT * self.place_digits)
        places = np.concatenate([np.arange(size)[::-1] for size in pools.slots])
        slot_of = np.full(sum(pools.rows), -1, np.int32)
        there = np.flatnonzero(resident >= 0)
        slot_of[resident[there]] = there
        upload = gpu.upload
        self.slot_of, self.row_of = upload(slot_of), upload(resident.astype(np.int64))
        self.stamp, self.bounds = upload(ages | places), upload(bounds)
        self.held = gpu.empty((len(resident),), "int32").fill_(-1)
        self.clock = gpu.empty((1,), "int32")
        """Number of the mini-batch that is planned next."""
        starts = np.cumsum([0, *map(len, ids)], dtype=np.int64)
        ends = np.full(1 + pools.window.future, starts[-1])
        self.starts, self.ids = upload(np.concatenate([starts, ends])), upload(np.concatenate(ids))
        self.need = gpu.empty((len(ids), len(pools.slots)), "int32")
        """Missed rows of every pool, by mini-batch."""
        self.counts = gpu.empty((len(ids), len(COUNTED)), "int32")
        self.host_counts = gpu.staging((len(ids), len(COUNTED)), "int32").fill_(-1)
        """`counts`, where the host reads them; -1 until the Plan is done."""
        self._seen: npt.NDArray[np.int32] = self.host_counts.numpy()

    @property
    def place(self) -> int:
        """Bits of a stamp that hold the place of a lookup."""
        return DIGIT * self.place_digits

    def counted(self, number: int, name: str) -> int:
        """A count of a mini-batch. Raises `InvariantError` before its Plan is done."""
        count = int(self._seen[number, COUNTED.index(name)])
        if count < 0:
            raise InvariantError(
                f"mini-batch {number}: {name} asked for before its Plan was waited for"
            )
        return count


class LruLists:
    """Rows and slots (int64, with room for `room` of them) that one Plan moves."""

    def __init__(self, gpu: Any, room: int) -> None:
        names = ("missed_rows", "missed_slots", "write_rows", "write_slots")
        self.missed_rows, self.missed_slots, self.write_rows, self.write_slots = (
            gpu.empty((room,), "int64") for _ in names
        )


def plan(cache: LruCache, ids: Any, slots: Any, lists: LruLists) -> None:
    """Plan one mini-batch of `ids` on CPU tensors: fill `lists`, give each lookup its slot.

    The plain reference of `kernels_lru.plan`.
    """
    number, keys = int(cache.clock[0]), ids.numpy()
    slot_of, row_of, stamp = (t.numpy() for t in (cache.slot_of, cache.row_of, cache.stamp))
    unique, first = np.unique(keys, return_index=True)
    _hold(cache, number)
    missed = unique[slot_of[unique] < 0]
    chosen = _chosen(cache, number, missed)
    missed = missed[: len(chosen)]
    gone = row_of[chosen]
    victims, taken = gone[gone >= 0], chosen[gone >= 0]
    slot_of[victims] = -1
    slot_of[missed], row_of[chosen] = chosen, missed
    slots.numpy()[: len(keys)] = slot_of[keys]
    stamp[slot_of[unique]] = (number + 2 << cache.place) | first
    given = (lists.missed_rows, lists.missed_slots, lists.write_rows, lists.write_slots)
    for target, values in zip(given, (missed, chosen, victims, taken), strict=True):
        target.numpy()[: len(values)] = values
    needed = int(cache.need[number].sum())
    seen = (len(unique), needed, len(victims), len(victims), needed - len(chosen))
    cache.counts.numpy()[number] = cache.host_counts.numpy()[number] = seen
    cache.clock += 1


def _hold(cache: LruCache, number: int) -> None:
    """Mark the slots of what this mini-batch and those ahead in the window use."""
    starts = cache.starts.numpy()
    begin, end = starts[number], starts[number + 1 + cache.pools.window.future]
    slots = cache.slot_of.numpy()[cache.ids.numpy()[begin:end]]
    cache.held.numpy()[slots[slots >= 0]] = number


def _chosen(cache: LruCache, number: int, missed: Int64s) -> Int64s:
    """Slots for the missed rows (sorted), pool by pool: the oldest that nothing keeps there."""
    stamp, held = cache.stamp.numpy(), cache.held.numpy()
    limit = max(0, number - cache.pools.window.past) + 2 << cache.place
    bounds, rows = cache.bounds.numpy(), cache.pools.bounds(cache.pools.rows)
    ends = np.searchsorted(missed, rows)
    chosen = []
    for pool, (begin, end) in enumerate(pairwise(bounds)):
        need = cache.need.numpy()[number, pool] = ends[pool + 1] - ends[pool]
        free = (stamp[begin:end] < limit) & (held[begin:end] < number)
        slots = begin + np.flatnonzero(free)
        chosen.append(slots[np.argsort(stamp[slots])[:need]])
    return np.concatenate(chosen)
