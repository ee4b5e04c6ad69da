"""Threads for work that releases the GIL: how many there are to use, and a pool that stays."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import TypeVar

__all__ = ["cores", "map_threads"]

T = TypeVar("T")


def cores() -> int:
    """Cores that this process may use; at least 1."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def map_threads(work: Callable[[int], T], count: int, threads: int) -> list[T]:
    """`[work(0), ... work(count - 1)]`, on `threads` threads."""
    workers = min(threads, count)
    if workers <= 1:
        return [work(number) for number in range(count)]
    return list(_pool(workers, os.getpid()).map(work, range(count)))


@lru_cache(maxsize=4)
def _pool(threads: int, process: int) -> ThreadPoolExecutor:
    """Threads that stay; `process`: its number, for a forked child has none of the threads."""
    return ThreadPoolExecutor(threads, thread_name_prefix="scratchpipe")
