"""What sums and updates of rows become on a GPU: a warp a row, or a warp a lookup.

Sorted by row, gradients of equal rows are summed by the warp of the row. Added one by one
(`gpu.update: atomic`; HugeCTR's hybrid embedding, `frequent_embedding.cu` and
`infrequent_embedding.cu`), a warp a lookup adds its gradient where L2 has the row; nothing is
sorted. Approximated: L2 adds as fast as it reads and writes. Ignored: that it adds to one line
after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from simulator.columns import least, most
from simulator.config.operators import OperatorProfile
from simulator.hardware.access import Access
from simulator.hardware.devices.gpu_words import WARP, Board, GpuKernels, sets_of
from simulator.hardware.program import (
    POSITION_BYTES,
    Accumulate,
    Elsewhere,
    Flow,
    Operation,
    Update,
)

__all__ = ["UPDATE_CHAIN", "UPDATE_KERNELS", "adds_atomically"]

UPDATE_CHAIN = 4
"""Where a segment starts, which positions it has, their gradients, the row."""

RUN_BYTES, RUN_TURNS = 256, 2
"""What a warp adds of the gradients of one row at a time, and how often; others add what is more
(`coalesceValuesKernel` of PyTorch)."""


def _update(word: Update, software: OperatorProfile, at: Board) -> GpuKernels:
    """Sums the gradients of equal ids on the way; pooled gradients are found in L2 after the
    first read of each, as far as L2 holds them all."""
    if adds_atomically(software, word.optimizer):
        return _added(word, software, at)
    places = [Elsewhere(word.writes, word.rows)]
    places += [] if word.elsewhere is None else [word.elsewhere]
    lookups, rows = (sum(getattr(p.rows, n) for p in places) for n in ("lookups", "rows"))
    gradients = _gradients(word, lookups, at)
    lists = at.stream(lookups * (software.id_bytes + POSITION_BYTES))
    how = software.gpu_update
    return GpuKernels(
        word.name,
        at.name,
        sets_of(software, word.writes.tables) * how.kernels,
        (lists, gradients, *(access for place in places for access in _updated(place))),
        chain=UPDATE_CHAIN,
        away_chain=1,
        threads=rows * WARP,
        line_time=software.gpu.update_line_time,
        waiting_ps=_adding_ps(lookups, rows, software),
        run_ps=sum(_run_ps(p.rows, word.gradient_bytes, software) for p in places),
        blocks=how.waits,
    )


def _accumulate(word: Accumulate, software: OperatorProfile, at: Board) -> GpuKernels:
    """As an update whose sums are written one after the other in place of rows."""
    if adds_atomically(software, "sgd"):
        return _summed(word, software, at)
    lookups, rows = word.rows.lookups, word.rows.rows
    accesses = (
        at.stream(lookups * (software.id_bytes + POSITION_BYTES)),
        _gradients(word, lookups, at),
        at.stream(rows * word.gradient_bytes, write=True),
    )
    return GpuKernels(
        word.name,
        at.name,
        sets_of(software, word.tables),
        accesses,
        chain=UPDATE_CHAIN - 1,
        threads=rows * WARP,
        line_time=software.gpu.update_line_time,
        waiting_ps=_adding_ps(lookups, rows, software),
        run_ps=_run_ps(word.rows, word.gradient_bytes, software),
    )


def adds_atomically(software: OperatorProfile, optimizer: str) -> bool:
    """Whether gradients are added to rows one by one, in no order."""
    return software.gpu.update == "atomic" and optimizer == "sgd"


def _added(word: Update, software: OperatorProfile, at: Board) -> GpuKernels:
    """A warp a lookup adds its gradient to the row where L2 has it: lines pass L2 twice for each
    lookup, and memory for each row."""
    places = [Elsewhere(word.writes, word.rows)]
    places += [] if word.elsewhere is None else [word.elsewhere]
    lookups = sum(place.rows.lookups for place in places)
    again = (
        access
        for place in places
        for access in _in_cache(place.store.memory, place.rows, word.gradient_bytes)
    )
    return GpuKernels(
        word.name,
        at.name,
        sets_of(software, word.writes.tables),
        (
            at.stream(lookups * (software.id_bytes + POSITION_BYTES)),
            Access(at.hbm, lookups, word.gradient_bytes, buffer=True),
            *(access for place in places for access in _updated(place, ascending=False)),
            *again,
        ),
        chain=UPDATE_CHAIN - 1,
        away_chain=1,
        threads=lookups * WARP,
        line_time=software.gpu.update_line_time,
    )


def _summed(word: Accumulate, software: OperatorProfile, at: Board) -> GpuKernels:
    """The same to a sum for each row: sums are set to nothing, added to, and converted."""
    rows, size = word.rows, word.gradient_bytes
    sums = rows.rows * size
    return GpuKernels(
        word.name,
        at.name,
        3 * sets_of(software, word.tables),
        (
            at.stream(rows.lookups * (software.id_bytes + POSITION_BYTES)),
            Access(at.hbm, rows.lookups, size, buffer=True),
            *_in_cache(at.hbm, rows, size),
            at.stream(2 * sums),
            at.stream(3 * sums, write=True),
        ),
        chain=UPDATE_CHAIN - 1,
        threads=rows.lookups * WARP,
        line_time=software.gpu.update_line_time,
    )


def _in_cache(memory: str, rows: Flow, size: int) -> tuple[Access, ...]:
    """Reads and writes of rows that the last cache has, all but the first of each row."""
    count = most(0, rows.lookups - rows.rows)
    read = Access(memory, count, size, hit_share=1.0, buffer=True)
    return read, replace(read, write=True)


def _adding_ps(lookups: int, rows: int, software: OperatorProfile) -> int:
    """Time of one multiprocessor to look at all lookups and to add the gradients of equal rows."""
    repeats: int = most(0, lookups - rows)
    return lookups * software.gpu.update_pair_time + repeats * software.gpu.update_repeat_time


def _run_ps(rows: Flow, gradient_bytes: int, software: OperatorProfile) -> int:
    """How long the warps of the hottest rows take: table after table, or side by side where one
    kernel has all tables."""
    turns = min(RUN_TURNS, -(-gradient_bytes // RUN_BYTES))
    hottest = rows.hottest
    runs: int = sum(hottest) if software.gpu.kernels_per_table else most(0, *hottest)
    return runs * turns * software.gpu.run_vector_time


def _gradients(word: Accumulate | Update, lookups: int, at: Board) -> Access:
    """Reads of the gradients of `lookups` lookups: each expanded one once, or pooled ones, which
    are in L2 after the first read as far as it holds them."""
    vectors, size = word.source.bytes, word.gradient_bytes
    again = most(0.0, 1.0 - vectors / size / most(1, lookups))
    held = least(1.0, at.l2_cache / vectors) if vectors else 0.0
    hits = 0.0 if word.expanded else again * held
    return Access(at.hbm, lookups, size, hit_share=hits, buffer=True)


def _updated(place: Elsewhere, *, ascending: bool = True) -> tuple[Access, ...]:
    """Rows of a store and their optimizer state, read and written; `ascending`: they are sorted."""
    store, rows = place.store, place.rows
    pieces = store.pieces(rows)
    parts = (
        (store.memory, store.row_bytes),
        (store.state_memory or store.memory, store.state_bytes),
    )
    return tuple(
        Access(
            memory,
            rows.rows,
            size,
            write,
            pieces=pieces,
            among=0 if write else store.bytes,
            ascending=ascending,
        )
        for memory, size in parts
        if size
        for write in (False, True)
    )


UPDATE_KERNELS: Mapping[type[Operation], Callable[[Any, OperatorProfile, Board], GpuKernels]] = {
    Accumulate: _accumulate,
    Update: _update,
}
"""How each word becomes kernels."""
