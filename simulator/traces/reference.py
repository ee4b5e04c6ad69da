"""The drawing kernels again in plain Python integers: slow, short, what they must equal.

Each function does one lookup. See `simulator.traces.kernels` and `sessions` for the formulas.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from simulator._mix import FIRST_FACTOR, GOLDEN, SECOND_FACTOR, mixed
from simulator.traces.cells import Cells

__all__ = ["drifted", "rank_of", "scattered", "session_source"]

_MASK = 2**64 - 1
_GOLDEN, _M1, _M2 = int(GOLDEN), int(FIRST_FACTOR), int(SECOND_FACTOR)
_F1 = 0xD6E8FEB86659FD93


def rank_of(counter: int, keys: Sequence[int], shared: Sequence[int], cells: Cells) -> int:
    """The rank that the lookup with this counter draws."""
    step = counter * _GOLDEN
    key0, key1 = keys[0], keys[1]
    if shared[2] and mixed(keys[2] + step) < shared[2]:
        key0, key1 = shared[0], shared[1]
    threshold, alias = cells.alias
    bits = len(threshold).bit_length() - 1
    random = mixed(key0 + step)
    cell = random >> (64 - bits)
    if (random << bits) & _MASK >= int(threshold[cell]):
        cell = int(alias[cell])
    first, size, squeeze = (int(a[cell]) for a in (cells.first, cells.size, cells.squeeze))
    random = mixed(key1 + step)
    while True:
        offset, coin = random * size >> 64, random * size & _MASK
        ratio = (first + offset + 1) / (first + 1)
        if coin <= squeeze or coin * 2.0**-64 < ratio**-cells.alpha:
            return first + offset
        random = mixed(random + _GOLDEN)


def scattered(x: int, rows: int, split: int, keys: Sequence[int]) -> int:
    """The row of rank `x` under the Feistel network with cycle walking."""
    mask = 2**split - 1
    lefts = (rows + mask) >> split
    while True:
        left, right = x >> split, x & mask
        for round_ in (0, 2):
            h = (right + keys[round_]) * _M1 & _MASK
            h = (h ^ (h >> 29)) * _F1 & _MASK
            left = (left + ((h >> 32) * lefts >> 32)) % lefts
            h = (left + keys[round_ + 1]) * _M2 & _MASK
            h = (h ^ (h >> 29)) * _F1 & _MASK
            right = (right + (h >> 32)) & mask
        x = left << split | right
        if x < rows:
            return x


def drifted(rank: int, hot: int, groups: int, turns: float, key: int) -> int:
    """Where `rank` stands after its column has turned."""
    group, column = divmod(rank, hot)
    if group >= groups:
        return rank
    phase = mixed(key + column * _GOLDEN) * 2.0**-64
    return (group + int(turns + phase)) % groups * hot + column


def session_source(
    sample: int,
    lookup: int,
    session: tuple[float, float, int],
    keys: Sequence[int],
    bag_size: Callable[[int], int],
) -> tuple[int, int]:
    """The (sample, lookup) whose fresh draw this lookup repeats, maybe itself."""
    repeat, end, concurrent = session
    step = (sample << 20 | lookup) * _GOLDEN
    repeats = mixed(keys[2] + step) * 2.0**-64 < repeat
    if not repeats or mixed(keys[0] + sample * _GOLDEN) * 2.0**-64 < end:
        return sample, lookup
    size = bag_size(sample - concurrent)
    if size == 0:
        return sample, lookup
    before = mixed(keys[1] + step) * size >> 64
    return session_source(sample - concurrent, before, session, keys, bag_size)
