"""What the words of a program become on a CPU: a pass over its accesses and its instructions.

What a pass costs is in `cpu`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from simulator.caches.ranges import ranges_of
from simulator.columns import by_element, least, most
from simulator.config.operators import CpuOperator, OperatorProfile
from simulator.errors import ConfigError, InvariantError
from simulator.hardware.access import Access
from simulator.hardware.devices.dealing import hot_rows_in
from simulator.hardware.program import (
    POSITION_BYTES,
    RADIX_BITS,
    Accumulate,
    Add,
    Buffer,
    Dense,
    Expand,
    Flow,
    Gather,
    KeyValue,
    Operation,
    Pool,
    Probe,
    Scatter,
    Sort,
    Store,
    Update,
    ZeroCopy,
    key_bits,
)
from simulator.units import PS_PER_S

__all__ = ["LINE_BYTES", "PASSES", "CpuPass", "Package", "lines_of"]

LINE_BYTES = 64
"""Cache line of every CPU modelled (x86 and Arm Neoverse alike)."""

TAG_BYTES = 8
"""A tag of a cache: a row number."""
LOG_BYTES = 4096
"""What a log is appended in: a page of most drives."""
SORT_REGIONS = 2
"""Parallel regions of a sort by ranges: counting, then moving."""


@dataclass(frozen=True, slots=True)
class CpuPass(Operation):
    """An operator as the CPU sees it: its accesses, and rows (or pairs) that cost instructions."""

    operator: CpuOperator
    accesses: tuple[Access, ...]
    count: int
    """Times that a thread spends the operator's `row_time`."""
    tables: int
    """Tables that it covers: bounds the threads of an operator that runs one a table."""
    lines: int = 0
    """Cache lines of a row: times `line_time` for each of `count`."""
    skip_ps: float = 0.0
    """Time of one thread for ids that are marked as skipped."""
    step_ps: float = 0.0
    """Time of one thread for the steps of an optimizer, beside SGD's."""
    ranges: tuple[int, ...] = ()
    """How many of `count` are in each range of rows, of ranges that threads take one after the
    other; what they do not count is the same in all. Empty: threads share rows evenly."""
    regions: int = 1
    """Parallel regions one after the other, each with a start of all threads."""
    waits: bool = True
    """Its threads wait for memory, the longer the more others load it; products are computed on
    what was asked for long before."""
    parts: int = 1
    """Equal passes of which it is one, that wait together for the first pages."""

    @property
    def busy_ps(self) -> int:
        """Instructions of one thread, not hidden behind its memory accesses."""
        operator = self.operator
        each = operator.row_time + self.lines * operator.line_time
        return round(self.count * each + self.skip_ps + self.step_ps)


@dataclass(frozen=True, slots=True)
class Package:
    """What the words need to know of the CPU that they run on."""

    name: str
    dram: str
    """Place of its own memory."""
    last_level_cache: int
    device_cache: int
    core_flops: int | None = None
    """Products that a core computes, FLOP a second; None: nobody says."""


def _pool(word: Pool, software: OperatorProfile, at: Package) -> CpuPass:
    rows, store = word.rows, word.reads
    looked_up = _each(store, rows, rows.lookups, store.row_bytes, word.hit_share)
    if word.tier_hits:
        pairs = zip(looked_up, word.tier_hits, strict=True)
        looked_up = tuple(replace(access, hit_share=share) for access, share in pairs)
    accesses = (
        _listed(rows.lookups + word.skipped, software, at),
        *looked_up,
        _written(word.into),
    )
    features = word.features or store.tables
    work = CpuPass(word.name, at.name, software.gather_reduce, accesses, rows.lookups, features)
    lines, skip_ps = lines_of(store.row_bytes), word.skipped * software.skip_time
    return replace(work, lines=lines, skip_ps=skip_ps)


