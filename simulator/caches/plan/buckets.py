"""Slots in numbered lists: constant-time append and unlink, from the oldest to the newest.

LFU, Belady, SIEVE, S3-FIFO and their like are made of them. A row of `links` is 16 bytes, so that
one cache line has all of a slot. Kernels take `Lists` and unpack them at once: a helper that is
called for a slot gets bare arrays, for numba counts references to the arrays of a tuple at each
call (which took half of the time of LFU).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from simulator._compiled import compiled, inner_kernel

__all__ = ["AFTER", "BEFORE", "BUCKET", "FIRST", "LAST", "MARK"]
__all__ += ["CountedLists", "Lists", "append", "empty_counted_lists", "empty_lists", "join", "move"]
__all__ += ["unlink", "with_buckets"]

Int32s = npt.NDArray[np.int32]

BEFORE, AFTER, BUCKET, MARK = range(4)
"""Columns of `links`: the neighbours of a slot in its list (-1: none), the number of that list
(below 0: in none), and a number that the owner of the lists keeps with the slot."""

FIRST, LAST = range(2)
"""Columns of `ends`: the slots at both ends of a list; -1 where it is empty."""


class Lists(NamedTuple):
    """`links`: int32, shape (slots, 4); `ends`: int32, shape (lists, 2)."""

    links: Int32s
    ends: Int32s


class CountedLists(NamedTuple):
    """`Lists` that know how long they are; `sizes`: int64, shape (lists,)."""

    links: Int32s
    ends: Int32s
    sizes: npt.NDArray[np.int64]


def empty_lists(slots: int, buckets: int) -> Lists:
    """`buckets` empty lists for `slots` slots, which are in none."""
    return Lists(np.full((slots, 4), -1, np.int32), np.full((buckets, 2), -1, np.int32))


def empty_counted_lists(slots: int, buckets: int) -> CountedLists:
    """`empty_lists` with their sizes."""
    return CountedLists(*empty_lists(slots, buckets), np.zeros(buckets, np.int64))


def with_buckets(lists: Lists, buckets: int) -> Lists:
    """`lists` with room for `buckets` or more of them."""
    count = len(lists.ends)
    if buckets <= count:
        return lists
    more = np.full((max(buckets, 2 * count) - count, 2), -1, np.int32)
    return Lists(lists.links, np.concatenate([lists.ends, more]))


@inner_kernel
def join(links: Int32s, ends: Int32s, bucket: int, before: int, after: int) -> None:
    """Make two slots of a list neighbours; -1: its beginning, its end."""
    if before < 0:
        ends[bucket, FIRST] = after
    else:
        links[before, AFTER] = after
    if after < 0:
        ends[bucket, LAST] = before
    else:
        links[after, BEFORE] = before


@compiled
def unlink(links: Int32s, ends: Int32s, slot: int) -> None:
    """Take `slot` out of its list."""
    before = links[slot, BEFORE]
    after = links[slot, AFTER]
    bucket = links[slot, BUCKET]
    join(links, ends, bucket, before, after)
    links[slot, BUCKET] = -1


@compiled
def append(links: Int32s, ends: Int32s, slot: int, bucket: int) -> None:
    """Put `slot` at the end of list `bucket`."""
    last = ends[bucket, LAST]
    links[slot, BEFORE] = last
    links[slot, AFTER] = -1
    links[slot, BUCKET] = bucket
    ends[bucket, LAST] = slot
    if last < 0:
        ends[bucket, FIRST] = slot
    else:
        links[last, AFTER] = slot


@compiled
def move(links: Int32s, ends: Int32s, sizes: npt.NDArray[np.int64], slot: int, bucket: int) -> None:
    """Put `slot` at the end of list `bucket`, out of the one that it is in.

    Below 0: in none; the number is kept in its place.
    """
    source = links[slot, BUCKET]
    if source >= 0:
        unlink(links, ends, slot)
        sizes[source] -= 1
    if bucket >= 0:
        append(links, ends, slot, bucket)
        sizes[bucket] += 1
    else:
        links[slot, BUCKET] = bucket
