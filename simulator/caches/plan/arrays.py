"""Large arrays of zeros on huge pages, where the system has them.

Random access to a state of hundreds of megabytes spends more time on address translation than on
data; 2 MiB pages remove that. Pages are still made on first touch only.
"""

from __future__ import annotations

import mmap
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["zeros"]

LARGE_BYTES = 4 << 20
"""Below two huge pages there is nothing to gain."""


def zeros(count: int, kind: type[np.integer[Any]] = np.int64) -> npt.NDArray[Any]:
    """`count` zeros of `kind`, shape (count,)."""
    size = count * np.dtype(kind).itemsize
    if size < LARGE_BYTES or not hasattr(mmap, "MADV_HUGEPAGE"):
        return np.zeros(count, dtype=kind)
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    try:
        memory.madvise(mmap.MADV_HUGEPAGE)
    except OSError:  # a kernel without transparent huge pages: ordinary pages do as well
        return np.zeros(count, dtype=kind)
    return np.frombuffer(memory, dtype=kind)
