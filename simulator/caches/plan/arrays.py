"""Large arrays of zeros on huge pages, where the system has them, used again while more are wanted.

Random access to a state of hundreds of megabytes spends more time on address translation than on
data; 2 MiB pages remove that. Pages are still made on first touch only. The system takes ten times
as long to make a page as to write zeros over one that is there: where one replay follows another
(`pages_kept`), arrays get the pages of those that are gone.
"""

from __future__ import annotations

import math
import mmap
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["give_back", "pages_kept", "zeros"]

LARGE_BYTES = 4 << 20
"""Below two huge pages there is nothing to gain."""
MOST_BYTES = 64 << 20
"""Larger arrays are not kept: few of their pages may have been touched, and zeros touch all."""

_kept: list[mmap.mmap] = []
"""Pages that no array uses; threads and destructors alike put in and take out, in single steps."""
_keepers: list[object] = []


def zeros(count: int, kind: type[np.integer[Any]] = np.int64) -> npt.NDArray[Any]:
    """`count` zeros of `kind`, shape (count,)."""
    size = count * np.dtype(kind).itemsize
    if size < LARGE_BYTES or not hasattr(mmap, "MADV_HUGEPAGE"):
        return np.zeros(count, dtype=kind)
    memory = _used_before(size)
    if memory is not None:
        return _array(memory, kind, written=True)
    give_back(size)  # what is kept has other sizes
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    try:
        memory.madvise(mmap.MADV_HUGEPAGE)
    except OSError:  # a kernel without transparent huge pages: ordinary pages do as well
        return np.zeros(count, dtype=kind)
    return _array(memory, kind, written=False)


@contextmanager
def pages_kept() -> Iterator[None]:
    """Meanwhile arrays leave their pages for others of as many bytes; in the end the system has
    them back."""
    keeper = object()
    _keepers.append(keeper)
    try:
        yield
    finally:
        _keepers.remove(keeper)
        if not _keepers:
            give_back()


def give_back(size: float = math.inf) -> None:
    """Give `size` bytes of the pages that no array uses back to the system, or all there are, the
    smallest first."""
    for memory in sorted(_kept, key=len):
        if size <= 0:
            break
        if _taken(memory):
            size -= len(memory)


def _used_before(size: int) -> mmap.mmap | None:
    """Kept pages of `size` bytes, which nobody else has any more."""
    return next((m for m in tuple(_kept) if len(m) == size and _taken(m)), None)


def _taken(memory: mmap.mmap) -> bool:
    """Whether `memory` was kept until now; False where another thread was quicker."""
    try:
        _kept.remove(memory)
    except ValueError:
        return False
    return True


def _array(memory: mmap.mmap, kind: type[np.integer[Any]], *, written: bool) -> npt.NDArray[Any]:
    """The array on `memory`, which has it back when the last view of the array is gone."""
    array = np.frombuffer(memory, dtype=kind)
    if written:
        array.fill(0)
    if len(memory) <= MOST_BYTES:
        weakref.finalize(array, _leave, memory).atexit = False
    return array


def _leave(memory: mmap.mmap) -> None:
    if _keepers:
        _kept.append(memory)
