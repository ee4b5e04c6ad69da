"""What the operating system says or does in its own way: memory, and locks on files."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import IO, Any

__all__ = ["hold_freed_memory", "lock_at_once", "physical_memory", "return_memory"]

_UNKNOWN_MEMORY = 8 * 2**30
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Of `mallopt` in glibc's `malloc.h`."""


def physical_memory() -> int:
    """Bytes of memory of this machine; 8 GiB where it does not say (Windows)."""
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemTotal:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        pass
    known = getattr(os, "sysconf_names", {})
    if "SC_PHYS_PAGES" not in known or "SC_PAGE_SIZE" not in known:
        return _UNKNOWN_MEMORY
    pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return pages * size if pages > 0 and size > 0 else _UNKNOWN_MEMORY


def lock_at_once(stream: IO[str]) -> None:
    """Lock an open file until it is closed. Raises `BlockingIOError` where somebody else has it;
    a file system without locks gives none."""
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(stream.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError) as error:  # what Windows says is the latter
        raise BlockingIOError(*error.args) from error
    except OSError:
        pass


def hold_freed_memory() -> None:
    """Keep memory that is freed for what is asked for next, where the C library (glibc) would give
    it back at once, until `return_memory`.

    A replay frees thousands of arrays of a hundred kilobytes, each of which would be made of fresh
    pages anew. Both limits are those that glibc comes to itself, once 32 MiB were freed in one
    piece: arrays up to that come from its heap, of which 64 MiB may lie free at the end.
    """
    library = _c_library()
    if hasattr(library, "mallopt"):
        library.mallopt(_MMAP_THRESHOLD, 32 << 20)
        library.mallopt(_TRIM_THRESHOLD, 64 << 20)


def return_memory() -> None:
    """Give memory that is free in this process back to the system, where the C library keeps it for
    later (glibc)."""
    library = _c_library()
    if hasattr(library, "malloc_trim"):
        library.malloc_trim(0)


def _c_library() -> Any:
    """That of Linux, which may be another than glibc; None elsewhere."""
    if sys.platform != "linux":
        return None
    import ctypes

    return ctypes.CDLL(None)
