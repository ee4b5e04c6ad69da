"""A set-associative cache on a GPU, in Triton: what `tagged` does on CPU tensors.

Imported only where a GPU trains; see `kernels_gpu`.
"""

# mypy: ignore-errors
# ruff: noqa: N803 (compile-time constants are written in capitals)

from __future__ import annotations

import triton
import triton.language as tl

__all__ = ["insert", "locate", "probe", "swap"]

ROWS = 8
"""Rows of one program."""


def probe(cache, _ids, pairs, number):
    """See `tagged.probe`; the rows are those that begin a run of sorted `pairs`."""
    keys, n = pairs[0], len(pairs[0])
    _probe[(-(-n // ROWS),)](
        keys, cache.tags, cache.marks, cache.missed, cache.counts[number], n, cache.sets,
        cache.ways, number + 1, **_sizes(cache),
    )  # fmt: skip


def insert(cache, swapped, number):
    """See `tagged.insert`."""
    n = len(swapped.rows)
    if n:
        _insert[(-(-n // ROWS),)](
            swapped.rows, swapped.slots, cache.tags, cache.marks, cache.counts[number], n,
            cache.ways, number + 1, **_sizes(cache),
        )  # fmt: skip


def locate(cache, ids, slots):
    """See `tagged.locate`."""
    n = len(ids)
    _locate[(-(-n // ROWS),)](ids, cache.tags, slots, n, cache.sets, cache.ways, **_sizes(cache))


def swap(swapped, rows, table):
    """See `tagged.swap`; a warp a row."""
    n, width = len(swapped.rows), rows.shape[1]
    if n:
        _swap[(-(-n // ROWS),)](
            swapped.rows, swapped.old, swapped.slots, rows, table, n, width,
            D=triton.next_power_of_2(width), R=ROWS, num_warps=ROWS,
        )  # fmt: skip


def _sizes(cache):
    return {"W": triton.next_power_of_2(cache.ways), "R": ROWS, "num_warps": ROWS}


@triton.jit
def _set_of(row, sets):
    """The finaliser of MurmurHash3, modulo the sets."""
    h = row.to(tl.uint64)
    h = (h ^ (h >> 33)) * 0xFF51AFD7ED558CCD
    h = (h ^ (h >> 33)) * 0xC4CEB9FE1A85EC53
    return ((h ^ (h >> 33)) % sets.to(tl.uint64)).to(tl.int64)


@triton.jit
def _slot_of(tags, row, wanted, sets, ways, W: tl.constexpr):
    """The slot of each row, -1 where it has none: all tags of a set are read."""
    way = tl.arange(0, W)
    first = _set_of(row, sets) * ways
    there = wanted[:, None] & (way < ways)[None, :]
    tag = tl.load(tags + first[:, None] + way[None, :], mask=there, other=-1)
    found = tl.max(tl.where(there & (tag == row[:, None]), way[None, :] + 1, 0), axis=1)
    return tl.where(found > 0, first + found - 1, -1)


@triton.jit(do_not_specialize=["n", "sets", "number"])
def _probe(keys, tags, marks, missed, counts, n, sets, ways, number, W: tl.constexpr,
           R: tl.constexpr):  # fmt: skip
    k = tl.program_id(0) * R + tl.arange(0, R)
    row = tl.load(keys + k, mask=k < n, other=-1).to(tl.int64)
    before = tl.load(keys + k - 1, mask=(k < n) & (k > 0), other=-1).to(tl.int64)
    head = (k < n) & (row != before)
    slot = _slot_of(tags, row, head, sets, ways, W)
    tl.store(marks + slot, number, mask=head & (slot >= 0))
    miss = head & (slot < 0)
    inside = miss.to(tl.int32)
    begin = tl.atomic_add(counts, tl.sum(inside, axis=0))
    tl.store(missed + begin + tl.cumsum(inside, axis=0) - inside, row, mask=miss)


@triton.jit(do_not_specialize=["n", "number"])
def _insert(rows, slots, tags, marks, counts, n, ways, number, W: tl.constexpr, R: tl.constexpr):
    k = tl.program_id(0) * R + tl.arange(0, R)
    row = tl.load(rows + k, mask=k < n, other=0)
    slot = tl.load(slots + k, mask=k < n, other=0)
    way = tl.arange(0, W)
    there = (k < n)[:, None] & (way < ways)[None, :]
    first = slot // ways * ways
    mark = tl.load(marks + first[:, None] + way[None, :], mask=there, other=number)
    idle = tl.sum((mark < number).to(tl.int32), axis=1)
    tl.atomic_add(counts + 1, tl.sum(((idle == 0) & (k < n)).to(tl.int32), axis=0))
    tl.store(tags + slot, row, mask=k < n)
    tl.store(marks + slot, number, mask=k < n)


@triton.jit(do_not_specialize=["n", "sets"])
def _locate(ids, tags, slots, n, sets, ways, W: tl.constexpr, R: tl.constexpr):
    k = tl.program_id(0) * R + tl.arange(0, R)
    row = tl.load(ids + k, mask=k < n, other=0).to(tl.int64)
    slot = _slot_of(tags, row, k < n, sets, ways, W)
    tl.store(slots + k, slot.to(tl.int32), mask=k < n)


@triton.jit(do_not_specialize=["n"])
def _swap(rows, old, slots, cache, table, n, width, D: tl.constexpr, R: tl.constexpr):
    k = tl.program_id(0) * R + tl.arange(0, R)
    column = tl.arange(0, D)
    wanted = (column < width)[None, :]
    inside = (k < n)[:, None] & wanted
    slot = tl.load(slots + k, mask=k < n, other=0)
    leaves = tl.load(old + k, mask=k < n, other=-1)
    comes = tl.load(rows + k, mask=k < n, other=0)
    here = cache + slot[:, None] * width + column[None, :]
    out = (leaves >= 0)[:, None] & wanted
    tl.store(table + leaves[:, None] * width + column[None, :], tl.load(here, mask=out), mask=out)
    value = tl.load(table + comes[:, None] * width + column[None, :], mask=inside)
    tl.store(here, value, mask=inside)
