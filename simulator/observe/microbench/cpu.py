"""The CPU: streams, random-row gather, scatter, both at once, pooled gather, fused update."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import numba
import numpy as np
import numpy.typing as npt

from simulator.observe import rows as kernels
from simulator.observe.microbench import passes
from simulator.observe.microbench.cpu_bench import POOLED, Case, CpuBench
from simulator.observe.microbench.tables import CPU_FILE, PAUSE_S, Row, Subject, milliseconds

__all__ = ["cpu_subjects", "row_operator"]

Floats = npt.NDArray[np.float32]
Int64s = npt.NDArray[np.int64]

_SCALING = (1_000, 3_000, 10_000, 30_000, 100_000)

_STREAMS = (
    ("stream_read", passes.READ, 1),
    ("stream_write_nt", passes.WRITE_NT, 1),
    ("stream_copy_nt", passes.COPY_NT, 2),
    ("stream_write", passes.WRITE, 1),
    ("stream_copy", passes.COPY, 2),
)
"""Passes, and how many times each element crosses the memory bus."""


def cpu_subjects(bench: CpuBench) -> list[Subject]:
    """What there is to measure without a GPU, of `micro_cpu.csv`."""
    parts = {
        "cpu streams": _streams,
        "cpu rows": _rows,
        "cpu rows by size": _sizes,
        "cpu update": _updates,
        "cpu gather and scatter": _at_once,
        "cpu threads": _regions,
    }
    return [Subject(name, CPU_FILE, partial(rows, bench)) for name, rows in parts.items()]


def _rows(bench: CpuBench) -> Iterator[Row]:
    budget = bench.budget
    kinds = (
        ("gather", "own nt-store"),
        ("gather", "own"),
        ("scatter", "own nt-store"),
        ("pooled_gather_L20", "own"),
    )
    for dim in budget.dims:
        for threads in budget.threads:
            many = threads >= 8 or threads == budget.cores
            sets = bench.rows(dim, budget.lookups if many else budget.lookups // 4)
            for op, impl in kinds:
                yield row_operator(bench, _case(bench, op, impl, threads, sets, dim), sets)


def _sizes(bench: CpuBench) -> Iterator[Row]:
    cores = bench.budget.cores
    for count in _SCALING:
        sets = bench.rows(128, count)
        for op in ("gather", "scatter"):
            case = _case(bench, op, "own nt-store", cores, sets)
            yield row_operator(bench, case, sets, "size scaling")


def _updates(bench: CpuBench) -> Iterator[Row]:
    budget = bench.budget
    for dist in ("uniform", "zipf0.6", "zipf0.9", "zipf1.1"):
        sets = bench.rows(128, budget.lookups, dist)
        for threads in budget.threads:
            yield _update(bench, dist, threads, sets)
        if dist != "uniform":
            case = _case(bench, "pooled_gather_L20", "own", budget.cores, sets)
            yield row_operator(bench, replace(case, dist=f"{dist} (with duplicates)"), sets)


def _at_once(bench: CpuBench) -> Iterator[Row]:
    sets = bench.rows(128, bench.budget.lookups)
    for stream in (True, False):
        yield _both(bench, bench.budget.cores, sets, stream)


@kernels.parallel
def _empty_region(sums: Floats, threads: int) -> None:
    for t in numba.prange(threads):
        sums[t] = t


def _regions(bench: CpuBench) -> Iterator[Row]:
    """A parallel region that does nothing, called at once again and after a pause."""
    for threads in bench.budget.threads:
        kernels.use_threads(threads)
        work = partial(_empty_region, np.zeros(threads, np.float32), threads)
        for op, pause_s in (
            ("parallel_region_overhead", 0.0),
            ("parallel_region_after_pause", PAUSE_S),
        ):
            times = milliseconds(lambda _, work=work: work(), bench.budget, pause_s)
            case = Case(op, "own C++", threads, 0, 0, "")
            yield case.row(times, f"pause {pause_s * 1e3:g} ms")


def _streams(bench: CpuBench) -> Iterator[Row]:
    half = min(len(bench.flat) // 2, 1 << (26 if bench.budget.quick else 28)) // 16 * 16
    a, b = bench.flat[:half], bench.flat[half : 2 * half]
    for threads in bench.budget.threads:
        kernels.use_threads(threads)
        for op, number, crossings in _STREAMS:
            work = partial(passes.pass_over, number, a, b, threads)
            times = milliseconds(lambda _, work=work: work(), bench.budget)
            case = Case(op, "own C++ (AVX)", threads, half, 1, "seq", a.nbytes)
            moved = {"payload": a.nbytes, "traffic": crossings * a.nbytes}
            yield case.row(times, "traffic without write-allocate reads", **moved)


def row_operator(bench: CpuBench, case: Case, sets: list[Int64s], note: str = "") -> Row:
    """A gather, scatter or pooled gather of `case` on rings of its own, a pause before each."""
    kind = "pooled" if case.op.startswith("pooled") else case.op
    stream = case.impl.endswith("nt-store")
    work = bench.operator(kind, case.dim, case.threads, sets, stream=stream)
    size = case.rows * case.dim * 4
    traffic = size * ((1 + 1 / POOLED) if kind == "pooled" else 2)
    times = milliseconds(work, bench.budget, PAUSE_S)
    return case.row(times, note, payload=size, traffic=traffic)


def _case(
    bench: CpuBench, op: str, impl: str, threads: int, sets: list[Int64s], dim: int = 128
) -> Case:
    return Case(op, impl, threads, len(sets[0]), dim, "uniform", bench.table(dim).nbytes)


def _update(bench: CpuBench, dist: str, threads: int, sets: list[Int64s]) -> Row:
    """With the times of its partition and of its radix passes alone in the note."""
    work = bench.operator("update", 128, threads, sets)
    times = milliseconds(work, bench.budget, PAUSE_S)
    unique = int(np.mean([len(np.unique(rows)) for rows in sets[:4]]))
    partition, ordered = _sort_ms(bench, threads, sets)
    impl = "own (partition+radix sort+segment sum+sgd)"
    case = replace(_case(bench, "coalesce_update", impl, threads, sets), dist=dist)
    note = (
        f"unique={unique}; partition {partition:.4g} ms; "
        f"radix {max(0.0, ordered - partition):.4g} ms; payload = unique rows read+written"
    )
    return case.row(times, note, payload=2 * unique * 512)


def _sort_ms(bench: CpuBench, threads: int, sets: list[Int64s]) -> tuple[float, float]:
    """Milliseconds of the partition alone, and with the radix passes after it.

    Ids of so many bits as a partition takes have none left for radix passes.
    """
    rows, pairs = len(bench.table(128)), kernels.SortedPairs(len(sets[0]))
    parts = 1 << kernels.PART_BITS
    shift = max(0, int(rows - 1).bit_length() - kernels.PART_BITS)
    leading = [ids >> shift for ids in sets[:4]]
    times = [
        milliseconds(lambda k: pairs.sort(ids[k % len(ids)], most, threads), bench.budget, PAUSE_S)  # noqa: B023
        for ids, most in ((leading, parts), (sets, rows))
    ]
    return times[0]["ms"], times[1]["ms"]


def _both(bench: CpuBench, threads: int, sets: list[Int64s], stream: bool) -> Row:
    work = bench.operator("gather+scatter", 128, threads, sets, stream=stream)
    times = milliseconds(work, bench.budget, PAUSE_S)
    impl = f"own, nt-store gather={int(stream)} scatter={int(stream)}"
    case = _case(bench, "gather+scatter concurrent", impl, threads, sets)
    size = 2 * case.rows * 512
    return replace(case, rows=2 * case.rows).row(times, payload=size, traffic=2 * size)
