"""The state word of a row: everything that planning touches together, in one int64.

    bits 0..29   slot + 1 (0: not resident)
    bit  30      PINNED: the key stays even where its row is evicted (static hot rows)
    bit  31      MISSING: the row will miss when its newest loaded batch is planned
    bits 32..62  stamp of the newest loaded batch that looks the row up

Stamps: 0 never seen, 1 resident before the first batch (or known from earlier), batch number
*n* of the pool is `FIRST_STAMP + n`. A row is held while batch *i* is planned exactly when its
stamp is at least that of batch *i* - past: batches up to *i* + future are loaded by then, so the
stamp says whether any batch of the window uses the row, and no mask needs to be swept.

Kernels take plain arrays and return counts; they release the GIL.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from simulator._compiled import compiled, prefetch

__all__ = [
    "FIRST_STAMP",
    "MAX_CAPACITY",
    "MISSING",
    "PINNED",
    "PRELOADED",
    "SLOT",
    "WIDEST_WINDOW",
    "load",
    "mark_resident",
    "place",
    "resolve",
]

SLOT = (1 << 30) - 1
PINNED = 1 << 30
MISSING = 1 << 31
PRELOADED = 1
FIRST_STAMP = 1 << 16
MAX_CAPACITY = SLOT - 1

WIDEST_WINDOW = FIRST_STAMP - 2
"""Batches; the stamps of a window never reach down to those below `FIRST_STAMP`."""

Int64s = npt.NDArray[np.int64]

AHEAD = 64
"""Words are asked for this many places ahead of their use: a trip to memory takes far longer than
what there is to do with a word. Loops over words decide by arithmetic where a branch would be
guessed wrong too often."""


@compiled
def load(
    words: Int64s,
    ids: Int64s,
    stamp: int,
    first_pending: int,
    unique: Int64s,
    known: Int64s,
    missed: Int64s,
    pending: Int64s,
    alive: Int64s,
    counts: Int64s,
) -> int:
    """Dedupe one batch of keys and stamp them; return the number of unique keys.

    `unique[:n]`: keys in order of first occurrence; `known[:n]`: their slot, -1 where they have
    none yet. `missed`, `pending`: positions in `unique` of those without: no batch before fetches
    it, or one that is loaded but not yet planned will. `counts`: [missed, pending, lookups that
    miss, keys never seen]. `alive[a]`: keys whose newest stamp is `stamp - len(alive) + 1 + a`
    (`alive[0]` collects all older ones and means nothing). A key outside of `words` ends the work:
    -1 - its position is returned. The arrays of keys and positions have room for one more than
    the batch has lookups: each is written before it is known to count.
    """
    rows = np.uint64(len(words))
    for k in range(len(ids)):
        if np.uint64(ids[k]) >= rows:  # below 0 as well: it wraps
            return -1 - k
    n = np.uint64(0)
    missing_lookups = 0
    for k in range(len(ids)):
        if k + AHEAD < len(ids):
            prefetch(words, ids[k + AHEAD])
        key = np.uint64(ids[k])
        word = words[key]
        seen = word >> 32
        first = int(seen != stamp)
        unique[n] = ids[k]
        known[n] = word
        n += np.uint64(first)
        missing = first & int(word & SLOT == 0) & int(seen < first_pending)
        missing |= (1 - first) & (word >> 31)
        missing_lookups += missing
        words[key] = (word & (SLOT | PINNED)) | (missing << 31) | (stamp << 32)
    outside = stamp - len(alive) + 1
    uniques = np.int64(n)  # numba does not unify int(uint64) with int64
    m = 0
    p = 0
    never = 0
    for k in range(uniques):
        word = known[k]
        seen = word >> 32
        known[k] = (word & SLOT) - 1
        absent = int(word & SLOT == 0)
        recent = int(seen >= first_pending)
        missed[m] = k
        m += absent & (1 - recent)
        pending[p] = k
        p += absent & recent
        never += int(word & ~PINNED == 0)
        alive[np.uint64(max(seen - outside, 0))] -= 1
    alive[len(alive) - 1] = uniques
    counts[0] = m
    counts[1] = p
    counts[2] = missing_lookups
    counts[3] = never
    return uniques  # type: ignore[return-value]


@compiled
def resolve(words: Int64s, unique: Int64s, slots: Int64s, pending: Int64s) -> bool:
    """Fill in the slots that were `pending`; False where one of those keys has none."""
    found = True
    for k in pending:
        slots[k] = (words[unique[k]] & SLOT) - 1
        found = found and slots[k] >= 0
    return found


@compiled
def place(
    words: Int64s,
    slot_key: npt.NDArray[np.int32],
    unique: Int64s,
    slots: Int64s,
    missed: Int64s,
    first_free: int,
    missed_keys: Int64s,
    missed_slots: Int64s,
    victim_slots: Int64s,
    victim_keys: Int64s,
    victim_dirty: npt.NDArray[np.bool_],
) -> None:
    """Empty the victims' slots, then give every missed key a slot: free ones first."""
    free = len(missed) - len(victim_slots)
    for m in range(free):
        missed_slots[m] = first_free + m
        missed_keys[m] = unique[missed[m]]
        slot_key[first_free + m] = missed_keys[m]
    for v in range(len(victim_slots)):
        if v + AHEAD < len(victim_slots):
            prefetch(slot_key, victim_slots[v + AHEAD])
        slot = victim_slots[v]
        missed_slots[free + v] = slot
        missed_keys[free + v] = unique[missed[free + v]]
        victim_keys[v] = slot_key[slot]
        slot_key[slot] = missed_keys[free + v]
    for v in range(len(victim_keys)):
        if v + AHEAD < len(victim_keys):
            prefetch(words, victim_keys[v + AHEAD])
        word = words[victim_keys[v]]
        victim_dirty[v] = (word >> 32) >= FIRST_STAMP
        words[victim_keys[v]] = word & ~SLOT
    for m in range(len(missed)):
        if m + AHEAD < len(missed):
            prefetch(words, missed_keys[m + AHEAD])
        slots[missed[m]] = missed_slots[m]
        words[missed_keys[m]] = (words[missed_keys[m]] & ~SLOT) | (missed_slots[m] + 1)


@compiled
def mark_resident(words: Int64s, slot_key: npt.NDArray[np.int32], keys: Int64s) -> int:
    """Put `keys` into slots 0, 1, ... before the first batch; returns how many.

    Stops at a key that is outside of `words` or resident already.
    """
    for slot in range(len(keys)):
        if slot + AHEAD < len(keys):
            prefetch(words, keys[slot + AHEAD])
        key = keys[slot]
        if key < 0 or key >= len(words) or words[key] & SLOT != 0:
            return slot
        slot_key[slot] = key
        words[key] = (words[key] & PINNED) | (slot + 1) | (PRELOADED << 32)
    return len(keys)
