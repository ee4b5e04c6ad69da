"""Embedding operators on a GPU, in Triton: one launch an operator, one fused table.

Summation order differs from the CPU's (sums over blocks, and additions in any order where a long
run of equal ids is shared out), so tables agree to rounding, not to the bit.

Imported only where a GPU trains. Triton compiles the source of these functions, so their
arguments are pointers and numbers without annotations of ours. Counts that change from mini-batch
to mini-batch are not specialised on, so that nothing is compiled while training is timed.
"""

# mypy: ignore-errors
# ruff: noqa: N803 (compile-time constants are written in capitals)

from __future__ import annotations

import torch
import triton
import triton.language as tl

from simulator.observe.rows import EPSILON, OPTIMIZERS

__all__ = [
    "coalesced_update",
    "count_cold",
    "count_idle",
    "find",
    "gather",
    "mark",
    "place_cold",
    "pool",
    "put",
    "scatter",
    "touch",
    "update",
]


RUNS = 8
"""Sorted pairs that one program of the update looks at."""
SPAN = 32
"""Longest run of equal ids that one program sums."""


@triton.jit
def _rows(table, beyond, slots, key, position, wanted, stride, TIERED: tl.constexpr):
    """Where the rows `key` of lookups begin."""
    where = table + key * stride
    if TIERED:
        slot = tl.load(slots + position, mask=wanted, other=0).to(tl.int64)
        where = tl.where(slot >= 0, table + slot * stride, beyond + key * stride)
    return where


@triton.jit
def pool(table, ids, offsets, out, beyond, slots, dim, stride, D: tl.constexpr, C: tl.constexpr,
         TIERED: tl.constexpr):  # fmt: skip
    """out[bag] = sum of the rows of a bag, C rows at a time; rows below 0 are left out. Rows begin
    `stride` apart. TIERED: those of lookups with a slot are table[slot], others beyond[id]."""
    bag = tl.program_id(0)
    begin = tl.load(offsets + bag)
    end = tl.load(offsets + bag + 1)
    column = tl.arange(0, D)
    wanted = column < dim
    total = tl.zeros([D], tl.float32)
    for k in range(begin, end, C):
        position = k + tl.arange(0, C)
        inside = position < end
        row = tl.load(ids + position, mask=inside, other=-1).to(tl.int64)
        begins = _rows(table, beyond, slots, row, position, inside, stride, TIERED)
        where = begins[:, None] + column[None, :]
        there = (row >= 0)[:, None] & wanted[None, :]
        total += tl.sum(tl.load(where, mask=there, other=0.0), axis=0)
    tl.store(out + bag.to(tl.int64) * dim + column, total, mask=wanted)


@triton.jit(do_not_specialize=["n"])
def gather(table, rows, out, n, dim, D: tl.constexpr, R: tl.constexpr):
    """out[k] = table[rows[k]]."""
    k = tl.program_id(0) * R + tl.arange(0, R)
    column = tl.arange(0, D)
    inside = (k < n)[:, None] & (column < dim)[None, :]
    row = tl.load(rows + k, mask=k < n, other=0).to(tl.int64)
    value = tl.load(table + row[:, None] * dim + column[None, :], mask=inside, other=0.0)
    tl.store(out + k.to(tl.int64)[:, None] * dim + column[None, :], value, mask=inside)


@triton.jit(do_not_specialize=["n"])
def scatter(table, rows, values, n, dim, D: tl.constexpr, R: tl.constexpr):
    """table[rows[k]] = values[k]."""
    k = tl.program_id(0) * R + tl.arange(0, R)
    column = tl.arange(0, D)
    inside = (k < n)[:, None] & (column < dim)[None, :]
    row = tl.load(rows + k, mask=k < n, other=0).to(tl.int64)
    value = tl.load(values + k.to(tl.int64)[:, None] * dim + column[None, :], mask=inside)
    tl.store(table + row[:, None] * dim + column[None, :], value, mask=inside)


