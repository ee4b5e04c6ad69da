"""The trainer's own Plan on a GPU, in Triton: what `lru.plan` does, exactly.

Victims are found by radix selection over the stamps of all slots: a pass a digit of 11 bits, the
age first, then the place of the first lookup within the mini-batch that used it last; then one pass
gathers all slots up to the threshold. Nothing waits for the host and no argument changes from one
mini-batch to the next but the turn of the buffers, so that the whole can be captured as a graph:
the number of the mini-batch is counted on the GPU.

Imported only where a GPU trains.
"""

# mypy: ignore-errors
# ruff: noqa: N803 (compile-time constants are written in capitals)

from __future__ import annotations

import triton
import triton.language as tl

from simulator.observe.lru import COUNTED, DIGIT

__all__ = ["LruScratch", "plan", "send_list"]

SCAN = 256
"""Ids of a program."""
WIDE = 4096
"""Slots of a program that reads every stamp."""
FIELDS = len(COUNTED)
MISSED, VICTIMS, WRITTEN, SHORT = (
    COUNTED.index(name) for name in ("misses", "victims", "write_backs", "short")
)


class LruScratch:
    """Work space of Plan; nothing in it means anything after the mini-batch."""

    def __init__(self, gpu, cache):
        pools, levels = len(cache.pools.slots), 1 + cache.place_digits
        self.winner = gpu.empty((len(cache.slot_of),), "int32")
        self.rank = gpu.empty((cache.lookups,), "int64")
        # with room behind it: a pool that has no slot to give must not read beyond the end
        self.chosen = gpu.empty((len(cache.row_of) + cache.lookups,), "int64")
        self.got = gpu.empty((cache.batches, pools), "int32")
        self.left = gpu.empty((pools,), "int32")
        self.prefix = gpu.empty((pools,), "int64")
        self.histogram = gpu.empty((levels, pools, 1 << DIGIT), "int32")


