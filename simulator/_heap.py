"""Memory that is freed stays with the process, where its C library can be told so (glibc).

Each mini-batch takes arrays and frees them. By default the library gives what is freed at the end
of its heap back to the system, which then makes new pages for the next mini-batch: as many page
faults again as all else in a run.
"""

from __future__ import annotations

import ctypes
import sys

__all__ = ["keep_heap"]

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""Of `malloc.h`: free bytes at the end of the heap, and bytes of a block, from which the system
has memory back as it is freed."""
KEPT_BYTES, OWN_BYTES = 64 << 20, 32 << 20
"""32 MiB: the most that the library takes for blocks of their own by itself."""


def keep_heap() -> bool:
    """Give freed memory back from `KEPT_BYTES` on, and blocks of `OWN_BYTES` at once; whether the
    library has such a setting."""
    library = ctypes.CDLL(None) if sys.platform.startswith("linux") else None
    mallopt = getattr(library, "mallopt", None)
    if mallopt is None:
        return False
    settings = (_M_TRIM_THRESHOLD, KEPT_BYTES), (_M_MMAP_THRESHOLD, OWN_BYTES)
    return all(mallopt(name, size) == 1 for name, size in settings)