def _expand(word: Expand, software: OperatorProfile, at: Package) -> CpuPass:
    """The sample's own vector stays cached."""
    lookups, size = word.rows.lookups, word.gradient_bytes
    assert software.expand is not None, "a pass that the software does not have"
    accesses = (
        _read(word.source),
        Access(at.dram, lookups, size, write=True, random=False),
    )
    work = CpuPass(word.name, at.name, software.expand, accesses, lookups, word.features)
    return replace(work, lines=lines_of(size))


def _sort(word: Sort, software: OperatorProfile, at: Package) -> CpuPass:
    """Table by table."""
    lookups, pair = word.rows.lookups, software.id_bytes + POSITION_BYTES
    if software.sort_kind == "radix":
        passes = math.ceil(key_bits(word.table_rows) / RADIX_BITS)
    else:
        passes = _merges(lookups / word.tables)
    lists = (
        _listed(lookups + word.skipped, software, at),
        Access(at.dram, lookups, pair, random=False),
        Access(at.dram, lookups, pair, random=False, write=True),
    )
    accesses = tuple(replace(access, hit_share=word.held) for access in lists)
    work = CpuPass(word.name, at.name, software.sort, accesses, lookups * passes, word.tables)
    return replace(work, skip_ps=word.skipped * software.skip_time, regions=SORT_REGIONS)


@by_element
def _merges(pairs: float) -> int:
    """Passes of a sort of `pairs` that merges."""
    return max(1, math.ceil(math.log2(max(2.0, pairs))))


def _accumulate(word: Accumulate, software: OperatorProfile, at: Package) -> CpuPass:
    size = word.gradient_bytes
    into = Access(at.dram, word.rows.rows, size, write=True, random=False)
    accesses = (*_gradients(word, at), into)
    work = CpuPass(
        word.name, at.name, software.accumulate, accesses, word.rows.lookups, word.tables
    )
    begun_ps = word.rows.rows * software.accumulate.distinct_time
    return _dealt(replace(work, lines=lines_of(size), step_ps=begun_ps), word.rows, 0)


def _update(word: Update, software: OperatorProfile, at: Package) -> CpuPass:
    update, tables = _in_place(word.writes, word.rows), word.writes.tables
    unique, lines = word.rows.rows, lines_of(word.gradient_bytes)
    step_ps = unique * lines * software.optimizer_steps.line_time(word.optimizer)
    if word.coalesce:
        accesses = (*_gradients(word, at), *update)
        lookups = word.rows.lookups
        step_ps += unique * software.accumulate.distinct_time
        work = CpuPass(word.name, at.name, software.accumulate, accesses, lookups, tables)
        store_rows = word.writes.bytes // word.writes.entry_bytes
        return _dealt(replace(work, lines=lines, step_ps=step_ps), word.rows, store_rows)
    assert software.scatter is not None, "a pass that the software does not have"
    summed = Access(at.dram, unique, word.gradient_bytes, random=False)
    work = CpuPass(word.name, at.name, software.scatter, (summed, *update), unique, tables)
    return replace(work, lines=lines, step_ps=step_ps)


def _dealt(work: CpuPass, rows: Flow, among: int) -> CpuPass:
    """A pass whose threads take ranges of `among` rows (0: nobody says how many), where they do."""
    bits = work.operator.range_bits
    if not bits:
        return work
    ranges, told = ranges_of(among, bits), rows.ranges
    counted = told.in_fewer(ranges) if told is not None and told.among == among else None
    return replace(work, ranges=counted or tuple(hot_rows_in(ranges, rows.hottest)))


def _gradients(word: Accumulate | Update, at: Package) -> tuple[Access, ...]:
    """Reads of the gradients of all lookups: each expanded one once, or the pooled ones, which
    are in the last-level cache after the first read as far as it holds them."""
    lookups, size = word.rows.lookups, word.gradient_bytes
    if word.expanded:
        return (Access(at.dram, lookups, size, buffer=True),)
    vectors = word.source.bytes
    held = least(1.0, at.last_level_cache / vectors) if vectors else 1.0
    first = _staged(word.source, 1, vectors, at)
    return (Access(at.dram, lookups, size, hit_share=held, buffer=True), first)


