"""The state word of a row: everything that planning touches together, in one integer.

    bits 0 .. shift - 3  slot + 1 (0: not resident)
    bit  shift - 2       pinned: the key stays even where its row is evicted (static hot rows)
    bit  shift - 1       missing: the row will miss when its newest loaded batch is planned
    bits shift ..        stamp of the newest loaded batch that looks the row up

Wide words are int64 with `shift` = `WIDE`. Narrow ones are uint32, whose `shift` is as small as the
slots of the pool allow (`narrowest`); what is left bounds the stamps (`last_stamp`), beyond which
words have to be wide (`widened`).

Stamps: 0 never seen, 1 resident before the first batch (or known from earlier), batch number
*n* of the pool is `FIRST_STAMP + n`. A row is held while batch *i* is planned exactly when its
stamp is at least that of batch *i* - past: batches up to *i* + future are loaded by then, so the
stamp says whether any batch of the window uses the row, and no mask needs to be swept.

Kernels take plain arrays and return counts; they release the GIL.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from simulator._compiled import compiled, inner_kernel, prefetch
from simulator.caches.plan.arrays import zeros

__all__ = [
    "FIRST_STAMP",
    "MAX_CAPACITY",
    "PRELOADED",
    "WIDE",
    "WIDEST_WINDOW",
    "BatchArrays",
    "LoadCounts",
    "Moves",
    "Words",
    "last_stamp",
    "load",
    "mark_resident",
    "narrowest",
    "no_words",
    "pinned_bit",
    "place_rows",
    "resolve",
    "slot_bits",
    "widened",
]

WIDE = 32
"""Where the stamp begins in words of 64 bits."""
MAX_CAPACITY = (1 << (WIDE - 2)) - 2
PRELOADED = 1
FIRST_STAMP = 2

WIDEST_WINDOW = (1 << 16) - 2
"""Batches."""

_NARROW_BITS = 32
_FEW_AGES = 12
"""Stamps of a window that are counted one by one."""
_FEWEST_STAMPS = 128
"""Stamps that narrow words must have room for: they are a saving, and widening costs."""

Int64s = npt.NDArray[np.int64]
Int32s = npt.NDArray[np.int32]
Words = npt.NDArray[Any]
"""State words by key: int64 or uint32."""

AHEAD = 64
"""Words are asked for this many lookups ahead of their use: a trip to memory takes far longer than
what there is to do with a word. Loops over words decide by arithmetic where a branch would be
mispredicted too often."""


def last_stamp(shift: int) -> int:
    """The largest stamp that a word has room for."""
    return (1 << ((63 if shift == WIDE else _NARROW_BITS) - shift)) - 1


def narrowest(slots: int) -> int:
    """`shift` for a pool of `slots` slots, `MAX_CAPACITY` at most: narrow words where those have
    stamps enough."""
    shift = slots.bit_length() + 2
    return shift if last_stamp(shift) + 1 >= _FEWEST_STAMPS else WIDE


def no_words(keys: int, shift: int) -> Words:
    """Words of `keys` keys that were never seen."""
    return zeros(keys, np.int64 if shift == WIDE else np.uint32)


def widened(words: Words, shift: int) -> Int64s:
    """The same words, wide."""
    wide = no_words(len(words), WIDE)
    widen(words, shift, wide)
    return wide


@compiled
def widen(words: Words, shift: int, wide: Int64s) -> None:
    """Write narrow `words` to `wide`, all zero before."""
    low, pinned = slot_bits(shift), pinned_bit(shift)
    for key in range(len(words)):
        word = np.int64(words[key])
        if word != 0:  # what was never seen need not be touched
            flags = (word & (3 * pinned)) << (WIDE - shift)
            wide[key] = (word & low) | flags | ((word >> shift) << WIDE)


@compiled
def slot_bits(shift: int) -> int:
    """The bits of a word that hold slot + 1."""
    return (1 << (shift - 2)) - 1


@compiled
def pinned_bit(shift: int) -> int:
    """The bit of a word that says that its key stays."""
    return 1 << (shift - 2)


class BatchArrays(NamedTuple):
    """What is known of a batch; each with room for one more than the batch has lookups.

    `keys`: unique, in order of first occurrence; `slots`: theirs, -1 where they have none yet;
    `words`: theirs, as they were. `missed`, `pending`: positions in `keys` of those without a slot:
    no batch before fetches it, or one that is loaded but not yet planned will.
    """

    keys: Int32s
    words: Int64s
    slots: Int32s
    missed: Int32s
    pending: Int32s

    @classmethod
    def for_lookups(cls, lookups: int) -> BatchArrays:
        """For a batch of so many, nothing known yet."""
        keys, slots, missed, pending = np.empty((4, lookups + 1), np.int32)
        return cls(keys, np.empty(lookups + 1, np.int64), slots, missed, pending)


class LoadCounts(NamedTuple):
    """How many of the `BatchArrays` count, and what else was counted while loading."""

    unique: int
    missed: int
    pending: int
    missing_lookups: int
    never_seen: int
    """Keys that no batch looked up before and that were not resident before the first."""
    first_uses: int
    """Keys that were resident before the first batch and that no batch looked up before."""


@compiled
def load(
    words: Words,
    shift: int,
    ids: Int64s,
    stamp: int,
    first_pending: int,
    batch: BatchArrays,
    alive: Int64s,
    first_stamp: int = FIRST_STAMP,
) -> LoadCounts:
    """Dedupe one batch of keys, stamp them and fill in `batch`.

    `alive[a]`: keys whose newest stamp is `stamp - len(alive) + 1 + a` (`alive[0]` collects all
    older ones and means nothing); those below `first_stamp` count as old. A key outside of `words`
    ends the work: `unique` is -1 - its position then. Keys and positions are written before it is
    known whether they count.
    """
    rows = np.uint64(len(words))
    outside = 0
    for k in range(len(ids)):
        outside |= int(np.uint64(ids[k]) >= rows)  # below 0 as well: it wraps
    if outside:
        for k in range(len(ids)):
            if np.uint64(ids[k]) >= rows:
                return LoadCounts(-1 - k, 0, 0, 0, 0, 0)
    unique, missing_lookups = stamp_keys(words, shift, ids, stamp, first_pending, batch)
    before = batch.words[:unique]
    grow_old(before, shift, stamp, alive, first_stamp)
    missed, pending = list_absent(before, shift, first_pending, batch)
    low, pinned = slot_bits(shift), pinned_bit(shift)
    never_seen = 0
    first_uses = 0
    for k in range(unique):
        word = before[k]
        batch.slots[k] = (word & low) - 1
        never_seen += int(word & ~pinned == 0)
        first_uses += int(word & low != 0) & int(word >> shift == PRELOADED)
    return LoadCounts(unique, missed, pending, missing_lookups, never_seen, first_uses)


@inner_kernel
def stamp_keys(
    words: Words, shift: int, ids: Int64s, stamp: int, first_pending: int, batch: BatchArrays
) -> tuple[int, int]:
    """Write the unique `ids` to `batch.keys`, their words as they were to `batch.words`.

    Returns how many there are, and how many of `ids` will miss. `back`: how far stamp and missing
    bit of a word, as one number, lie below this batch's stamp without that bit: 0 or -1 where the
    batch looked the key up before, `away` or more (-1 too, as it wraps) where nobody who is loaded
    and not planned fetches it.
    """
    low, kept = slot_bits(shift), slot_bits(shift) | pinned_bit(shift)
    missing_bit, here = shift - 1, 2 * stamp
    away = np.uint64(2 * (stamp - first_pending) + 1)
    n = np.uint64(0)
    missing_lookups = 0
    for k in range(len(ids)):
        if k + AHEAD < len(ids):
            prefetch(words, ids[k + AHEAD])
        key = np.uint64(ids[k])
        word = np.int64(words[key])
        back = here - (word >> missing_bit)
        batch.keys[n] = ids[k]
        batch.words[n] = word
        n += np.uint64(back > 0)
        missing = int(word & low == 0) & int(np.uint64(back) >= away)
        missing_lookups += missing
        words[key] = (word & kept) | ((here | missing) << missing_bit)
    return np.int64(n), missing_lookups  # type: ignore[return-value]  # int() keeps it unsigned


@inner_kernel
def grow_old(before: Int64s, shift: int, stamp: int, alive: Int64s, first_stamp: int) -> None:
    """Take keys, whose words were `before`, out of `alive` and put them where `stamp` counts."""
    oldest = stamp - len(alive) + 1
    if len(alive) <= _FEW_AGES:  # on vectors, age by age
        for age in range(max(1, first_stamp - oldest), len(alive)):
            own = 0
            for k in range(len(before)):
                own += int(before[k] >> shift == oldest + age)
            alive[age] -= own
    else:
        for k in range(len(before)):
            newest = before[k] >> shift
            recent = int(newest >= first_stamp)
            alive[np.uint64(max(newest - oldest, 0) * recent)] -= 1
    alive[len(alive) - 1] = len(before)


@inner_kernel
def list_absent(
    before: Int64s, shift: int, first_pending: int, batch: BatchArrays
) -> tuple[int, int]:
    """List keys whose words were `before` without a slot in `batch.missed` and `batch.pending`;
    returns how many of each."""
    low = slot_bits(shift)
    missed = np.uint64(0)
    pending = np.uint64(0)
    for k in range(len(before)):
        absent, recent = int(before[k] & low == 0), int(before[k] >> shift >= first_pending)
        batch.missed[missed] = k
        missed += np.uint64(absent & (1 - recent))
        batch.pending[pending] = k
        pending += np.uint64(absent & recent)
    return np.int64(missed), np.int64(pending)  # type: ignore[return-value]


@compiled
def resolve(words: Words, shift: int, keys: Int32s, slots: Int32s, pending: Int32s) -> bool:
    """Fill in the slots that were `pending`; False where one of those keys has none."""
    low = slot_bits(shift)
    resident = True
    for k in pending:
        slots[k] = (np.int64(words[keys[k]]) & low) - 1
        resident = resident and slots[k] >= 0
    return resident


class Moves(NamedTuple):
    """The rows that a plan fetches and evicts: keys and slots, each pair of one length.

    `victim_slots` is given, the others are filled in.
    """

    missed_keys: Int32s
    missed_slots: Int32s
    victim_slots: Int64s
    victim_keys: Int32s
    victim_dirty: npt.NDArray[np.bool_]


@compiled
def place_rows(
    words: Words,
    shift: int,
    slot_key: Int32s,
    keys: Int32s,
    slots: Int32s,
    missed: Int32s,
    first_free: int,
    moves: Moves,
) -> int:
    """Empty the victims' slots, then give every missed key a slot: free ones first. Returns how
    many victims are dirty."""
    missed_keys, missed_slots, victim_slots, victim_keys, victim_dirty = moves
    low = slot_bits(shift)
    free = len(missed) - len(victim_slots)
    for m in range(free):
        missed_slots[m] = first_free + m
        missed_keys[m] = keys[missed[m]]
        slot_key[first_free + m] = missed_keys[m]
    for v in range(len(victim_slots)):
        if v + AHEAD < len(victim_slots):
            prefetch(slot_key, victim_slots[v + AHEAD])
        slot = victim_slots[v]
        missed_slots[free + v] = slot
        missed_keys[free + v] = keys[missed[free + v]]
        victim_keys[v] = slot_key[slot]
        slot_key[slot] = missed_keys[free + v]
    dirty = 0
    for v in range(len(victim_keys)):
        if v + AHEAD < len(victim_keys):
            prefetch(words, victim_keys[v + AHEAD])
        word = np.int64(words[victim_keys[v]])
        victim_dirty[v] = (word >> shift) >= FIRST_STAMP
        dirty += int(victim_dirty[v])
        words[victim_keys[v]] = word & ~low
    for m in range(len(missed)):
        if m + AHEAD < len(missed):
            prefetch(words, missed_keys[m + AHEAD])
        slots[missed[m]] = missed_slots[m]
        word = np.int64(words[missed_keys[m]])
        words[missed_keys[m]] = (word & ~low) | (missed_slots[m] + 1)
    return dirty


@compiled
def mark_resident(words: Words, shift: int, slot_key: Int32s, keys: Int64s) -> int:
    """Put `keys` into slots 0, 1, ... before the first batch; returns how many.

    Stops at a key that is outside of `words` or resident already.
    """
    low, pinned = slot_bits(shift), pinned_bit(shift)
    for slot in range(len(keys)):
        if slot + AHEAD < len(keys):
            prefetch(words, keys[slot + AHEAD])
        key = keys[slot]
        if key < 0 or key >= len(words) or np.int64(words[key]) & low != 0:
            return slot
        slot_key[slot] = key
        pin = np.int64(words[key]) & pinned
        words[key] = pin | (slot + 1) | (PRELOADED << shift)
    return len(keys)
