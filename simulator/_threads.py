"""Threads for work that releases the GIL: how many there are to use, and a pool that stays."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import pairwise
from typing import TypeVar

__all__ = ["cores", "map_threads", "shares"]

T = TypeVar("T")


def cores() -> int:
    """Cores that this process may use; at least 1."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def shares(count: int, parts: int) -> list[slice]:
    """`count` things in so many parts, one after the other, of nearly the same size."""
    ends = [count * number // parts for number in range(parts + 1)]
    return [slice(begin, end) for begin, end in pairwise(ends)]


def map_threads(work: Callable[[int], T], count: int, threads: int) -> list[T]:
    """`[work(0), ... work(count - 1)]`, on `threads` threads: this one and others.

    Each takes the next number when it is done with one. Raises what the lowest number that fails
    raises, whichever of them fails first.
    """
    workers = min(threads, count)
    if workers <= 1:
        return [work(number) for number in range(count)]
    numbers = iter(range(count))
    results: dict[int, T] = {}
    failures: dict[int, Exception] = {}

    def share() -> None:
        for number in numbers:
            try:
                results[number] = work(number)
            except Exception as error:
                failures[number] = error
            if failures:  # all lower numbers are taken
                return

    pool = _pool(workers - 1, os.getpid())
    others = [pool.submit(share) for _ in range(workers - 1)]
    try:
        share()
    finally:
        deque(numbers, maxlen=0)  # where this thread is interrupted, nobody takes more
        for other in others:
            if not other.cancel():  # one that has not begun would find nothing left
                other.result()
    if failures:
        raise failures[min(failures)]
    return [results[number] for number in range(count)]


@lru_cache(maxsize=4)
def _pool(threads: int, process: int) -> ThreadPoolExecutor:
    """Threads that stay; `process`: its number, for a forked child has none of the threads."""
    return ThreadPoolExecutor(threads, thread_name_prefix="scratchpipe")
