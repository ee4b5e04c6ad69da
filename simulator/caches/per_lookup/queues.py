"""Queues of ids without links: an id leaves the middle of a queue by being forgotten there.

A queue is a ring of ids, oldest first. An id's word is its position in the ring of the queue that
it is in, so that a position whose id has another word by now is stale: it is passed when it comes
to the head. To move an id is one word and one position, and what will be evicted next is known, so
that its words are asked for ahead. A ring that is full of stale positions is closed up.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from simulator._compiled import compiled, inner_kernel, prefetch

__all__ = ["FORGOTTEN", "HEAD", "SIZE", "TAIL", "UNSEEN"]
__all__ += ["AHEAD", "Queues", "Words", "empty_queues", "pop", "push", "queue_bits"]

Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]
Words = npt.NDArray[Any]
"""int32 or int64."""
Row = int | np.uint64
"""Kernels index by unsigned numbers, for numba asks of others whether they are below 0."""

UNSEEN, FORGOTTEN = -1, -2
"""Words of ids in no queue: never looked up; looked up, and evicted or no longer a ghost."""

HEAD, TAIL, SIZE = range(3)
"""Columns of `spans`: positions passed and written since the start, ids in the queue."""

AHEAD = 32
"""How far ahead of their use words are asked for."""

MARK_BITS = 2
"""Low bits of a word that are the owner's; `push` makes them 0."""

SHARE = 4
"""Positions of a ring for each id that it may have: a full one is closed up to a quarter."""


class Queues(NamedTuple):
    """`words`: int32 or int64, an id; `rings`: int32, one ring after the other, each a power of 2
    long; `spans`: int64, shape (queues, 3)."""

    words: Words
    rings: Int32s
    spans: Int64s


def empty_queues(rows: int, queues: int, largest: int) -> Queues:
    """`queues` empty queues of ids below `rows`, none of which ever has more than `largest`."""
    length = 1 << (SHARE * min(largest, rows)).bit_length()
    wide = queues * length << MARK_BITS > np.iinfo(np.int32).max
    words = np.full(rows, UNSEEN, np.int64 if wide else np.int32)
    return Queues(words, np.zeros(queues * length, np.int32), np.zeros((queues, 3), np.int64))


@inner_kernel
def queue_bits(rings: Int32s, spans: Int64s) -> int:
    """By how much a word is shifted to the right for the number of its queue (below 0: none)."""
    length = len(rings) // len(spans)
    bits = MARK_BITS
    while length > 1:
        length >>= 1
        bits += 1
    return bits


@inner_kernel
def push(words: Words, rings: Int32s, spans: Int64s, row: Row, queue: int) -> None:
    """Put `row` at the end of `queue`, out of the one that it is in."""
    length = len(rings) // len(spans)
    if spans[queue, TAIL] - spans[queue, HEAD] == length:
        close_up(words, rings, spans, queue)
    position = queue * length + (spans[queue, TAIL] & (length - 1))
    rings[np.uint64(position)] = row
    words[np.uint64(row)] = position << MARK_BITS
    spans[queue, TAIL] += 1
    spans[queue, SIZE] += 1


@inner_kernel
def pop(words: Words, rings: Int32s, spans: Int64s, queue: int) -> int:
    """The oldest id of a queue that is not empty. Its word is left for the caller to write."""
    length = len(rings) // len(spans)
    base = queue * length
    head = spans[queue, HEAD]
    while True:
        prefetch(words, rings[np.uint64(base + ((head + AHEAD) & (length - 1)))])
        position = base + (head & (length - 1))
        row = rings[np.uint64(position)]
        head += 1
        if words[np.uint64(row)] >> MARK_BITS == position:
            break
    spans[queue, HEAD] = head
    spans[queue, SIZE] -= 1
    return int(row)


@compiled
def close_up(words: Words, rings: Int32s, spans: Int64s, queue: int) -> None:
    """Write the positions of `queue` that are not stale anew, from its head on."""
    length = len(rings) // len(spans)
    base = queue * length
    tail = spans[queue, HEAD]
    for old in range(spans[queue, HEAD], spans[queue, TAIL]):
        before = base + (old & (length - 1))
        row = rings[before]
        if words[row] >> MARK_BITS == before:
            after = base + (tail & (length - 1))
            rings[after] = row
            words[row] += (after - before) << MARK_BITS
            tail += 1
    spans[queue, TAIL] = tail