def coalesced_update(table, pairs, bag_of, gradient, rate, optimizer, tier=None, away=False):
    """A step of `optimizer` for each id of sorted `pairs` (keys, positions). `tier`: slots of the
    lookups, and the rows of those that have none; `away`: rows are reached over a link."""
    (keys, order), kind = pairs, OPTIMIZERS.index(optimizer)
    n, dim, stride = len(keys), gradient.shape[-1], table.shape[1]
    slots, beyond = (keys, table) if tier is None else tier
    sizes = {"D": triton.next_power_of_2(dim), "KIND": kind, "EPSILON": float(EPSILON)}
    sizes |= {"SPAN": SPAN, "TIERED": tier is not None}
    # pieces of SGD add up in the table, but a row crosses a link once
    cuts = bool(kind) or away
    cut = torch.zeros((n // SPAN + 2, dim), device=gradient.device) if cuts else keys
    update[(-(-n // RUNS),)](
        table, keys, order, bag_of, gradient, cut, beyond, slots, n, rate, dim, stride, R=RUNS,
        CUTS=cuts, **sizes, num_warps=4,
    )  # fmt: skip
    if cuts and n > SPAN:
        add_up[(n // SPAN,)](table, keys, order, cut, beyond, slots, n, rate, dim, stride, **sizes)


@triton.jit
def _step(weights, state, old, total, inside, wanted, rate, dim, KIND: tl.constexpr,
          EPSILON: tl.constexpr):  # fmt: skip
    """Rows after a step with the gradients `total` [R, D]; updates their state. `inside` [R, 1]:
    rows that there are, `wanted` [1, D]: columns."""
    here = inside & wanted
    if KIND == 0:
        tl.store(weights, old - rate * total, mask=here)
    elif KIND == 1:
        squares = tl.load(state, mask=here, other=0.0) + total * total
        tl.store(state, squares, mask=here)
        tl.store(weights, old - rate * total / (tl.sqrt(squares) + EPSILON), mask=here)
    else:
        mean = tl.sum(total * total, axis=1)[:, None] / dim
        squares = tl.load(state, mask=inside, other=0.0) + mean
        tl.store(state, squares, mask=inside)
        tl.store(weights, old - rate / (tl.sqrt(squares) + EPSILON) * total, mask=here)


@triton.jit
def _begin_of_run(keys, key, position, wanted):
    """Where the run of equal keys begins that holds `position` (bisection; `position` where it is
    not `wanted`)."""
    low = tl.where(wanted, 0, position)
    high = position
    while tl.max((low < high).to(tl.int32), axis=0) > 0:
        middle = (low + high) // 2
        unequal = tl.load(keys + middle, mask=low < high, other=0).to(tl.int64) != key
        low = tl.where((low < high) & unequal, middle + 1, low)
        high = tl.where(unequal, high, middle)
    return low


@triton.jit(do_not_specialize=["n", "rate"])
def update(
    table, keys, order, bag_of, gradients, cut, beyond, slots, n, rate, dim, stride,
    D: tl.constexpr, KIND: tl.constexpr, EPSILON: tl.constexpr, R: tl.constexpr,
    SPAN: tl.constexpr, CUTS: tl.constexpr, TIERED: tl.constexpr,
):  # fmt: skip
    """A step for the sum of the gradients of each run of equal keys; none for keys below 0.

    A program looks at R sorted pairs; those that begin a run sum it, one pair of each run at a
    time. Runs are cut at multiples of SPAN so that no program walks a hot row alone; the pieces of
    a cut run add atomically: in the table (SGD's), or (CUTS) in `cut`, at the first multiple of
    SPAN that the run holds. TIERED: see `pool`.
    """
    first = tl.program_id(0) * R + tl.arange(0, R)
    there = first < n
    key = tl.load(keys + first, mask=there, other=-1).to(tl.int64)
    before = tl.load(keys + first - 1, mask=there & (first > 0), other=-1).to(tl.int64)
    head = (key >= 0) & ((before != key) | (first % SPAN == 0))
    stop = tl.minimum((first // SPAN + 1) * SPAN, n)
    after = tl.load(keys + stop, mask=head & (stop < n), other=-1).to(tl.int64)
    whole = head & (before != key) & (after != key)
    column = tl.arange(0, D)
    wanted = (column < dim)[None, :]
    found = tl.load(order + first, mask=head, other=0) if TIERED else first
    begins = _rows(table, beyond, slots, key, found, head, stride, TIERED)
    target = begins[:, None] + column[None, :]
    old = tl.load(target, mask=whole[:, None] & wanted, other=0.0)
    total = tl.zeros([R, D], tl.float32)
    k = first
    mine = head
    more = tl.max(mine.to(tl.int32), axis=0) > 0
    while more:
        position = tl.load(order + k, mask=mine, other=0)
        bag = tl.load(bag_of + position, mask=mine, other=0).to(tl.int64)
        where = gradients + bag[:, None] * dim + column[None, :]
        total += tl.load(where, mask=mine[:, None] & wanted, other=0.0)
        k += 1
        mine = mine & (k < stop)
        mine = mine & (tl.load(keys + k, mask=mine, other=-1).to(tl.int64) == key)
        more = tl.max(mine.to(tl.int32), axis=0) > 0
    state = target + dim if KIND == 1 else begins[:, None] + dim
    _step(target, state, old, total, whole[:, None], wanted, rate, dim, KIND, EPSILON)
    pieces = (head & (whole == 0))[:, None] & wanted
    if CUTS == 0:
        tl.atomic_add(target, -rate * total, mask=pieces, sem="relaxed")
    else:
        begin = _begin_of_run(keys, key, first, head & (whole == 0))
        sums = cut + (begin // SPAN + 1).to(tl.int64)[:, None] * dim + column[None, :]
        tl.atomic_add(sums, total, mask=pieces, sem="relaxed")


@triton.jit(do_not_specialize=["n", "rate"])
def add_up(
    table, keys, order, cut, beyond, slots, n, rate, dim, stride, D: tl.constexpr,
    KIND: tl.constexpr, EPSILON: tl.constexpr, SPAN: tl.constexpr, TIERED: tl.constexpr,
):  # fmt: skip
    """A step for each run that was cut, whose sum is in `cut` at the first multiple of SPAN behind
    its begin."""
    place = tl.program_id(0) + 1 + tl.arange(0, 1)
    k = place * SPAN
    key = tl.load(keys + k, mask=k < n, other=-1).to(tl.int64)
    cross = (key >= 0) & (tl.load(keys + k - 1, mask=k < n, other=-1).to(tl.int64) == key)
    long_before = (k > SPAN) & (k < n)  # a run that crosses the multiple before this one, too
    cross = cross & (tl.load(keys + k - SPAN - 1, mask=long_before, other=-1).to(tl.int64) != key)
    column = tl.arange(0, D)
    wanted = (column < dim)[None, :]
    here = cross[:, None] & wanted
    found = tl.load(order + k, mask=cross, other=0) if TIERED else k
    begins = _rows(table, beyond, slots, key, found, cross, stride, TIERED)
    target = begins[:, None] + column[None, :]
    total = tl.load(cut + place[:, None].to(tl.int64) * dim + column[None, :], mask=here, other=0.0)
    old = tl.load(target, mask=here, other=0.0)
    state = target + dim if KIND == 1 else begins[:, None] + dim
    _step(target, state, old, total, cross[:, None], wanted, rate, dim, KIND, EPSILON)


@triton.jit(do_not_specialize=["n"])
def mark(ids, winner, n, B: tl.constexpr):
    """winner[id] = some position of id in this mini-batch."""
    k = tl.program_id(0) * B + tl.arange(0, B)
    row = tl.load(ids + k, mask=k < n, other=0)
    tl.store(winner + row, k, mask=k < n)


@triton.jit(do_not_specialize=["n"])
def find(ids, winner, slot_of, missed, counts, n, B: tl.constexpr):
    """Count unique ids, compact those without a slot into `missed` (in any order) and count
    them."""
    k = tl.program_id(0) * B + tl.arange(0, B)
    row = tl.load(ids + k, mask=k < n, other=0)
    unique = (k < n) & (tl.load(winner + row, mask=k < n, other=-1) == k)
    miss = unique & (tl.load(slot_of + row, mask=unique, other=0) < 0)
    tl.atomic_add(counts, tl.sum(unique.to(tl.int32), axis=0))
    inside = miss.to(tl.int32)
    begin = tl.atomic_add(counts + 1, tl.sum(inside, axis=0))
    position = begin + tl.cumsum(inside, axis=0) - inside
    tl.store(missed + position, row, mask=miss)


@triton.jit(do_not_specialize=["n", "value"])
def put(target, indices, values, n, value, WITH_VALUES: tl.constexpr, B: tl.constexpr):
    """target[indices[k]] = values[k], or `value` for all of them."""
    k = tl.program_id(0) * B + tl.arange(0, B)
    index = tl.load(indices + k, mask=k < n, other=0)
    if WITH_VALUES:
        tl.store(target + index, tl.load(values + k, mask=k < n).to(tl.int32), mask=k < n)
    else:
        tl.store(target + index, value, mask=k < n)


@triton.jit(do_not_specialize=["n", "oldest"])
def count_idle(age, idle, n, oldest, B: tl.constexpr):
    """idle += slots last used before mini-batch `oldest`."""
    k = tl.program_id(0) * B + tl.arange(0, B)
    old = (k < n) & (tl.load(age + k, mask=k < n, other=0) < oldest)
    tl.atomic_add(idle, tl.sum(old.to(tl.int32), axis=0), sem="relaxed")


@triton.jit(do_not_specialize=["n", "batch"])
def touch(ids, slot_of, age, slots, batch, n, B: tl.constexpr):
    """slots[k] = slot of ids[k], and note its use by this mini-batch."""
    k = tl.program_id(0) * B + tl.arange(0, B)
    row = tl.load(ids + k, mask=k < n, other=0)
    slot = tl.load(slot_of + row, mask=k < n, other=0)
    tl.store(slots + k, slot, mask=k < n)
    tl.store(age + slot, batch, mask=k < n)


@triton.jit
def count_cold(ids, slot_of, offsets, slots, cold, B: tl.constexpr):
    """slots[k] = slot of ids[k] (-1: not cached), and how many of each bag are not; a bag a
    program."""
    bag = tl.program_id(0)
    end = tl.load(offsets + bag + 1)
    missing = tl.zeros([B], tl.int32)
    for k in range(tl.load(offsets + bag), end, B):
        position = k + tl.arange(0, B)
        inside = position < end
        row = tl.load(ids + position, mask=inside, other=0)
        slot = tl.load(slot_of + row, mask=inside, other=0)
        tl.store(slots + position, slot, mask=inside)
        missing += (slot < 0).to(tl.int32)
    tl.store(cold + bag, tl.sum(missing, axis=0))


@triton.jit
def place_cold(ids, slots, offsets, cold_offsets, cold_ids, cold_bags, B: tl.constexpr):
    """The ids that are not cached, bag by bag, and the bag of each."""
    bag = tl.program_id(0)
    end = tl.load(offsets + bag + 1)
    to = tl.load(cold_offsets + bag)
    for k in range(tl.load(offsets + bag), end, B):
        position = k + tl.arange(0, B)
        inside = position < end
        missing = inside & (tl.load(slots + position, mask=inside, other=0) < 0)
        cold = missing.to(tl.int32)
        target = to + tl.cumsum(cold, axis=0) - cold
        tl.store(cold_ids + target, tl.load(ids + position, mask=inside, other=0), mask=missing)
        tl.store(cold_bags + target, bag, mask=missing)
        to += tl.sum(cold, axis=0)
