"""What the words of private training become: passes of a CPU, kernels of a GPU.

A thread of a CPU spends `noise.value_time` on a number, a multiprocessor of a GPU
`noise.gpu_value_time`; beside that they are passes over buffers and rows as others are. A CPU adds
noise with the instructions a line of its accumulation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from simulator.config.operators import CpuOperator, OperatorProfile
from simulator.hardware.access import Access
from simulator.hardware.devices.cpu_words import CpuPass, Package, lines_of
from simulator.hardware.devices.gpu_words import STREAM_BYTES, WARP, Board, GpuKernels
from simulator.hardware.noise import HISTORY_BYTES, Draw, Noise, Sweep
from simulator.hardware.program import Operation

__all__ = ["NOISE_KERNELS", "NOISE_PASSES"]


def _in_order(place: str, size: int, *, write: bool = False, in_place: bool = False) -> Access:
    return Access(place, 1, size, write=write, random=False, in_place=in_place)


def _again(place: str, size: int) -> tuple[Access, ...]:
    """A buffer that is read, and written where it lies."""
    return (_in_order(place, size), _in_order(place, size, write=True, in_place=True))


def _swept(word: Sweep) -> tuple[Access, ...]:
    read = [_in_order(buffer.memory, buffer.bytes) for buffer in word.sources]
    return (*read, *(_in_order(b.memory, b.bytes, write=True) for b in word.results))


def _noised(word: Noise, software: OperatorProfile) -> tuple[Access, ...]:
    """Drawn numbers, gradients, rows and their history."""
    store, touched, place = word.writes, word.touched, word.writes.memory
    accesses = [] if word.source is None else [_in_order(word.source.memory, word.source.bytes)]
    if word.sums:
        accesses += _again(place, word.sums)
    if word.every_row:
        accesses += _again(place, touched.rows * store.row_bytes)
    elif touched.rows:
        pieces = store.pieces(touched)
        accesses += [
            Access(place, touched.rows, store.row_bytes, write=w, in_place=w, pieces=pieces)
            for w in (False, True)
        ]
    return (*accesses, *_noted(word, software))


def _noted(word: Noise, software: OperatorProfile) -> tuple[Access, ...]:
    """The history of the rows, which a list names where they are not all."""
    rows, place = word.rows.rows, word.writes.memory
    if not word.history:
        return ()
    if word.every_row:
        return _again(place, rows * HISTORY_BYTES)
    entries = (
        Access(place, rows, HISTORY_BYTES, write=w, in_place=w, buffer=True) for w in (False, True)
    )
    return (_in_order(place, rows * software.id_bytes), *entries)


def _in_lines(software: OperatorProfile, **changes: Any) -> CpuOperator:
    """A pass over buffers on all cores, with the arithmetic of a sum for each line."""
    plain = {"threads": "all", "row_time": 0, "overlap": 1.0, "fresh_output": False}
    return software.accumulate.model_copy(update=plain | changes)


def _sweep_on_cpu(word: Sweep, software: OperatorProfile, at: Package) -> CpuPass:
    lines = sum(lines_of(buffer.bytes) for buffer in word.sources)
    return CpuPass(word.name, at.name, _in_lines(software), _swept(word), 1, 1, lines)


def _draw_on_cpu(word: Draw, software: OperatorProfile, at: Package) -> CpuPass:
    noise = software.noise
    operator = _in_lines(software, row_time=noise.value_time, fresh_output=noise.fresh_output)
    written = _in_order(word.into.memory, word.into.bytes, write=True)
    return CpuPass(word.name, at.name, operator, (written,), word.values, 1)


def _noise_on_cpu(word: Noise, software: OperatorProfile, at: Package) -> CpuPass:
    rows, lines = word.rows.rows, lines_of(word.writes.row_bytes)
    own_ps = float(word.values * software.noise.value_time)
    accesses = _noised(word, software)
    operator = _in_lines(software)
    return CpuPass(word.name, at.name, operator, accesses, rows, 1, lines, step_ps=own_ps)


def _sweep_on_gpu(word: Sweep, software: OperatorProfile, at: Board) -> GpuKernels:
    """A kernel for each buffer that is read."""
    threads = max((buffer.bytes for buffer in word.sources), default=0) // STREAM_BYTES
    return GpuKernels(word.name, at.name, len(word.sources), _swept(word), threads=threads)


def _draw_on_gpu(word: Draw, software: OperatorProfile, at: Board) -> GpuKernels:
    written = _in_order(word.into.memory, word.into.bytes, write=True)
    return GpuKernels(
        word.name,
        at.name,
        1,
        (written,),
        threads=word.into.bytes // STREAM_BYTES,
        instructions_ps=word.values * software.noise.gpu_value_time,
    )


def _noise_on_gpu(word: Noise, software: OperatorProfile, at: Board) -> GpuKernels:
    """A warp a row."""
    rows = word.rows.rows
    return GpuKernels(
        word.name,
        at.name,
        1 if rows else 0,
        _noised(word, software),
        chain=2,
        threads=rows * WARP,
        instructions_ps=word.values * software.noise.gpu_value_time,
    )


NOISE_PASSES: Mapping[type[Operation], Callable[[Any, OperatorProfile, Package], CpuPass]] = {
    Sweep: _sweep_on_cpu,
    Draw: _draw_on_cpu,
    Noise: _noise_on_cpu,
}
NOISE_KERNELS: Mapping[type[Operation], Callable[[Any, OperatorProfile, Board], GpuKernels]] = {
    Sweep: _sweep_on_gpu,
    Draw: _draw_on_gpu,
    Noise: _noise_on_gpu,
}
