"""Embedding operators on the CPU: compiled, on a pool of threads, without a copy too many.

Every kernel deals its rows out to `threads` threads in chunks, first come, first served. Gathers
and scatters write with streaming stores where rows are whole cache lines and their target is
aligned. The fused update partitions (id, position) pairs by id, radix-sorts each part, sums the
gradients of equal ids in the order of their positions and updates the row at once: no expanded
gradient in memory, and the same bits whatever the number of threads.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np
import numpy.typing as npt

from simulator._compiled import compiled
from simulator.observe.intrinsics import fence, prefetch_line, stream_line, take_chunk

__all__ = [
    "EPSILON",
    "OPTIMIZERS",
    "SortedPairs",
    "aligned",
    "ask_for",
    "coalesced_update",
    "copy_rows",
    "fill_rows",
    "gather_and_scatter",
    "most_threads",
    "pool_rows",
    "sort_pairs",
    "use_threads",
]

F = TypeVar("F", bound=Callable[..., Any])
Floats = npt.NDArray[np.float32]
Int64s = npt.NDArray[np.int64]

OPTIMIZERS = ("sgd", "adagrad", "rowwise_adagrad")
SGD, ADAGRAD = 0, 1
EPSILON = np.float32(1e-10)
"""Added to the root of Adagrad's state: PyTorch's default."""
ROW_CHUNK = 128
"""Rows that a thread takes at a time."""
AHEAD = 4
"""Rows that are asked for ahead of use (2 to 32 were found alike on a Xeon)."""
PART_BITS = 7
"""Sorting: 128 parts by the leading bits of the id."""
DIGIT = 11
"""Bits of a radix pass: a histogram that stays in the first-level cache."""


def parallel(function: F) -> F:
    """Compile for numba's thread pool."""
    return compiled(function, parallel=True)


def inlined(function: F) -> F:
    """Compile a helper that parallel kernels call."""
    return cast(F, numba.njit(nogil=True)(function))


def _narrow(value: float) -> Any:
    """fp32, so that kernels compute in fp32."""
    return np.float32(value)


def most_threads() -> int:
    """Threads of the pool of kernels: the cores that this process may use."""
    return int(cast(Any, numba.config).NUMBA_NUM_THREADS)


def use_threads(asked: int | None) -> int:
    """Set the threads of the kernels called from this thread; how many there are now."""
    there = most_threads()
    threads = min(asked or there, there)
    numba.set_num_threads(threads)
    return threads


