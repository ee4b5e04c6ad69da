"""Threads for work that releases the GIL: how many there are to use, and a pool that stays."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import pairwise
from typing import Generic, TypeVar

__all__ = ["Begun", "cores", "map_threads", "shares"]

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
    return Begun(work, count, threads).results()


class Begun(Generic[T]):
    """`map_threads` in two steps: other threads begin at once, this one takes part where it asks
    for the `results`; whoever never asks has to `abandon` it."""

    def __init__(self, work: Callable[[int], T], count: int, threads: int) -> None:
        self._work, self._count = work, count
        self._numbers = iter(range(count))
        self._results: dict[int, T] = {}
        self._failures: dict[int, Exception] = {}
        others = min(threads, count) - 1
        pool = _pool(others, os.getpid()) if others > 0 else None
        self._others = [pool.submit(self._share) for _ in range(others)] if pool else []

    def _share(self) -> None:
        for number in self._numbers:
            try:
                self._results[number] = self._work(number)
            except Exception as error:
                self._failures[number] = error
            if self._failures:  # all lower numbers are taken
                return

    def results(self) -> list[T]:
        """See `map_threads`."""
        try:
            self._share()
        finally:
            self.abandon()  # where this thread is interrupted, nobody takes more
        if self._failures:
            raise self._failures[min(self._failures)]
        return [self._results[number] for number in range(self._count)]

    def abandon(self) -> None:
        """Nobody takes more; returns once nobody works."""
        deque(self._numbers, maxlen=0)
        for other in self._others:
            if not other.cancel():  # one that has not begun would find nothing left
                other.result()


@lru_cache(maxsize=4)
def _pool(threads: int, process: int) -> ThreadPoolExecutor:
    """Threads that stay; `process`: its number, for a forked child has none of the threads."""
    return ThreadPoolExecutor(threads, thread_name_prefix="scratchpipe")
