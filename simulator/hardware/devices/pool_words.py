"""What a pooled gather becomes on a GPU: its kernels, as the software has written them.

A warp reads rows of a bag, `rows_in_flight` at a time, and adds them up: a kernel takes at least
the waits of one thread for its bag, one after the other. Where the software says, too, how many
warps a multiprocessor holds, rows x warps a row x latency / (multiprocessors x warps x
rows in flight) bounds a kernel (Little's law; Jain et al., "Pushing the Performance Envelope of
DNN-based Recommendation Systems Inference on GPUs", MICRO 2024). Rows that are pinned in L2 are
fetched by a kernel of their own, unless that is not timed; which lookups they serve is counted in
`simulator.engine.processor_caches`.
"""

from __future__ import annotations

import math
from dataclasses import replace

from simulator.config.operators import OperatorProfile
from simulator.errors import ConfigError
from simulator.hardware.access import Access
from simulator.hardware.devices.gpu_words import WARP, Board, GpuKernels, picking_of, sets_of
from simulator.hardware.program import Elsewhere, Pool

__all__ = ["pooled"]


def pooled(word: Pool, software: OperatorProfile, at: Board) -> GpuKernels:
    """The kernels of `word`.

    Raises `ConfigError` where L2 does not hold the rows that are to be pinned.
    """
    own, rows, store = software.gpu_pool, word.rows, word.reads
    accesses: tuple[Access, ...] = (
        at.stream(rows.lookups * software.id_bytes),
        Access(
            store.memory,
            rows.lookups,
            store.row_bytes,
            hit_share=word.hit_share,
            pieces=store.pieces(rows),
            among=store.bytes,
            distinct=rows.rows,
        ),
        at.stream(word.into.bytes, write=True),
    )
    if word.elsewhere is not None:
        accesses = (*accesses, *_pooled_elsewhere(word.elsewhere, software, at))
    sets = sets_of(software, word.features or store.tables)
    turns = -(-word.pooling // own.rows_in_flight)
    bags = word.into.bytes // store.row_bytes
    warps = 1 if own.thread_bytes is None else -(-store.row_bytes // (WARP * own.thread_bytes))
    pinning = _pinning(word, software, at, sets)
    kernels = own.kernels + picking_of(software, word.skipped)
    return GpuKernels(
        word.name,
        at.name,
        sets * kernels + (sets if pinning else 0),
        (*accesses, *pinning),
        chain=2 + turns,
        away_chain=turns,
        threads=bags * warps * WARP,
        line_time=software.gpu.pool_line_time,
        resident_warps=own.resident_warps,
        waits_per_row=warps / _in_flight(word, own.rows_in_flight, bags),
    )


def _in_flight(word: Pool, most: int, bags: int) -> float:
    """Rows that a thread has asked for at a time: all of a bag that is shorter than that."""
    more = 0 if word.elsewhere is None else word.elsewhere.rows.lookups
    return min(float(most), max(1.0, (word.rows.lookups + more) / max(1, bags)))


def _pooled_elsewhere(
    more: Elsewhere, software: OperatorProfile, at: Board
) -> tuple[Access, Access]:
    """Ids and rows of the lookups that the same kernel reads in another store."""
    store, rows = more.store, more.rows
    found = Access(store.memory, rows.lookups, store.row_bytes, hit_share=more.hit_share)
    ids = at.stream(rows.lookups * software.id_bytes)
    return ids, replace(found, pieces=store.pieces(rows), among=store.bytes, distinct=rows.rows)


def _pinning(word: Pool, software: OperatorProfile, at: Board, sets: int) -> tuple[Access, ...]:
    """The reads that bring rows into L2 before each kernel, where they are timed."""
    own, store = software.gpu_pool, word.reads
    most = at.l2_cache // store.row_bytes
    if own.pinned_rows > most:
        raise ConfigError(
            f"operators.gpu_pool.pinned_rows is {own.pinned_rows:,}: L2 of {at.name} holds "
            f"{most:,} rows of {store.row_bytes} B; pin at most so many"
        )
    if not own.pinned_rows or own.pinning == "beforehand":
        return ()
    rows = own.pinned_rows * sets
    if store.bytes:
        rows = min(rows, math.ceil(store.bytes / store.row_bytes))
    return (Access(store.memory, rows, store.row_bytes, among=store.bytes),)
