"""The CPU: streams, random-row gather, scatter, both at once, pooled gather, fused update."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from simulator.observe import rows as kernels
from simulator.observe.intrinsics import fence, stream_line
from simulator.observe.microbench.tables import PAUSE_S, Budget, Row, milliseconds
from simulator.observe.workspace import RING

__all__ = ["LOOKUPS", "POOLED", "CpuBench", "draw_rows", "measure_cpu"]

Floats = npt.NDArray[np.float32]
Int64s = npt.NDArray[np.int64]

LOOKUPS = 327_680
"""Rows of a mini-batch of the default model: 2048 samples x 8 tables x 20 lookups."""
POOLED = 20
_FRESH_ROWS = 8_000_000
"""Rows that the sets of an operator hold together: when one has its next turn, neither its rows
nor the page tables that lead to them are cached any more. Training never repeats a set."""
_SOFTWARE = "compiled with numba"
_SCALING = (1_000, 3_000, 10_000, 30_000, 100_000)


@kernels.parallel
def _stream(op: int, a: Floats, b: Floats, sums: Floats, threads: int) -> None:
    """0 read a; 1 write b past the caches; 2 copy a to b past the caches; 3 write b; 4 copy."""
    lines = len(a) // 16
    share = (lines + threads - 1) // threads
    for t in numba.prange(threads):
        begin, end = t * share * 16, min(lines, (t + 1) * share) * 16
        if op == 0:
            # integer sums may be reordered, so the loop is compiled to wide loads
            sums[t] = a[begin:end].view(np.int64).sum()
        elif op == 1:
            for k in range(begin, end, 16):
                stream_line(b.ctypes.data + 4 * k, a.ctypes.data)
        elif op == 2:
            for k in range(begin, end, 16):
                stream_line(b.ctypes.data + 4 * k, a.ctypes.data + 4 * k)
        elif op == 3:
            b[begin:end] = 1.0
        else:
            b[begin:end] = a[begin:end]
        fence()


_STREAMS = (
    ("stream_read", 1),
    ("stream_write_nt", 1),
    ("stream_copy_nt", 2),
    ("stream_write", 1),
    ("stream_copy", 2),
)
"""Operations by number, and how many times each element crosses the memory bus."""


def draw_rows(table_rows: int, count: int, dist: str, seed: int) -> Int64s:
    """`count` rows, `uniform` or `zipfA`; both with repeats."""
    rng = np.random.default_rng(seed)
    if dist == "uniform":
        return rng.integers(0, table_rows, count)
    ranks = np.arange(1, table_rows // 8 + 1, dtype=np.float64) ** -float(dist[4:])
    chosen = np.searchsorted(np.cumsum(ranks) / ranks.sum(), rng.random(count))
    # eight tables side by side, hot rows spread by an odd multiplier
    table = np.arange(count) % 8
    spread = (chosen * 2_654_435_761) % len(ranks)
    return (table * len(ranks) + spread).astype(np.int64)


class CpuBench:
    """A big table and everything that operators on it need."""

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self.flat = kernels.aligned(budget.table_floats // 16, 16).reshape(-1)
        kernels.use_threads(None)
        kernels.fill_rows(self.flat.reshape(-1, 16), budget.cores)

    def table(self, dim: int) -> Floats:
        """The table with rows of `dim` elements."""
        rows = min(len(self.flat) // dim, 80_000_000)
        return self.flat[: rows * dim].reshape(rows, dim)

    def rows(self, dim: int, count: int, dist: str = "uniform") -> list[Int64s]:
        """Row sets that take turns."""
        drawn = draw_rows(len(self.table(dim)), max(1, _FRESH_ROWS // count) * count, dist, 0)
        return list(drawn.reshape(-1, count))

    def operator(
        self, op: str, dim: int, threads: int, sets: list[Int64s], *, stream: bool = True
    ) -> Callable[[int], object]:
        """A repetition of `op` on `threads` threads."""
        table, count = self.table(dim), len(sets[0])
        kernels.use_threads(threads)
        if op in ("gather", "scatter"):
            staging = self.staging(count, dim)

            def copy(k: int) -> None:
                rows, buffer = sets[k % len(sets)], staging[k % RING]
                to = op == "scatter"
                kernels.copy_rows(table, rows, buffer, threads, to=to, stream=stream)

            return copy
        if op == "gather+scatter":
            staging = self.staging(count, dim)

            def both(k: int) -> None:
                wanted, given = sets[k % len(sets)], sets[(k + 1) % len(sets)]
                out, values = staging[k % RING], staging[(k + RING // 2) % RING]
                args = (table, wanted, out, given, values, threads)
                kernels.gather_and_scatter(*args, stream=stream)

            return both
        bags = (np.arange(count) // POOLED).astype(np.int32)
        staging = self.staging(int(bags[-1]) + 1, dim)
        if op == "pooled":
            offsets = np.append(np.arange(0, count, POOLED), count)

            def pooled(k: int) -> None:
                rows, sums = sets[k % len(sets)], staging[k % RING]
                kernels.pool_rows(table, rows, offsets, sums, threads)

            return pooled
        pairs = kernels.SortedPairs(count)

        def update(k: int) -> None:
            pairs.sort(sets[k % len(sets)], len(table), threads)
            kernels.coalesced_update(table, pairs, bags, staging[k % RING], 1e-3, threads)

        return update

    def staging(self, rows: int, dim: int) -> list[Floats]:
        """Buffers that take turns as in training, written before they are read: memory that never
        was is one page of zeros in the first-level cache."""
        buffers = [kernels.aligned(rows, dim) for _ in range(RING)]
        for buffer in buffers:
            kernels.fill_rows(buffer, self.budget.cores, scale=1e-6)
        return buffers


def measure_cpu(bench: CpuBench) -> Iterator[Row]:
    """The rows of `micro_cpu.csv`."""
    budget = bench.budget
    yield from _streams(bench)
    for dim in budget.dims:
        for threads in budget.threads:
            count = LOOKUPS if threads >= 8 or threads == budget.cores else LOOKUPS // 4
            sets = bench.rows(dim, count)
            yield _row(bench, "gather", "own nt-store", dim, threads, sets)
            yield _row(bench, "gather", "own", dim, threads, sets, stream=False)
            yield _row(bench, "scatter", "own nt-store", dim, threads, sets)
            yield _row(bench, "pooled_gather_L20", "own", dim, threads, sets)
    cores = budget.cores
    for count in _SCALING:
        sets = bench.rows(128, count)
        for op in ("gather", "scatter"):
            yield _row(bench, op, "own nt-store", 128, cores, sets, note="size scaling")
    for dist in ("uniform", "zipf0.6", "zipf0.9", "zipf1.1"):
        sets = bench.rows(128, LOOKUPS, dist)
        for threads in budget.threads:
            yield _update(bench, dist, threads, sets)
        if dist != "uniform":
            many = f"{dist} (with duplicates)"
            yield _row(bench, "pooled_gather_L20", "own", 128, cores, sets, dist=many)
    sets = bench.rows(128, LOOKUPS)
    for stream in (True, False):
        yield _both(bench, cores, sets, stream)


def _streams(bench: CpuBench) -> Iterator[Row]:
    half = min(len(bench.flat) // 2, 1 << (26 if bench.budget.quick else 28)) // 16 * 16
    a, b = bench.flat[:half], bench.flat[half : 2 * half]
    for threads in bench.budget.threads:
        kernels.use_threads(threads)
        sums = np.zeros(threads, np.float32)
        for number, (op, passes) in enumerate(_STREAMS):
            times = milliseconds(lambda _: _stream(number, a, b, sums, threads), bench.budget)  # noqa: B023
            rate = a.nbytes / times["ms"] / 1e6
            note = "traffic without write-allocate reads"
            yield _common(op, "own C++ (AVX)", 1, threads, half, a.nbytes, "seq", times) | {
                "payload_GBps": rate, "traffic_GBps": passes * rate, "note": f"{note}; {_SOFTWARE}",
            }  # fmt: skip


def _row(
    bench: CpuBench,
    op: str,
    impl: str,
    dim: int,
    threads: int,
    sets: list[Int64s],
    *,
    stream: bool = True,
    dist: str = "uniform",
    note: str = "",
) -> Row:
    kind = "pooled" if op.startswith("pooled") else op
    work = bench.operator(kind, dim, threads, sets, stream=stream)
    times = milliseconds(work, bench.budget, PAUSE_S)
    payload = len(sets[0]) * dim * 4 / times["ms"] / 1e6
    traffic = payload * ((1 + 1 / POOLED) if kind == "pooled" else 2)
    size = bench.table(dim).nbytes
    facts = _common(op, impl, dim, threads, len(sets[0]), size, dist, times)
    noted = f"{note}; {_SOFTWARE}" if note else _SOFTWARE
    return facts | {"payload_GBps": payload, "traffic_GBps": traffic, "note": noted}


def _update(bench: CpuBench, dist: str, threads: int, sets: list[Int64s]) -> Row:
    times = milliseconds(bench.operator("update", 128, threads, sets), bench.budget, PAUSE_S)
    unique = int(np.mean([len(np.unique(rows)) for rows in sets[:4]]))
    impl = "own (partition+radix sort+segment sum+sgd)"
    size = bench.table(128).nbytes
    facts = _common("coalesce_update", impl, 128, threads, len(sets[0]), size, dist, times)
    note = f"unique={unique}; payload = unique rows read+written; {_SOFTWARE}"
    return facts | {"payload_GBps": 2 * unique * 512 / times["ms"] / 1e6, "note": note}


def _both(bench: CpuBench, threads: int, sets: list[Int64s], stream: bool) -> Row:
    work = bench.operator("gather+scatter", 128, threads, sets, stream=stream)
    times = milliseconds(work, bench.budget, PAUSE_S)
    count = 2 * len(sets[0])
    payload = count * 512 / times["ms"] / 1e6
    impl = f"own, nt-store gather={int(stream)} scatter={int(stream)}"
    facts = _common(
        "gather+scatter concurrent", impl, 128, threads, count, bench.table(128).nbytes, "uniform",
        times,
    )  # fmt: skip
    return facts | {"payload_GBps": payload, "traffic_GBps": 2 * payload, "note": _SOFTWARE}


def _common(
    op: str, impl: str, dim: int, threads: int, rows: int, size: int, dist: str, times: Any
) -> dict[str, Any]:
    return {
        "measurement": "m1",
        "op": op,
        "impl": impl,
        "dim": dim,
        "threads": threads,
        "n_rows": rows,
        "table_GB": size / 1e9,
        "dist": dist,
        **times,
    }
