"""Passes over a buffer by the cores: streams for their own sake, and the state in which they leave
its lines (held by one core, by all of them, by none)."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from simulator.observe import rows as kernels
from simulator.observe.intrinsics import fence, stream_line

__all__ = ["COPY", "COPY_NT", "READ", "WRITE", "WRITE_NT", "Evictor", "pass_over", "read_by_each"]

Floats = npt.NDArray[np.float32]

READ, WRITE_NT, COPY_NT, WRITE, COPY = range(5)


@kernels.parallel
def _pass(op: int, a: Floats, b: Floats, sums: Floats, threads: int) -> None:
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


def pass_over(op: int, a: Floats, b: Floats, threads: int) -> None:
    """One pass: `READ` a, `WRITE` b, `COPY` a to b; `_NT` with stores past the caches.

    `a`, `b`: fp32, shape (n,), n a multiple of 16, aligned to cache lines; each thread takes one
    contiguous share.
    """
    _pass(op, a, b, np.zeros(threads, np.float32), threads)


@kernels.parallel
def _read_by_each(a: Floats, sums: npt.NDArray[np.int64], threads: int) -> None:
    for t in numba.prange(threads):
        sums[t] = a.view(np.int64).sum()


def read_by_each(a: Floats, threads: int) -> Any:
    """Every thread reads all of `a`, so that all cores share its lines; the sums, as int64."""
    sums = np.zeros(threads, np.int64)
    _read_by_each(a, sums, threads)
    return sums


class Evictor:
    """Puts everything else out of the caches by reading `region`, fp32 of shape (n,)."""

    def __init__(self, region: Floats, threads: int) -> None:
        self._region = region[: len(region) // 16 * 16]
        self._threads = threads

    def __call__(self) -> None:
        pass_over(READ, self._region, self._region, self._threads)
