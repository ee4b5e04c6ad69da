"""The scratchpad of one pool: which rows hit, which are fetched, which are evicted, batch by batch.

Exact and without time. For each mini-batch the unique ids are looked up in the Hit-Map; rows that
any batch of the window (past, current, future) looks up are held; missed rows go to free slots
first (lowest number first), then to the slots of victims that the policy picks among rows not held.

Two steps a batch, because planning needs ids ahead of it: `load` (dedupe, stamp, look-up) when
the batch enters the look-ahead, `plan` once all of its future batches are loaded.
"""

from __future__ import annotations

from collections import deque
from functools import partial

import numpy as np
import numpy.typing as npt

from simulator.caches.plan.base import PoolPlan, Slotted, Window
from simulator.caches.plan.distinct import PoolShape
from simulator.caches.plan.hitmap import DenseHitMap, HashHitMap, HitMap
from simulator.caches.plan.look_ahead import LoadedBatch, WindowTracker
from simulator.caches.plan.sizes import HIT_MAP_BYTES, fits
from simulator.caches.plan.words import (
    FIRST_STAMP,
    MAX_CAPACITY,
    Moves,
    mark_resident,
    narrowest,
    place_rows,
    resolve,
)
from simulator.caches.policies.base import (
    BUILT_IN,
    BatchUse,
    Policy,
    PolicySetup,
    Pool,
    policy_class,
)
from simulator.caches.policies.contract import CheckedPolicy
from simulator.errors import CapacityError, InvariantError, TraceError, UsageError
from simulator.text import counted

__all__ = ["PoolPlanner"]

Int64s = npt.NDArray[np.int64]


