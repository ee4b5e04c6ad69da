"""What the operating system says or does in its own way: memory, and locks on files."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import IO

__all__ = ["lock_at_once", "physical_memory", "return_memory"]

_UNKNOWN_MEMORY = 8 * 2**30


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


def return_memory() -> None:
    """Give memory that is free in this process back to the system, where the C library keeps it for
    later (glibc)."""
    if sys.platform == "linux":
        import ctypes

        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
