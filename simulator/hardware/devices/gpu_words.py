"""What the words of a program become on a GPU: kernels, their accesses and what the host submits.

What kernels cost is in `gpu`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from simulator.columns import least, most
from simulator.config.operators import OperatorProfile
from simulator.hardware.access import Access
from simulator.hardware.program import (
    POSITION_BYTES,
    RADIX_BITS,
    Add,
    Buffer,
    Dense,
    Expand,
    Flow,
    FusedLayers,
    Gather,
    Interaction,
    Operation,
    Plan,
    Probe,
    Scatter,
    Sort,
    Split,
    Store,
    ZeroCopy,
    key_bits,
)

__all__ = ["KERNELS", "WARP", "Board", "GpuKernels", "picking_of", "sets_of"]

WARP = 32
"""Threads that work on one row or bag."""
SORT_ITEMS = 16
"""Pairs of one thread of a radix sort (CUB)."""
TAG_BYTES = 8
"""A tag of a set-associative cache, and a mark of its slots."""
STREAM_BYTES = 16
"""Bytes of one thread of a kernel that passes over a buffer."""


@dataclass(frozen=True, slots=True)
class GpuKernels(Operation):
    """One or more kernels as the GPU sees them, one after the other."""

    kernels: int
    accesses: tuple[Access, ...] = ()
    flops: int = 0
    batched_flops: int = 0
    """Part of `flops` in batched products of a few vectors each."""
    pairs: int = 0
    """Products of two vectors that are picked, and whose gradients are put back."""
    precision: Literal["fp32", "tf32", "fp16", "bf16"] = "fp32"
    sort_pairs: int = 0
    sort_passes: int = 0
    """Radix passes of 8 bits over `sort_pairs` (key, position) pairs."""
    sorts: int = 1
    """Separate sorts (one a table, or one for all)."""
    probes: int = 0
    """Independent 4-byte accesses to structures larger than L2 (Hit-Map, masks)."""
    chain: int = 0
    """Accesses to memory that one thread makes one after the other, each waiting for the last."""
    away_chain: int = 0
    """Of those, loads of rows that may lie in another memory."""
    resident_warps: int | None = None
    """Warps of it that a multiprocessor holds at once; None: as many as it has threads for, and
    waits for rows hide behind each other."""
    waits_per_row: float = 0.0
    """Waits of a warp for each row that the kernel reads."""
    threads: int | None = None
    """Threads of its largest kernel; None: as many as the GPU holds."""
    share: float = 1.0
    """Share of the multiprocessors that it may take."""
    run_ps: int = 0
    """Time in which warps add the gradients of the hottest rows, one after the other."""
    choosing_ps: int = 0
    """Time in which it does nothing else: how Plan chooses its victims."""
    line_time: int = 0
    """Picoseconds that a multiprocessor spends on instructions for each line of L2."""
    instructions_ps: int = 0
    """Picoseconds of one multiprocessor for all instructions beside those."""
    waiting_ps: int = 0
    """Picoseconds in which all that one multiprocessor holds waits for one access after another."""
    submissions: int | None = None
    """What the host submits: each kernel (None), or fewer where they are captured."""
    blocks: bool = False
    """The host waits until they are done."""
    submission_ps: int | None = None
    """Host time of one; None: of a kernel of the embedding operators."""


@dataclass(frozen=True, slots=True)
class Board:
    """What the words need to know of the GPU that they run on."""

    name: str
    hbm: str
    """Place of its own memory."""
    l2_cache: int

    def stream(self, size: int, *, write: bool = False) -> Access:
        """Bytes of its own memory in order."""
        return Access(self.hbm, 1, size, write=write, random=False)


def _expand(word: Expand, software: OperatorProfile, at: Board) -> GpuKernels:
    accesses = (
        at.stream(word.source.bytes),
        at.stream(word.rows.lookups * word.gradient_bytes, write=True),
    )
    threads = word.rows.lookups * WARP
    kernels = software.gpu_update.expand + picking_of(software, word.skipped)
    sets = sets_of(software, word.features)
    return GpuKernels(word.name, at.name, sets * kernels, accesses, threads=threads)


def _sort(word: Sort, software: OperatorProfile, at: Board) -> GpuKernels:
    """A histogram of all digits and their prefix sums, then a kernel a radix pass; or the kernels
    of another sort."""
    sets, pairs = sets_of(software, word.tables), word.rows.lookups
    if software.gpu_update.sort is not None:
        kernels, threads = sets * software.gpu_update.sort, pairs // sets
        return GpuKernels(word.name, at.name, kernels, threads=threads)
    passes = math.ceil(key_bits(word.key_rows // sets) / RADIX_BITS)
    return GpuKernels(
        word.name,
        at.name,
        2 * sets,
        sort_pairs=pairs,
        sort_passes=passes,
        sorts=sets,
        threads=pairs // sets // SORT_ITEMS,
        submissions=(2 + passes) * sets,
    )


def _zero_copy(word: ZeroCopy, software: OperatorProfile, at: Board) -> GpuKernels:
    """A warp a row: reads it where it lies and writes it where it goes."""
    rows, size = word.rows.rows, word.reads.entry_bytes
    accesses = (
        _rows(word.reads, word.rows, size),
        _rows(word.writes, word.rows, size, write=True),
    )
    return GpuKernels(
        word.name,
        at.name,
        1 if rows else 0,
        accesses,
        chain=1,
        away_chain=1,
        threads=rows * WARP,
        share=word.share,
        instructions_ps=rows * software.gpu.row_time,
    )


def _gather(word: Gather, software: OperatorProfile, at: Board) -> GpuKernels:
    rows, store, size = word.rows.rows, word.reads, word.reads.entry_bytes
    accesses: tuple[Access, ...] = (
        _rows(store, word.rows, size),
        Access(word.into.memory, rows, size, write=True, random=False),
    )
    if word.changes:  # what was gathered is set to nothing
        accesses = (replace(accesses[0], write=True), *accesses)
    return _copy(word, rows, accesses, software, at)


def _scatter(word: Scatter, software: OperatorProfile, at: Board) -> GpuKernels:
    rows, store, size = word.rows.rows, word.writes, word.writes.entry_bytes
    written = _rows(store, word.rows, size, write=True)
    accesses: tuple[Access, ...] = (Access(word.source.memory, rows, size, random=False), written)
    if word.how != "replace":
        accesses = (*accesses, replace(written, write=False))
    return _copy(word, rows, accesses, software, at)


def _copy(
    word: Gather | Scatter,
    rows: int,
    accesses: tuple[Access, ...],
    software: OperatorProfile,
    at: Board,
) -> GpuKernels:
    """A warp a row."""
    return GpuKernels(
        word.name,
        at.name,
        1 if rows else 0,
        accesses,
        threads=rows * WARP,
        instructions_ps=rows * software.gpu.row_time,
    )


def _rows(store: Store, rows: Flow, size: int, *, write: bool = False) -> Access:
    """Distinct rows of a store, or `size` bytes of each."""
    pieces, among = store.pieces(rows), store.bytes
    return Access(store.memory, rows.rows, size, write, pieces=pieces, among=among)


def _plan(word: Plan, software: OperatorProfile, at: Board) -> GpuKernels:
    """Kernels: mark and look up; compact misses; scan ages; choose victims; update maps.

    Two scans over the ages of all slots (how many are idle; which are the victims), then
    probes of what is larger than L2: a row reads its entry of each map once, for L2 has it when the
    row repeats; a miss writes its own and erases the victim's, each a read of the sector and a
    write. Ages of slots, 4 B each, are taken to be in L2 when they are stamped. Mini-batches ahead
    whose rows are marked are taken to be as this one.
    """
    how = software.gpu_plan
    accesses = (
        at.stream(word.lookups * software.id_bytes),
        at.stream(2 * word.slots * POSITION_BYTES),
        at.stream(word.unique * software.id_bytes, write=True),
        *_lists(word.lists),
    )
    reads = how.maps + (word.ahead if how.marks_ahead else 0)
    probes = 0 if word.side_by_side else reads * word.unique + 4 * word.missed
    return GpuKernels(
        word.name,
        at.name,
        how.kernels,
        accesses,
        probes=probes,
        choosing_ps=word.slots * software.gpu.plan_slot_time
        + word.lookups * software.gpu.plan_lookup_time,
        threads=most(word.lookups, word.slots),
        submissions=1 if how.launches == "graph" else None,
    )


def _probe(word: Probe, software: OperatorProfile, at: Board) -> GpuKernels:
    """A warp a row: tags of a set, 8 B each; then a warp a missed row: marks, 8 B each, sorted, and
    its own tag and mark written."""
    set_bytes = word.ways * TAG_BYTES
    accesses = (
        at.stream(word.rows * software.id_bytes),
        Access(at.hbm, word.rows + word.missed, set_bytes, buffer=True),
        Access(at.hbm, word.rows + word.missed, TAG_BYTES, write=True, buffer=True),
    )
    return GpuKernels(
        word.name, at.name, 2 if word.rows else 0, accesses, chain=2, threads=word.rows * WARP
    )


def _split(word: Split, software: OperatorProfile, at: Board) -> GpuKernels:
    ids = word.lookups * software.id_bytes
    place = at.hbm if word.ids is None else word.ids.memory
    read = Access(place, 1, ids, random=False)
    accesses = (read, at.stream(ids, write=True), *_lists(word.lists))
    lookups = word.lookups
    probes = lookups if word.distinct is None else least(lookups, word.distinct)
    return GpuKernels(word.name, at.name, 2, accesses, probes=probes, threads=lookups)


def _add(word: Add, software: OperatorProfile, at: Board) -> GpuKernels:
    accesses = (
        at.stream(sum(source.bytes for source in word.sources)),
        at.stream(word.into.bytes, write=True),
    )
    threads = word.into.bytes // STREAM_BYTES
    return GpuKernels(word.name, at.name, 1, accesses, threads=threads)


def _dense(word: Dense, software: OperatorProfile, at: Board) -> GpuKernels:
    """One captured graph, or kernels that the framework dispatches one by one.

    A fused dot interaction is a kernel forward and one backward that read the vectors and write
    their gradients; its products are as good as those of a layer, and nothing is picked. Where the
    gradients of weights run beside those of inputs, their kernels start and drain beside others.
    """
    eager, meet, layers = software.gpu.mlp == "eager", word.interaction, _layers(word, software)
    batched = meet.tile_flops
    if batched and software.gpu.interaction == "fused":
        passes, size = 1 + meet.backward, meet.vector_bytes
        written = size if meet.backward else 0
        meet = Interaction(
            passes, bytes_read=passes * size, bytes_written=written, tile_flops=batched
        )
        batched = 0
    beside = software.gpu.weight_gradients == "beside"
    kernels = layers.kernels + meet.kernels
    return GpuKernels(
        word.name,
        at.name,
        (layers.chain if beside else layers.kernels) + meet.kernels,
        (
            at.stream(layers.bytes_read + meet.bytes_read),
            at.stream(layers.bytes_written + meet.bytes_written, write=True),
        ),
        flops=word.flops + meet.tile_flops,
        batched_flops=batched,
        pairs=meet.pairs,
        precision=word.precision,
        submissions=kernels if eager else 1,
        submission_ps=software.gpu.kernel_dispatch if eager else None,
    )


def _layers(word: Dense, software: OperatorProfile) -> FusedLayers:
    """What its layers are as the software has written them."""
    if software.gpu.layers == "fused" and word.fused is not None:
        return word.fused
    return FusedLayers(word.kernels, word.kernels, word.bytes_read, word.bytes_written)


def sets_of(software: OperatorProfile, tables: int) -> int:
    """Kernels of each kind: one set for all tables (or features), or one for each."""
    return tables if software.gpu.kernels_per_table else 1


def picking_of(software: OperatorProfile, skipped: int) -> int:
    """Kernels of a set that pick what a split has not marked out of a list with `skipped` marks."""
    marked: int = least(1, skipped)
    return marked * software.gpu_pool.picking


def _lists(buffer: Buffer | None) -> tuple[Access, ...]:
    """A list that a kernel writes where `buffer` lies, in order."""
    if buffer is None:
        return ()
    return (Access(buffer.memory, 1, buffer.bytes, write=True, random=False),)


KERNELS: Mapping[type[Operation], Callable[[Any, OperatorProfile, Board], GpuKernels]] = {
    Expand: _expand,
    Sort: _sort,
    Gather: _gather,
    Scatter: _scatter,
    Plan: _plan,
    Probe: _probe,
    Split: _split,
    Add: _add,
    Dense: _dense,
    ZeroCopy: _zero_copy,
}
"""How each word becomes kernels."""
