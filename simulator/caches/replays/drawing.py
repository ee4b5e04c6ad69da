"""Mini-batches of a trace one by one, drawn ahead on a thread where that changes nothing."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice

from simulator.traces.base import MiniBatch, Trace

__all__ = ["drawn"]

_AHEAD = 8
"""Mini-batches that are drawn and wait, at most."""
_LOOKUPS_AHEAD = 4_000_000
"""Their lookups, about: 8 bytes each."""


def drawn(trace: Trace, count: int, *, first: int = 0, ahead: bool = False) -> Iterator[MiniBatch]:
    """`count` mini-batches of `trace` from number `first` on, in order.

    `ahead`: while those before them are used, if the trace says that it may be asked on any thread
    (`drawn_on_any_thread`). What fails then is raised in the place of its mini-batch.
    """
    if not ahead or not getattr(trace, "drawn_on_any_thread", False):
        yield from map(trace.minibatch, range(first, first + count))
        return
    waiting: deque[Future[MiniBatch]] = deque()
    with ThreadPoolExecutor(1, thread_name_prefix="scratchpipe-draws") as thread:
        try:
            numbers, room = iter(range(first, first + count)), 1
            while True:
                for number in islice(numbers, room - len(waiting)):
                    waiting.append(thread.submit(trace.minibatch, number))
                if not waiting:
                    return
                batch = waiting.popleft().result()
                room = max(1, min(_AHEAD, _LOOKUPS_AHEAD // max(1, batch.lookups)))
                yield batch
                del batch  # nobody may need it any more
        finally:
            for future in waiting:
                future.cancel()
