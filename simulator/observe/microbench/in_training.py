"""CPU operators as training calls them: after an update, after a wait, on staging that copies fill.

Each row stands beside the same operator in the other files' rows (a pause of 1 ms before each call,
staging that the cores wrote once): what differs is the mechanism. An update leaves dirty lines that
the next operator evicts; a longer wait lets threads fall asleep; ids in page-locked memory were
written by the GPU, as lists of misses are; staging is written by a copy from the GPU (what scatters
and updates read) or read by a copy to it (what gathers and pooled gathers have written).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from simulator.observe.accelerator import CpuTensors
from simulator.observe.microbench.cpu_bench import POOLED, Case, CpuBench, Work
from simulator.observe.microbench.passes import WRITE, pass_over
from simulator.observe.microbench.tables import CPU_FILE, PAUSE_S, Row, Subject, milliseconds

__all__ = ["gpu_fed_subjects", "in_training_subjects"]

Floats = npt.NDArray[np.float32]
Int64s = npt.NDArray[np.int64]

_SPIN_S = 2e-3
_DIM = 128
_ROW_BYTES = _DIM * 4
_RING = 4
"""Staging buffers that copies fill in turn: one is not in any cache when its next turn comes."""
_STAGED_BYTES = (14e6, 28e6, 56e6, 112e6, 224e6, 400e6, 600e6)
_FEW_STAGED_BYTES = (14e6, 112e6, 600e6)


@dataclass(frozen=True)
class _Operator:
    """Name in the files, kind that `CpuBench.operator` knows, `impl` of the row beside it."""

    op: str
    kind: str
    impl: str


_GATHER = _Operator("gather", "gather", "own nt-store")
_SCATTER = _Operator("scatter", "scatter", "own nt-store")
_POOLED = _Operator("pooled_gather_L20", "pooled", "own")
_UPDATE = _Operator("coalesce_update", "update", "own (partition+radix sort+segment sum+sgd)")


@dataclass
class _Calls:
    """Calls of operators on all cores with the rows of one mini-batch."""

    bench: CpuBench
    sets: list[Int64s]

    def work(self, operator: _Operator, buffers: list[Floats] | None = None) -> Work:
        cores = self.bench.budget.cores
        return self.bench.operator(operator.kind, _DIM, cores, self.sets, buffers=buffers)

    def row(
        self,
        operator: _Operator,
        state: str,
        work: Work,
        *,
        before: Work | None = None,
        pause_s: float = PAUSE_S,
        note: str = "",
    ) -> Row:
        """`state`: what the operator's name gets at its end."""
        times = milliseconds(work, self.bench.budget, pause_s, before)
        count, table = len(self.sets[0]), self.bench.table(_DIM).nbytes
        name, cores = f"{operator.op}_{state}", self.bench.budget.cores
        case = Case(name, operator.impl, cores, count, _DIM, "uniform", table)
        return case.row(times, note, payload=count * _ROW_BYTES)


def in_training_subjects(bench: CpuBench) -> list[Subject]:
    """Those that need no GPU."""
    return [Subject("cpu operators in turn", CPU_FILE, partial(_in_turn, bench))]