def plan(cache, work, ids, bag_of, slots, lists):
    """Plan one mini-batch of `ids`: fill `lists`, give each lookup its slot."""
    n, pools, window = len(ids), len(cache.pools.slots), cache.pools.window
    scan, wide = -(-n // SCAN), -(-max(cache.pools.slots) // WIDE)
    mark[(scan,)](ids, work.winner, n, B=SCAN)
    hold[(-(-cache.lookups // SCAN), 1 + window.future)](
        cache.clock, cache.ids, cache.starts, cache.slot_of, cache.held, B=SCAN
    )
    find[(scan,)](
        cache.clock, ids, bag_of, work.winner, cache.slot_of, cache.bounds, lists.missed_rows,
        work.rank, cache.need, cache.counts, n, POOLS=pools, FIELDS=FIELDS, MISSED=MISSED, B=SCAN,
    )  # fmt: skip
    work.histogram.zero_()
    slots_of_pools = (cache.clock, cache.stamp, cache.held, cache.bounds, window.past)
    for level in range(1 + cache.place_digits):
        shift = DIGIT * (cache.place_digits - level)
        count_digits[(wide, pools)](
            *slots_of_pools, work.prefix, work.histogram[level], FIRST=level == 0, SHIFT=shift,
            PLACE=cache.place, DIGIT=DIGIT, B=WIDE,
        )  # fmt: skip
        narrow[(pools,)](
            cache.clock, work.histogram[level], cache.need, work.left, work.prefix,
            FIRST=level == 0, POOLS=pools, DIGIT=DIGIT,
        )  # fmt: skip
    collect[(wide, pools)](
        *slots_of_pools, work.prefix, cache.need, work.got, work.chosen, POOLS=pools,
        PLACE=cache.place, B=WIDE,
    )  # fmt: skip
    assign[(scan,)](
        cache.clock, lists.missed_rows, work.rank, work.chosen, cache.row_of, cache.slot_of,
        lists.missed_slots, lists.write_rows, lists.write_slots, cache.counts, FIELDS=FIELDS,
        MISSED=MISSED, VICTIMS=VICTIMS, WRITTEN=WRITTEN, B=SCAN,
    )  # fmt: skip
    give[(scan,)](cache.clock, ids, cache.slot_of, cache.stamp, slots, n, PLACE=cache.place, B=SCAN)
    order[(scan,)](cache.clock, slots, cache.stamp, n, PLACE=cache.place, B=SCAN)
    finish[(1,)](
        cache.clock, cache.need, work.got, cache.counts, cache.host_counts, POOLS=pools,
        P=triton.next_power_of_2(pools), FIELDS=FIELDS, SHORT=SHORT,
    )  # fmt: skip


def send_list(cache, source, target, name):
    """A list of the mini-batch that was planned last, into memory of the host."""
    room = len(target)
    send[(-(-room // SCAN),)](
        cache.clock, source, target, cache.counts, room, FIELD=COUNTED.index(name), FIELDS=FIELDS,
        B=SCAN,
    )  # fmt: skip


@triton.jit(do_not_specialize=["n"])
def mark(ids, winner, n, B: tl.constexpr):
    """winner[id] = some position of id in this mini-batch."""
    k = tl.program_id(0) * B + tl.arange(0, B)
    row = tl.load(ids + k, mask=k < n, other=0)
    tl.store(winner + row, k, mask=k < n)


@triton.jit
def hold(clock, ids, starts, slot_of, held, B: tl.constexpr):
    """Mark the slots of a mini-batch of the window; mini-batches after the last are empty."""
    number = tl.load(clock)
    which = number + tl.program_id(1)
    k = tl.load(starts + which) + tl.program_id(0) * B + tl.arange(0, B)
    inside = k < tl.load(starts + which + 1)
    row = tl.load(ids + k, mask=inside, other=0)
    slot = tl.load(slot_of + row, mask=inside, other=-1)
    tl.store(held + slot, number, mask=slot >= 0)


@triton.jit(do_not_specialize=["n"])
def find(
    clock, ids, bag_of, winner, slot_of, bounds, missed, rank, need, counts, n,
    POOLS: tl.constexpr, FIELDS: tl.constexpr, MISSED: tl.constexpr, B: tl.constexpr,
):  # fmt: skip
    """List unique ids without a slot, count them by pool, and say where the slot of each will be
    found."""
    number = tl.load(clock)
    k = tl.program_id(0) * B + tl.arange(0, B)
    row = tl.load(ids + k, mask=k < n, other=0)
    unique = (k < n) & (tl.load(winner + row, mask=k < n, other=-1) == k)
    miss = unique & (tl.load(slot_of + row, mask=unique, other=0) < 0)
    tl.atomic_add(counts + number * FIELDS, tl.sum(unique.to(tl.int32), axis=0))
    inside = miss.to(tl.int32)
    begin = tl.atomic_add(counts + number * FIELDS + MISSED, tl.sum(inside, axis=0))
    position = begin + tl.cumsum(inside, axis=0) - inside
    pool = tl.load(bag_of + k, mask=k < n, other=0) % POOLS
    before = tl.atomic_add(need + number * POOLS + pool, inside, mask=miss)
    tl.store(missed + position, row, mask=miss)
    tl.store(rank + position, tl.load(bounds + pool, mask=miss, other=0) + before, mask=miss)


@triton.jit
def _free(clock, stamp, held, bounds, past, PLACE: tl.constexpr, B: tl.constexpr):
    """Slots of a pool, their stamps, and which of them nothing keeps."""
    number, pool = tl.load(clock), tl.program_id(1)
    k = tl.load(bounds + pool) + tl.program_id(0) * B + tl.arange(0, B)
    inside = k < tl.load(bounds + pool + 1)
    value = tl.load(stamp + k, mask=inside, other=0)
    kept = tl.load(held + k, mask=inside, other=0) >= number
    limit = tl.maximum(number - past, 0) + 2
    return k, value, inside & (kept == 0) & ((value >> PLACE) < limit)


@triton.jit(do_not_specialize=["past"])
def count_digits(
    clock, stamp, held, bounds, past, prefix, histogram, FIRST: tl.constexpr, SHIFT: tl.constexpr,
    PLACE: tl.constexpr, DIGIT: tl.constexpr, B: tl.constexpr,
):  # fmt: skip
    """How often each digit occurs in the stamps of free slots that begin as the threshold does."""
    pool = tl.program_id(1)
    _, value, free = _free(clock, stamp, held, bounds, past, PLACE, B)
    if not FIRST:
        free = free & ((value >> (SHIFT + DIGIT)) == tl.load(prefix + pool))
    digit = ((value >> SHIFT) & ((1 << DIGIT) - 1)).to(tl.int32)
    found = tl.histogram(tl.where(free, digit, 0), 1 << DIGIT)
    column = tl.arange(0, 1 << DIGIT)
    found -= tl.where(column == 0, B - tl.sum(free.to(tl.int32), axis=0), 0)
    tl.atomic_add(histogram + pool * (1 << DIGIT) + column, found, mask=found > 0)


@triton.jit
def narrow(
    clock, histogram, need, left, prefix, FIRST: tl.constexpr, POOLS: tl.constexpr,
    DIGIT: tl.constexpr,
):  # fmt: skip
    """The next digit of a pool's threshold: the stamp of the last slot that is wanted."""
    number, pool = tl.load(clock), tl.program_id(0)
    if FIRST:
        wanted = tl.load(need + number * POOLS + pool)
        begun = wanted.to(tl.int64) * 0
    else:
        wanted = tl.load(left + pool)
        begun = tl.load(prefix + pool)
    column = tl.arange(0, 1 << DIGIT)
    found = tl.load(histogram + pool * (1 << DIGIT) + column)
    fewer = tl.cumsum(found, axis=0) < wanted
    tl.store(left + pool, wanted - tl.sum(tl.where(fewer, found, 0), axis=0))
    tl.store(prefix + pool, (begun << DIGIT) + tl.sum(fewer.to(tl.int32), axis=0))


@triton.jit(do_not_specialize=["past"])
def collect(
    clock, stamp, held, bounds, past, prefix, need, got, chosen, POOLS: tl.constexpr,
    PLACE: tl.constexpr, B: tl.constexpr,
):  # fmt: skip
    """List the free slots of a pool up to its threshold, in any order."""
    number, pool = tl.load(clock), tl.program_id(1)
    k, value, free = _free(clock, stamp, held, bounds, past, PLACE, B)
    wanted = tl.load(need + number * POOLS + pool) > 0
    take = (free & (value <= tl.load(prefix + pool)) & wanted).to(tl.int32)
    count = tl.sum(take, axis=0)
    if count > 0:
        begin = tl.atomic_add(got + number * POOLS + pool, count)
        position = tl.load(bounds + pool) + begin + tl.cumsum(take, axis=0) - take
        tl.store(chosen + position, k, mask=take > 0)


@triton.jit
def assign(
    clock, missed, rank, chosen, row_of, slot_of, missed_slots, write_rows, write_slots, counts,
    FIELDS: tl.constexpr, MISSED: tl.constexpr, VICTIMS: tl.constexpr, WRITTEN: tl.constexpr,
    B: tl.constexpr,
):  # fmt: skip
    """Hand chosen slots to missed rows, and list the rows that were there."""
    number = tl.load(clock)
    k = tl.program_id(0) * B + tl.arange(0, B)
    inside = k < tl.load(counts + number * FIELDS + MISSED)
    row = tl.load(missed + k, mask=inside, other=0)
    slot = tl.load(chosen + tl.load(rank + k, mask=inside, other=0), mask=inside, other=0)
    old = tl.load(row_of + slot, mask=inside, other=-1)
    gone = (old >= 0).to(tl.int32)
    count = tl.sum(gone, axis=0)
    begin = tl.atomic_add(counts + number * FIELDS + VICTIMS, count)
    tl.atomic_add(counts + number * FIELDS + WRITTEN, count)
    position = begin + tl.cumsum(gone, axis=0) - gone
    tl.store(write_rows + position, old, mask=gone > 0)
    tl.store(write_slots + position, slot, mask=gone > 0)
    tl.store(slot_of + old, -1, mask=gone > 0)
    tl.store(row_of + slot, row, mask=inside)
    tl.store(slot_of + row, slot.to(tl.int32), mask=inside)
    tl.store(missed_slots + k, slot, mask=inside)


@triton.jit(do_not_specialize=["n"])
def give(clock, ids, slot_of, stamp, slots, n, PLACE: tl.constexpr, B: tl.constexpr):
    """slots[k] = slot of ids[k], stamped with this mini-batch and the last of all places."""
    age = (tl.load(clock) + 2).to(tl.int64)
    k = tl.program_id(0) * B + tl.arange(0, B)
    row = tl.load(ids + k, mask=k < n, other=0)
    slot = tl.load(slot_of + row, mask=k < n, other=-1)
    tl.store(slots + k, slot, mask=k < n)
    tl.store(stamp + slot, ((age + 1) << PLACE) - 1, mask=slot >= 0)


@triton.jit(do_not_specialize=["n"])
def order(clock, slots, stamp, n, PLACE: tl.constexpr, B: tl.constexpr):
    """The place of the first lookup of each slot."""
    age = (tl.load(clock) + 2).to(tl.int64)
    k = tl.program_id(0) * B + tl.arange(0, B)
    slot = tl.load(slots + k, mask=k < n, other=-1)
    tl.atomic_min(stamp + slot, (age << PLACE) + k, mask=slot >= 0)


@triton.jit
def finish(
    clock, need, got, counts, host_counts, POOLS: tl.constexpr, P: tl.constexpr,
    FIELDS: tl.constexpr, SHORT: tl.constexpr,
):  # fmt: skip
    """Tell the host what was counted, and go on to the next mini-batch."""
    number = tl.load(clock)
    pool = tl.arange(0, P)
    there = pool < POOLS
    wanted = tl.load(need + number * POOLS + pool, mask=there, other=0)
    found = tl.load(got + number * POOLS + pool, mask=there, other=0)
    for field in tl.static_range(SHORT):
        tl.store(host_counts + number * FIELDS + field, tl.load(counts + number * FIELDS + field))
    tl.store(host_counts + number * FIELDS + SHORT, tl.sum(wanted - found, axis=0))
    tl.store(clock, number + 1)


@triton.jit(do_not_specialize=["room"])
def send(
    clock, source, target, counts, room, FIELD: tl.constexpr, FIELDS: tl.constexpr, B: tl.constexpr
):
    """target[k] = source[k], as far as the list goes and there is room."""
    number = tl.load(clock) - 1
    count = tl.minimum(tl.load(counts + number * FIELDS + FIELD), room)
    k = tl.program_id(0) * B + tl.arange(0, B)
    tl.store(target + k, tl.load(source + k, mask=k < count, other=0), mask=k < count)