def _gather(word: Gather, software: OperatorProfile, at: Package) -> CpuPass:
    rows, store, size = word.rows.rows, word.reads, word.reads.entry_bytes
    held = _each(store, word.rows, rows, size)
    accesses: tuple[Access, ...] = (
        *held,
        Access(word.into.memory, rows, size, write=True, random=False),
    )
    if word.changes:  # what was gathered is set to nothing
        emptied = (replace(access, write=True, in_place=True) for access in held)
        accesses = (*emptied, *accesses)
    work = CpuPass(word.name, at.name, software.gather, accesses, rows, store.tables)
    if store.keyed is not None:
        work = _through(work, store.keyed, store.keyed.get_ps)
    return replace(work, lines=lines_of(size))


def _through(work: CpuPass, keyed: KeyValue, ps: int) -> CpuPass:
    """A pass whose rows each take `ps` of a shard's thread more."""
    operator = work.operator
    each = operator.model_copy(update={"threads": "tables", "row_time": operator.row_time + ps})
    return replace(work, operator=each, tables=keyed.shards)


def _scatter(word: Scatter, software: OperatorProfile, at: Package) -> CpuPass:
    rows, store, size = word.rows.rows, word.writes, word.writes.entry_bytes
    if store.keyed is not None:
        return _put(word, software, at, store.keyed)
    written = _each(store, word.rows, rows, size, write=True)
    accesses: tuple[Access, ...] = (_staged(word.source, rows, size, at), *written)
    if word.how != "replace":
        read = (replace(access, write=False) for access in written)
        accesses = (accesses[0], *read, *(replace(access, in_place=True) for access in written))
    work = CpuPass(word.name, at.name, software.row_scatter, accesses, rows, store.tables)
    return replace(work, lines=lines_of(size))


def _put(word: Scatter, software: OperatorProfile, at: Package, keyed: KeyValue) -> CpuPass:
    """Rows into the table in memory, and in the end into the log."""
    rows, size = word.rows.rows, word.writes.entry_bytes
    logged = math.ceil(rows * size * keyed.appended / LOG_BYTES)
    accesses = (
        _staged(word.source, rows, size, at),
        Access(at.dram, rows, size, write=True, buffer=True),
        Access(word.writes.memory, logged, LOG_BYTES, write=True, random=False),
    )
    work = CpuPass(word.name, at.name, software.row_scatter, accesses, rows, keyed.shards)
    return replace(_through(work, keyed, keyed.put_ps), lines=lines_of(size))


def _copied(word: ZeroCopy, software: OperatorProfile, at: Package) -> CpuPass:
    """Rows as in a gather, each written where it lies in the other store."""
    rows, size = word.rows.rows, word.reads.entry_bytes
    accesses = (
        *_each(word.reads, word.rows, rows, size),
        *_each(word.writes, word.rows, rows, size, write=True),
    )
    work = CpuPass(word.name, at.name, software.gather, accesses, rows, word.reads.tables)
    return replace(work, lines=lines_of(size), parts=word.parts)


def _probe(word: Probe, software: OperatorProfile, at: Package) -> CpuPass:
    """Ids in order, tags of 8 B of a set for each, its own written where it was missed."""
    rows, size = word.rows, word.ways * TAG_BYTES
    accesses = (
        _listed(rows, software, at),
        Access(at.dram, rows, size, buffer=True),
        Access(at.dram, word.missed, TAG_BYTES, write=True, in_place=True, buffer=True),
    )
    return CpuPass(word.name, at.name, software.gather, accesses, rows, rows)


def _add(word: Add, software: OperatorProfile, at: Package) -> CpuPass:
    """Sources in order, a line after the other; what a copy has brought is in the cache."""
    accesses = (*(_staged(s, 1, s.bytes, at) for s in word.sources), _written(word.into))
    lines = sum(lines_of(source.bytes) for source in word.sources)
    work = CpuPass(word.name, at.name, software.gather_reduce, accesses, 0, lines)
    each = software.gather_reduce.line_time
    return replace(work, step_ps=float(lines * each))


