"""Large arrays of zeros on huge pages, where the system has them.

Random access to a state of hundreds of megabytes spends more time on address translation than on
data; 2 MiB pages remove that. Pages are still made on first touch only.
"""

from __future__ import annotations

import mmap

import numpy as np
import numpy.typing as npt

__all__ = ["zeros"]

LARGE_BYTES = 4 << 20
"""Below two huge pages there is nothing to gain."""


def zeros(count: int) -> npt.NDArray[np.int64]:
    """`count` int64 zeros, shape (count,)."""
    if 8 * count < LARGE_BYTES or not hasattr(mmap, "MADV_HUGEPAGE"):
        return np.zeros(count, dtype=np.int64)
    memory = mmap.mmap(-1, 8 * count, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    try:
        memory.madvise(mmap.MADV_HUGEPAGE)
    except OSError:  # a kernel without transparent huge pages: ordinary pages do as well
        return np.zeros(count, dtype=np.int64)
    return np.frombuffer(memory, dtype=np.int64)
