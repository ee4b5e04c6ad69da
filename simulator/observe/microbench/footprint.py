"""What the caches keep: random reads whose footprint is swept from 1 MB to 2 GB.

`footprint_gather` reads whole rows of 512 B, many at once (the rate of a level); `footprint_chase`
follows a chain of cache lines in which each holds the number of the next (the latency of a level).
On a host that others share, the last level keeps less than its size: the footprint at which times
rise says how much.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numba
import numpy as np
import numpy.typing as npt

from simulator.observe import rows as kernels
from simulator.observe.intrinsics import take_chunk
from simulator.observe.microbench.cpu_bench import Case, CpuBench
from simulator.observe.microbench.passes import READ, pass_over
from simulator.observe.microbench.tables import CPU_FILE, Row, Subject, milliseconds

__all__ = ["chain", "chase", "footprint_subjects", "read_rows_at"]

Floats = npt.NDArray[np.float32]
Int64s = npt.NDArray[np.int64]

_DIM = 128
_LINE = 64
_POWERS = tuple(range(20, 32))
"""Footprints: 1 MB to 2 GB."""
_FEW_POWERS = (20, 22, 24, 26, 27, 28, 29, 31)
_STEPS = 20_000
"""Lines that one repetition of a chase follows."""
_READS = 1 << 17
"""Rows that a thread reads in a repetition."""


@kernels.parallel
def _read_rows(table: Floats, ids: Int64s, sums: Floats, counter: Int64s, threads: int) -> None:
    chunks = (len(ids) + 127) // 128
    for t in numba.prange(threads):
        total = np.zeros(table.shape[1], np.float32)
        while True:
            chunk = take_chunk(counter.ctypes.data, 1)
            if chunk >= chunks:
                break
            for k in range(chunk * 128, min(len(ids), chunk * 128 + 128)):
                row = ids[k]
                for d in range(table.shape[1]):
                    total[d] += table[row, d]
        for d in range(table.shape[1]):
            sums[t, d] = total[d]


def read_rows_at(table: Floats, ids: Int64s, sums: Floats, threads: int) -> None:
    """Read the rows `ids` of `table` (rows, dim) whole; `sums` (threads, dim) add up to their sum.

    Nothing is written but the sums, so only reads take time.
    """
    _read_rows(table, ids, sums, np.zeros(1, np.int64), threads)


@kernels.parallel
def _chain(links: Int64s, lines: int, threads: int) -> None:
    share = (lines + threads - 1) // threads
    for t in numba.prange(threads):
        for line in range(t * share, min(lines, (t + 1) * share)):
            links[line * 8] = ((line * 1_664_525 + 1_013_904_223) % lines) * 8


def chain(links: Int64s, threads: int) -> None:
    """Make `links` (int64, 8 a line, a power of two of lines) one chain through all lines.

    `links[8 * line]` is the index of the next line's first element: a linear congruential sequence
    (multiplier - 1 divisible by 4, odd increment: period = lines, Hull and Dobell 1962), which no
    prefetcher follows.
    """
    _chain(links, len(links) // 8, threads)


@kernels.inlined
def _follow(links: Int64s, begin: int, steps: int) -> int:
    at = begin
    for _ in range(steps):
        at = links[at]
    return at


def chase(links: Int64s, begin: int, steps: int) -> int:
    """Where `steps` links from index `begin` lead."""
    return int(_follow(links, begin, steps))


def footprint_subjects(bench: CpuBench) -> list[Subject]:
    return [Subject("footprint of the caches", CPU_FILE, partial(_sweep, bench))]


def _sweep(bench: CpuBench) -> Iterator[Row]:
    powers = _FEW_POWERS if bench.budget.quick else _POWERS
    most = max(1 << 20, min(1 << powers[-1], bench.flat.nbytes))
    flat = kernels.aligned(most // _LINE, 16).reshape(-1)
    kernels.use_threads(None)
    kernels.fill_rows(flat.reshape(-1, 16), bench.budget.cores)
    sizes = [1 << power for power in powers if 1 << power <= most]
    for size in sizes:
        for threads in sorted({1, bench.budget.cores}):
            yield _gathered(bench, flat[: size // 4], threads)
    for size in sizes:
        yield _chased(bench, flat[: size // 4])


def _gathered(bench: CpuBench, flat: Floats, threads: int) -> Row:
    table = flat.reshape(-1, _DIM)
    kernels.use_threads(threads)
    rng, count = np.random.default_rng(0), min(_READS * threads, 1 << 20)
    sets = [rng.integers(0, len(table), count) for _ in range(4)]
    sums = np.zeros((threads, _DIM), np.float32)
    _warm(bench, flat)
    work = partial(read_rows_at, table)
    times = milliseconds(lambda k: work(sets[k % len(sets)], sums, threads), bench.budget)
    case = Case(
        "footprint_gather", "own, reads alone", threads, count, _DIM, "uniform", flat.nbytes
    )
    return case.row(times, f"footprint={flat.nbytes} B", payload=count * _DIM * 4)


def _chased(bench: CpuBench, flat: Floats) -> Row:
    """One thread; milliseconds of all steps, nanoseconds of one in the note."""
    links = flat.view(np.int64)
    chain(links, bench.budget.cores)
    kernels.use_threads(1)
    _warm(bench, flat)
    at = 0

    def follow(_: int) -> None:
        nonlocal at
        at = chase(links, at, _STEPS)

    times = milliseconds(follow, bench.budget)
    case = Case(
        "footprint_chase", "own, one line after the other", 1, _STEPS, 16, "uniform", flat.nbytes
    )
    note = f"footprint={flat.nbytes} B; {times['ms'] / _STEPS * 1e6:.4g} ns a line"
    return case.row(times, note)


def _warm(bench: CpuBench, flat: Floats) -> None:
    """Put what fits of `flat` into the caches."""
    for _ in range(2):
        pass_over(READ, flat, flat, bench.budget.cores)