def _dense(word: Dense, software: OperatorProfile, at: Package) -> CpuPass:
    """Products on all cores, a parallel region each; what passes beside them stays in the cache as
    far as that holds it."""
    if at.core_flops is None:
        raise ConfigError(f"{at.name} has no core_flops: give its part that key, or another part")
    meet, own = word.interaction, software.cpu_mlp
    read, written = word.bytes_read + meet.bytes_read, word.bytes_written + meet.bytes_written
    held = min(1.0, at.last_level_cache / max(1, read + written))
    accesses = (
        Access(at.dram, 1, read, random=False, hit_share=held),
        Access(at.dram, 1, written, write=True, random=False, hit_share=held),
    )
    operator = CpuOperator(threads="all", row_time="0 ps", overlap=1.0, source=own.source)  # type: ignore[arg-type]
    kernels = word.kernels + meet.kernels
    work = CpuPass(word.name, at.name, operator, accesses, 0, kernels)
    flops = word.flops + meet.tile_flops
    products_ps = flops * PS_PER_S / (at.core_flops * own.efficiency)
    return replace(work, step_ps=products_ps, regions=kernels, waits=False)


def _staged(buffer: Buffer, count: int, size: int, at: Package) -> Access:
    """The first read of a buffer: of one that a copy has filled, devices leave in the cache
    what they may fill."""
    held = buffer.held
    if held is None:
        held = least(1.0, at.device_cache / most(1, buffer.bytes)) * (buffer.bytes != 0)
    return Access(buffer.memory, count, size, random=False, hit_share=held)


def _listed(count: int, software: OperatorProfile, at: Package) -> Access:
    """A list of ids, read in order."""
    return Access(at.dram, count, software.id_bytes, random=False)


def lines_of(size: int) -> int:
    """Cache lines of a row of `size` bytes."""
    return -(-size // LINE_BYTES)


def _read(buffer: Buffer) -> Access:
    return Access(buffer.memory, 1, buffer.bytes, random=False)


def _written(buffer: Buffer) -> Access:
    return Access(buffer.memory, 1, buffer.bytes, random=False, write=True)


def _in_place(store: Store, rows: Flow) -> tuple[Access, ...]:
    """Read and write each unique row and its optimizer state."""
    sizes = [size for size in (store.row_bytes, store.state_bytes) if size]
    return tuple(
        access
        for size in sizes
        for write in (False, True)
        for access in _each(store, rows, rows.rows, size, write=write, in_place=write)
    )


def _each(
    store: Store,
    rows: Flow,
    count: int,
    size: int,
    hit_share: float = 0.0,
    *,
    write: bool = False,
    in_place: bool = False,
) -> tuple[Access, ...]:
    """`size` bytes of each of `rows`, `count` in all: an access for every tier of the store.

    Raises `InvariantError` where the tiers do not serve as many.
    """
    whole = Access(store.memory, count, size, write, True, hit_share, in_place, store.pieces(rows))
    if store.chunk_bytes and rows.chunks is not None:
        return (replace(whole, count=rows.chunks, size=store.chunk_bytes, pieces=None),)
    if not store.tiers:
        return (whole,)
    served = rows.tiers or (0,) * len(store.tiers)
    if sum(served) != count or len(served) != len(store.tiers):
        raise InvariantError(
            f"{store.name}: its tiers {', '.join(store.tiers)} serve {served} of {count:,} rows"
        )
    ids, homes = whole.pieces, rows.homes
    return tuple(
        replace(
            whole,
            memory=memory,
            count=own,
            pieces=None if ids is None or homes is None else ids[homes == tier],
        )
        for tier, (memory, own) in enumerate(zip(store.tiers, served, strict=True))
    )


PASSES: Mapping[type[Operation], Callable[[Any, OperatorProfile, Package], CpuPass]] = {
    Pool: _pool,
    Expand: _expand,
    Sort: _sort,
    Accumulate: _accumulate,
    Update: _update,
    Gather: _gather,
    Scatter: _scatter,
    Probe: _probe,
    Add: _add,
    Dense: _dense,
    ZeroCopy: _copied,
}
"""How each word becomes a pass."""