def aligned(rows: int, dim: int) -> Floats:
    """Uninitialised fp32, shape (rows, dim), that begins at a cache line."""
    line = 16
    flat = np.empty(rows * dim + line, np.float32)
    skip = (-(flat.ctypes.data // 4)) % line
    return flat[skip : skip + rows * dim].reshape(rows, dim)


@inlined
def _streams(target: Floats) -> bool:
    """Whether rows of `target` are whole, aligned cache lines."""
    return (target.shape[1] * 4) % 64 == 0 and target.ctypes.data % 64 == 0


@inlined
def _move(source: Floats, frm: int, target: Floats, to: int, streams: bool) -> None:
    size = source.shape[1] * 4
    if streams:
        a, b = target.ctypes.data + to * size, source.ctypes.data + frm * size
        for line in range(size // 64):
            stream_line(a + 64 * line, b + 64 * line)
    else:
        for d in range(source.shape[1]):
            target[to, d] = source[frm, d]


@inlined
def ask_for(table: Floats, row: int, columns: int) -> None:
    """Prefetch the first `columns` elements of a row of `table`."""
    begin = table.ctypes.data + row * table.shape[1] * 4
    for line in range((columns * 4 + 63) // 64):
        prefetch_line(begin + 64 * line)


@inlined
def _gather_chunk(table: Floats, rows: Int64s, out: Floats, begin: int, streams: bool) -> None:
    end = min(len(rows), begin + 128)
    for k in range(begin, end):
        if k + 4 < end:
            ask_for(table, rows[k + 4], table.shape[1])
        _move(table, rows[k], out, k, streams)


@inlined
def _scatter_chunk(table: Floats, rows: Int64s, values: Floats, begin: int, streams: bool) -> None:
    for k in range(begin, min(len(rows), begin + 128)):
        _move(values, k, table, rows[k], streams)


@parallel
def _gather_scatter(
    table: Floats,
    wanted: Int64s,
    out: Floats,
    given: Int64s,
    values: Floats,
    stream_out: bool,
    stream_in: bool,
    counter: Int64s,
    threads: int,
) -> None:
    """Chunks of both lists take turns until one is done."""
    reads, writes = (len(wanted) + 127) // 128, (len(given) + 127) // 128
    both = min(reads, writes)
    for _ in numba.prange(threads):
        while True:
            k = take_chunk(counter.ctypes.data, 1)
            if k >= reads + writes:
                break
            if k < 2 * both:
                is_read, chunk = k % 2 == 0, k // 2
            else:
                is_read, chunk = reads > both, k - both
            if is_read:
                _gather_chunk(table, wanted, out, chunk * 128, stream_out)
            else:
                _scatter_chunk(table, given, values, chunk * 128, stream_in)
        fence()


def gather_and_scatter(
    table: Floats,
    wanted: Int64s,
    out: Floats,
    given: Int64s,
    values: Floats,
    threads: int,
    *,
    stream: bool = True,
) -> None:
    """out[k] = table[wanted[k]] and table[given[k]] = values[k], on one pool, chunk by chunk.

    Rows in both lists are undefined (one thread may read while another writes).
    """
    counter = np.zeros(1, np.int64)
    streams = stream and bool(_streams(out)), stream and bool(_streams(table))
    _gather_scatter(table, wanted, out, given, values, *streams, counter, threads)


def copy_rows(
    table: Floats, rows: Int64s, buffer: Floats, threads: int, *, to: bool, stream: bool = True
) -> None:
    """buffer[k] = table[rows[k]] (a gather), or the other way round with `to` (a scatter)."""
    none = np.empty(0, np.int64)
    lists = (none, buffer, rows, buffer) if to else (rows, buffer, none, buffer)
    wanted, out, given, values = lists
    gather_and_scatter(table, wanted, out, given, values, threads, stream=stream)


@parallel
def _pool(
    table: Floats, ids: Int64s, offsets: Int64s, out: Floats, counter: Int64s, threads: int
) -> None:
    bags, dim = len(offsets) - 1, out.shape[1]
    for _ in numba.prange(threads):
        while True:
            begin = take_chunk(counter.ctypes.data, 16)
            if begin >= bags:
                break
            for bag in range(begin, min(bags, begin + 16)):
                out[bag, :] = 0.0
                for k in range(offsets[bag], offsets[bag + 1]):
                    if k + 8 < len(ids):
                        ask_for(table, ids[k + 8], dim)
                    row = ids[k]
                    for d in range(dim):
                        out[bag, d] += table[row, d]


def pool_rows(table: Floats, ids: Int64s, offsets: Int64s, out: Floats, threads: int) -> None:
    """out[b] = sum of table[ids[k]] for k in offsets[b] .. offsets[b + 1], in that order; of the
    first columns of an entry, as many as `out` has."""
    _pool(table, ids, offsets, out, np.zeros(1, np.int64), threads)


@parallel
def _fill(table: Floats, scale: np.float32, first: int, dim: int, threads: int) -> None:
    rows = len(table)
    share = (rows + threads - 1) // threads
    for t in numba.prange(threads):
        for row in range(t * share, min(rows, (t + 1) * share)):
            table[row, dim:] = 0.0
            for d in range(dim):
                # a multiplicative hash of (row, column): any order of threads gives the same table
                mixed = ((row + first) * 2654435761 + d * 2246822519) & 0xFFFFFFFF
                table[row, d] = scale * (np.float32(mixed >> 8) / np.float32(8388608.0) - 1)


def fill_rows(
    table: Floats, threads: int, *, first: int = 0, scale: float = 0.01, dim: int | None = None
) -> None:
    """Values in [-scale, scale) that depend on row and column alone; row 0 is number `first`.
    Columns from `dim` on, the optimizer's state, are 0."""
    _fill(table, _narrow(scale), first, table.shape[1] if dim is None else dim, threads)


class SortedPairs:
    """(id, position) pairs ordered by id, then position; `packed[k]`: id << 32 | position."""

    def __init__(self, lookups: int) -> None:
        self.packed = np.empty(lookups, np.int64)
        self._spare = np.empty(lookups, np.int64)
        self.bounds = np.zeros((1 << PART_BITS) + 1, np.int64)
        self.count = 0

    def sort(self, ids: Int64s, rows: int, threads: int) -> None:
        """Order `ids` (each less than `rows`)."""
        if len(ids) > len(self.packed):
            self.__init__(len(ids))  # type: ignore[misc]
        self.count = len(ids)
        shift = max(0, int(rows - 1).bit_length() - PART_BITS)
        counts = np.zeros((threads, 1 << PART_BITS), np.int64)
        args = (ids, self._spare, self.packed, self.bounds, counts)
        _sort(*args, shift, np.zeros(1, np.int64), threads)


@inlined
def _radix(a: Int64s, b: Int64s, bits: int) -> None:
    """Sort `a` by the `bits` low bits of its ids, in passes of 11 bits; the outcome is in `a`."""
    counts = np.empty(2048, np.int64)
    shift = 32
    top = 32 + bits
    swapped = False
    while shift < top:
        counts[:] = 0
        src, dst = (b, a) if swapped else (a, b)
        for k in range(len(src)):
            counts[(src[k] >> shift) & 2047] += 1
        total = 0
        for digit in range(2048):
            total, counts[digit] = total + counts[digit], total
        for k in range(len(src)):
            digit = (src[k] >> shift) & 2047
            dst[counts[digit]] = src[k]
            counts[digit] += 1
        swapped = not swapped
        shift += 11
    if swapped:
        a[:] = b


@parallel
def _sort(
    ids: Int64s,
    spare: Int64s,
    packed: Int64s,
    bounds: Int64s,
    counts: Int64s,
    shift: int,
    counter: Int64s,
    threads: int,
) -> None:
    n, parts = len(ids), len(bounds) - 1
    share = (n + threads - 1) // threads
    for t in numba.prange(threads):
        for k in range(t * share, min(n, (t + 1) * share)):
            counts[t, ids[k] >> shift] += 1
    total = 0
    for part in range(parts):
        bounds[part] = total
        for t in range(threads):
            total, counts[t, part] = total + counts[t, part], total
    bounds[parts] = total
    for t in numba.prange(threads):
        for k in range(t * share, min(n, (t + 1) * share)):
            part = ids[k] >> shift
            packed[counts[t, part]] = (ids[k] << 32) | k
            counts[t, part] += 1
    for _ in numba.prange(threads):
        while True:
            part = take_chunk(counter.ctypes.data, 1)
            if part >= parts:
                break
            begin, end = bounds[part], bounds[part + 1]
            _radix(packed[begin:end], spare[begin:end], shift)


def sort_pairs(ids: Int64s, rows: int, threads: int) -> SortedPairs:
    """The pairs of `ids`, sorted."""
    pairs = SortedPairs(len(ids))
    pairs.sort(ids, rows, threads)
    return pairs


@inlined
def _step(
    entry: npt.NDArray[np.float32], total: npt.NDArray[np.float32], rate: Any, kind: int
) -> None:
    """One row and its state, which follows the weights."""
    dim = len(total)
    if kind == SGD:
        for d in range(dim):
            entry[d] -= rate * total[d]
    elif kind == ADAGRAD:
        for d in range(dim):
            entry[dim + d] += total[d] * total[d]
            entry[d] -= rate * total[d] / (np.sqrt(entry[dim + d]) + EPSILON)
    else:
        squares = np.float32(0.0)
        for d in range(dim):
            squares += total[d] * total[d]
        entry[dim] += squares / np.float32(dim)
        scale = rate / (np.sqrt(entry[dim]) + EPSILON)
        for d in range(dim):
            entry[d] -= scale * total[d]


@parallel
def _update(
    table: Floats,
    packed: Int64s,
    bounds: Int64s,
    bag_of: npt.NDArray[np.int32],
    gradients: Floats,
    rate: np.float32,
    kind: int,
    counter: Int64s,
    threads: int,
) -> None:
    parts, dim = len(bounds) - 1, gradients.shape[1]
    for _ in numba.prange(threads):
        total = np.empty(dim, np.float32)
        while True:
            part = take_chunk(counter.ctypes.data, 1)
            if part >= parts:
                break
            k, end = bounds[part], bounds[part + 1]
            while k < end:
                row = packed[k] >> 32
                total[:] = 0.0
                while k < end and packed[k] >> 32 == row:
                    if k + 4 < end:
                        ask_for(table, packed[k + 4] >> 32, table.shape[1])
                    bag = bag_of[packed[k] & 0xFFFFFFFF]
                    for d in range(dim):
                        total[d] += gradients[bag, d]
                    k += 1
                _step(table[row], total, rate, kind)


def coalesced_update(
    table: Floats,
    pairs: SortedPairs,
    bag_of: npt.NDArray[np.int32],
    gradients: Floats,
    rate: float,
    threads: int,
    optimizer: str = "sgd",
) -> None:
    """One step of `optimizer` for each id, with g = the sum of gradients[bag_of[position]] over the
    positions of id.

    `sgd`: w -= rate g. `adagrad` (Duchi, Hazan and Singer, JMLR 2011): s += g^2, w -= rate g /
    (sqrt(s) + epsilon), a state a weight behind the weights of a row. `rowwise_adagrad` (DLRM,
    FBGEMM): one state a row, s += mean of g^2.
    """
    packed = pairs.packed[: pairs.count]
    arguments = (table, packed, pairs.bounds, bag_of, gradients, _narrow(rate))
    _update(*arguments, OPTIMIZERS.index(optimizer), np.zeros(1, np.int64), threads)