def _in_turn(bench: CpuBench) -> Iterator[Row]:
    calls = _Calls(bench, bench.rows(_DIM, bench.budget.lookups))
    bags = -(-len(calls.sets[0]) // POOLED)
    update = calls.work(_UPDATE, bench.own_staging(bags, _DIM))
    pooled = calls.work(_POOLED)
    for operator in (_GATHER, _SCATTER, _POOLED):
        work = pooled if operator is _POOLED else calls.work(operator)
        dirty = f"no pause after an update of {len(calls.sets[0])} rows"
        # the update is of rows whose turn here is long ago and far ahead
        far = partial(_later, update, len(calls.sets) // 2)
        yield calls.row(operator, "after_update", work, before=far, pause_s=0, note=dirty)
        yield calls.row(operator, "after_spin", work, pause_s=_SPIN_S, note="after 2 ms of waiting")
        yield calls.row(operator, "at_once", work, pause_s=0, note="no pause after the same")
    same = "same rows pooled 1 ms before, as in hybrid training"
    yield calls.row(_UPDATE, "after_pool", update, before=pooled, note=same)


def _later(work: Work, turns: int, k: int) -> None:
    work(k + turns)


def gpu_fed_subjects(ops: CpuTensors, bench: CpuBench) -> list[Subject]:
    """Those in which a GPU copies to and from the staging buffers; `ops` launches on it."""
    return [
        Subject("staging by copies", CPU_FILE, partial(_fed, ops, bench)),
        Subject("scatter from staging by size", CPU_FILE, partial(_staged_scatters, ops, bench)),
    ]


class _Staging:
    """Page-locked buffers, fp32 of shape (rows, dim), and one on the GPU of the same size."""

    def __init__(self, ops: CpuTensors, rows: int) -> None:
        self._ops = ops
        self._there = ops.empty((rows, _DIM))
        self._pinned = [ops.staging((rows, _DIM)) for _ in range(_RING)]
        self.buffers: list[Floats] = [tensor.numpy() for tensor in self._pinned]

    def fill(self, k: int, count: int | None = None) -> None:
        """A copy from the GPU writes the buffer of repetition `k` (its first `count` rows)."""
        self._ops.copy(self._pinned[k % _RING][:count], self._there[:count])
        self._ops.synchronize()

    def send(self, k: int) -> None:
        """A copy to the GPU reads the buffer of repetition `k`."""
        self._ops.copy(self._there, self._pinned[k % _RING])
        self._ops.synchronize()


def _fed(ops: CpuTensors, bench: CpuBench) -> Iterator[Row]:
    """Staging and ids in page-locked memory that copies fill and read."""
    calls = _Calls(bench, bench.rows(_DIM, bench.budget.lookups))
    count = len(calls.sets[0])
    rows, bags = _Staging(ops, count), _Staging(ops, -(-count // POOLED))
    read, written = "staging read by a copy to the GPU", "staging written by a copy from the GPU"
    # a buffer was sent since it was last written: the copy before reads what this call writes next
    for operator, staging, before, note in (
        (_GATHER, rows, rows.send, read),
        (_SCATTER, rows, rows.fill, written),
        (_POOLED, bags, bags.send, read),
        (_UPDATE, bags, bags.fill, written),
    ):
        work = calls.work(operator, staging.buffers)
        yield calls.row(operator, "staging_dma", work, before=before, note=note)
    arrive, pinned = _page_locked(ops, calls.sets[:16])
    calls = _Calls(bench, pinned)
    for operator in (_GATHER, _SCATTER, _POOLED):
        note = "ids in page-locked memory, just copied from the GPU"
        work = calls.work(operator)
        yield calls.row(operator, "pinned_ids", work, before=arrive, note=note)


def _page_locked(ops: CpuTensors, sets: list[Int64s]) -> tuple[Callable[[int], None], list[Int64s]]:
    """The sets in page-locked memory, and a copy from the GPU of the one of a repetition."""
    there = [ops.upload(ids) for ids in sets]
    here = [ops.stage(ids) for ids in sets]

    def arrive(k: int) -> None:
        ops.copy(here[k % len(here)], there[k % len(there)])
        ops.synchronize()

    return arrive, [tensor.numpy() for tensor in here]


def _staged_scatters(ops: CpuTensors, bench: CpuBench) -> Iterator[Row]:
    """One scatter by size of its staging buffer: filled by a copy, in no cache, by the cores."""
    sizes = _FEW_STAGED_BYTES if bench.budget.quick else _STAGED_BYTES
    counts = [min(int(size) // _ROW_BYTES, len(bench.table(_DIM)) // 4) for size in sizes]
    staging = _Staging(ops, max(counts))
    for count in counts:
        yield from _staged_scatter(bench, staging, count)


def _staged_scatter(bench: CpuBench, staging: _Staging, count: int) -> Iterator[Row]:
    calls, evict, cores = _Calls(bench, bench.rows(_DIM, count)), bench.evictor, bench.budget.cores
    part = [buffer[:count] for buffer in staging.buffers]
    scatter = calls.work(_SCATTER, part)
    by_copy = partial(staging.fill, count=count)

    def cold(k: int) -> None:
        by_copy(k)
        evict()

    def by_cores(k: int) -> None:
        flat = part[k % len(part)].reshape(-1)
        pass_over(WRITE, flat, flat, cores)

    for state, before in (
        ("just written by a copy from the GPU", by_copy),
        ("in no cache", cold),
        ("just written by the cores", by_cores),
    ):
        note = f"staging of {count * _ROW_BYTES} B {state}"
        yield calls.row(_SCATTER, "staged", scatter, before=before, note=note)