class PoolPlanner:
    """Plans the mini-batches of one pool of `capacity` slots over `rows` rows.

    `load(ids)` the batches in order and `plan()` each once `window.future` more are loaded (or the
    trace has ended). Rows are numbered within the pool; `shape` says where they come from (default:
    the first table). `hottest` (rows, hottest first) is for policies with
    `needs_profile`; `preload` rows are resident before the first batch (clean, unless
    `preload_trained` says that earlier batches trained them), the most valued
    first. `seed` must differ between pools (see `build_planners`). Victims that a policy from
    outside names are checked against the contract of `Policy.victims` (`PolicyError`), with `check`
    those of every policy. The same calls give the same plans, whatever thread makes them.
    """

    def __init__(
        self,
        policy: str,
        rows: int,
        capacity: int,
        window: Window,
        *,
        seed: int = 0,
        hottest: Int64s | None = None,
        preload: Int64s | None = None,
        preload_trained: bool = False,
        hit_map: str = "auto",
        shape: PoolShape | None = None,
        check: bool = False,
    ) -> None:
        if not 1 <= capacity <= min(rows, MAX_CAPACITY):
            raise CapacityError(
                f"a pool of {capacity:,} slots over {rows:,} rows: must be at least 1 and at most "
                f"{min(rows, MAX_CAPACITY):,}"
            )
        chosen = policy_class(policy)
        if chosen.needs_profile and hottest is None:
            raise UsageError(f"policy {policy} needs the hottest rows")
        self.shape = shape or PoolShape(rows, (0,), (0,))
        self.needs_future = chosen.needs_future
        self.window = window
        self._tracker = WindowTracker(rows, window, _make_hit_map(hit_map, rows, capacity))
        self._waiting: deque[LoadedBatch] = deque()
        self._planned = 0
        profile = None
        if chosen.needs_profile and hottest is not None:
            profile = self._tracker.hit_map.pin(np.ascontiguousarray(hottest[:capacity]))
        checked = check or policy not in BUILT_IN
        build = partial(CheckedPolicy, name=policy, kind=chosen) if checked else chosen
        self._policy: Policy = build(PolicySetup(capacity, seed, profile, rows))
        self._pool = Pool(self._tracker.hit_map.words, np.zeros(capacity, dtype=np.int32))
        self._see_words()
        self._pool.rows_of = self._tracker.hit_map.rows_of
        self._all_trained = preload_trained
        self._all_known = False
        self._as_filled: int | None = None
        if preload is not None and len(preload):
            self._preload(preload)

    def _see_words(self) -> None:
        """The Hit-Map may have larger ones than before."""
        hit_map = self._tracker.hit_map
        self._pool.words, self._pool.shift = hit_map.words, hit_map.shift

    def _preload(self, rows: Int64s) -> None:
        rows = np.ascontiguousarray(rows, dtype=np.int64)
        refusal = (
            f"{len(rows):,} rows to preload: must be distinct and fit {self._pool.capacity:,} slots"
        )
        if len(rows) > self._pool.capacity:
            raise UsageError(refusal)
        keys = self._tracker.hit_map.keys(rows)
        self._see_words()
        done = mark_resident(self._pool.words, self._pool.shift, self._pool.slot_key, keys)
        if done < len(keys):
            if 0 <= rows[done] < self._tracker.rows:
                raise UsageError(refusal)
            raise TraceError(f"rows to preload outside of 0..{self._tracker.rows - 1}")
        self._pool.used = self._as_filled = len(keys)
        self._policy.preload(self._pool, keys.astype(np.int32))

    def restart(self, window: Window, *, all_known: bool = False) -> None:
        """What was planned or preloaded so far is the past, in which the cache reached its steady
        state: nothing of it is held, and `window` is that of the batches to come.

        `all_known`: every row was in the cache at some time, so that no miss is cold. Raises
        `InvariantError` while a loaded batch waits to be planned.
        """
        if self._waiting:
            raise InvariantError("a batch of the past is loaded and was never planned")
        self.window = window
        self._tracker.restart(window)
        self._all_known = all_known
        self._as_filled = None

    @property
    def capacity(self) -> int:
        return self._pool.capacity

    @property
    def rows(self) -> int:
        return self._tracker.rows

    @property
    def loaded(self) -> int:
        """Batches loaded so far; the number of the next one in this pool."""
        return self._tracker.loaded

    @property
    def waiting(self) -> int:
        """Batches that are loaded and not yet planned."""
        return len(self._waiting)

    def resident(self) -> Int64s:
        """The resident rows by slot; shape (resident,)."""
        taken = self._pool.slot_key[: self._pool.used].astype(np.int64)
        return self._tracker.hit_map.rows_of(taken)

    def load(
        self, ids: Int64s, next_use: Int64s | None = None, times: Int64s | None = None
    ) -> None:
        """Take the next batch into the look-ahead; ids int64, shape (lookups,), rows of the pool.

        `next_use`: for policies with `needs_future`, the batch number (from 0) of the next use of
        each unique id, in order of first occurrence. `times`: the ids are distinct already, and
        this is how often each is looked up. Raises `CapacityError` where the slots cannot
        hold the distinct rows of the window that ends with this batch.
        """
        if len(self._waiting) > self.window.future:
            raise InvariantError("the look-ahead is full: plan before the next load")
        batch = self._tracker.load(ids, next_use, times)
        self._waiting.append(batch)
        if self._as_filled is not None:
            self._as_filled -= batch.first_uses
        self._see_words()
        distinct = self._tracker.distinct
        if distinct > self.capacity:
            raise CapacityError(
                f"batches {max(0, self._tracker.number - self.window.batches)} to "
                f"{self._tracker.number - 1} (a window of {self.window.batches}) look up "
                f"{distinct:,} distinct rows, but the cache has {counted(self.capacity, 'slot')} "
                f"({self.capacity / self.rows:.3%} of {self.rows:,} rows); this window needs at "
                f"least {distinct:,} slots (a fraction of {distinct / self.rows:.6f})"
            )

    def plan(self) -> PoolPlan:
        """Plan the oldest batch that is loaded and not yet planned."""
        batch = self._waiting.popleft()
        pool = self._pool
        pool.stamp = FIRST_STAMP + self._planned
        pool.horizon = max(self._tracker.first_stamp, pool.stamp - self.window.past)
        if not resolve(pool.words, pool.shift, batch.keys, batch.slots, batch.pending):
            raise InvariantError(f"batch {self._planned}: a row that was fetched is not resident")
        pool.keys, pool.missed = batch.keys, batch.missed
        evicted = max(0, len(batch.missed) - (pool.capacity - pool.used))
        plan = self._place(batch, self._victims(evicted))
        self._policy.used(
            pool, BatchUse(batch.keys, batch.slots, batch.missed, batch.next_use, self._planned)
        )
        self._planned += 1
        return plan

    def _victims(self, count: int) -> Int64s:
        """The slots of `count` victims, as the policy names them."""
        if count == 0:
            return np.empty(0, dtype=np.int64)
        return self._policy.victims(self._pool, count)

    def _place(self, batch: LoadedBatch, victims: Int64s) -> PoolPlan:
        pool, hit_map = self._pool, self._tracker.hit_map
        missed_keys, missed_slots = np.empty((2, len(batch.missed)), dtype=np.int32)
        moves = Moves(
            missed_keys,
            missed_slots,
            victim_slots=victims,
            victim_keys=np.empty(len(victims), dtype=np.int32),
            victim_dirty=np.empty(len(victims), dtype=np.bool_),
        )
        keys, slots = batch.keys, batch.slots
        slot_key = pool.slot_key
        at = keys, slots, batch.missed, pool.used
        dirty = place_rows(pool.words, pool.shift, slot_key, *at, moves)
        if self._as_filled is not None:
            self._as_filled -= len(victims) - dirty
        if self._all_trained:  # whatever is resident was trained: here or before
            moves.victim_dirty[:], dirty = True, len(victims)
        pool.used += len(batch.missed) - len(victims)
        victim_rows = hit_map.rows_of(moves.victim_keys)
        hit_map.forget(moves.victim_keys)
        return PoolPlan(
            lookups=batch.lookups,
            lookup_hits=batch.lookups - batch.missing_lookups,
            unique=Slotted(hit_map.rows_of(keys), slots),
            missed=Slotted(hit_map.rows_of(missed_keys), missed_slots),
            victims=Slotted(victim_rows, victims),
            victim_dirty=moves.victim_dirty,
            dirty_victims=dirty,
            cold_misses=0 if self._all_known else batch.cold,
            resident_rows=pool.used,
            as_filled=self._as_filled,
        )


def _make_hit_map(kind: str, rows: int, capacity: int) -> HitMap:
    if kind == "dense" or (kind == "auto" and fits(rows, HIT_MAP_BYTES)):
        return DenseHitMap(rows, narrowest(capacity))
    if kind == "wide":
        return DenseHitMap(rows)
    if kind in ("hash", "auto"):
        return HashHitMap(rows, expected=min(rows, capacity + capacity // 8 + 1024))
    raise UsageError(f"no Hit-Map {kind!r}; known: auto, dense, wide, hash")
