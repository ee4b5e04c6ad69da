"""Slots in numbered lists: constant-time append and unlink; what LFU and Belady are made of.

`links[s]` = (previous, next, bucket) of slot s, so that one cache line has all of it; `ends[b]` =
(first, last) of bucket b. -1: none.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from simulator._compiled import compiled

__all__ = ["Ends", "Links", "append", "empty_ends", "empty_links", "grow_ends", "unlink"]

Links = npt.NDArray[np.int32]
Ends = npt.NDArray[np.int32]

BUCKET = 2
"""Column of `links` that names the bucket; -1 where the slot is in none."""


def empty_links(capacity: int) -> Links:
    """int32, shape (capacity, 4); the fourth column pads to 16 bytes."""
    return np.full((capacity, 4), -1, dtype=np.int32)


def empty_ends(buckets: int) -> Ends:
    """int32, shape (buckets, 2)."""
    return np.full((buckets, 2), -1, dtype=np.int32)


def grow_ends(ends: Ends, buckets: int) -> Ends:
    """`ends` with room for `buckets` or more."""
    if buckets <= len(ends):
        return ends
    return np.concatenate([ends, empty_ends(max(buckets, 2 * len(ends)) - len(ends))])


@compiled
def unlink(links: Links, ends: Ends, slot: int) -> None:
    """Take `slot` out of its bucket."""
    before = links[slot, 0]
    after = links[slot, 1]
    bucket = links[slot, 2]
    if before < 0:
        ends[bucket, 0] = after
    else:
        links[before, 1] = after
    if after < 0:
        ends[bucket, 1] = before
    else:
        links[after, 0] = before
    links[slot, 2] = -1


@compiled
def append(links: Links, ends: Ends, slot: int, bucket: int) -> None:
    """Put `slot` at the end of `bucket`."""
    last = ends[bucket, 1]
    links[slot, 0] = last
    links[slot, 1] = -1
    links[slot, 2] = bucket
    ends[bucket, 1] = slot
    if last < 0:
        ends[bucket, 0] = slot
    else:
        links[last, 1] = slot
