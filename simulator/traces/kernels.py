"""Compiled drawing: counter-based random numbers, ranks from cells, a bijection without a table.

Modelled: lookup number j of sample s in table t is a pure function of (seed, t, s, j), so any
mini-batch can be drawn in any order and on any number of threads.

- Random numbers: SplitMix64's finaliser (`simulator._mix`) of a key plus a counter times an odd
  constant.
- Ranks: Walker's alias method over 2**k cells of neighbouring ranks, then rejection within the
  cell against the cell's first rank (with a squeeze, so that `pow` is rare). Exact up to the 64-bit
  random numbers: absolute error of a probability below 2**-50.
- Rows: an unbalanced Feistel network on [0, a) x [0, 2**k) with a * 2**k >= rows and cycle walking
  (Black and Rogaway 2002); fewer than 2**k of the pairs lie outside of the table. It scatters hot
  rows over the table; it is no cipher.

All integers in kernels are uint64 unless said otherwise; arrays of ids are int64.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from simulator._compiled import compiled
from simulator._mix import FIRST_FACTOR, GOLDEN, SECOND_FACTOR, Word, mix64
from simulator.traces.base import Ids

__all__ = [
    "SAMPLES",
    "SAMPLE_SHIFT",
    "CellArrays",
    "Words",
    "draw_ranks",
    "drift_ranks",
    "high_product",
    "list_words",
    "number_lookups",
    "permute",
    "pooled_offsets",
]

SAMPLE_SHIFT = 20
"""A sample makes fewer than 2**20 lookups in a table: the counter is sample << 20 | lookup."""
SAMPLES = 1 << 42
"""Samples are numbered modulo this: those before the first one count down from it."""

_F1 = np.uint64(0xD6E8FEB86659FD93)
_LOW = np.uint64(0xFFFFFFFF)
_ZERO, _ONE = np.uint64(0), np.uint64(1)
_U29, _U32 = np.uint64(29), np.uint64(32)
_U64 = np.uint64(64)
_TO_UNIT = 2.0**-64


BLOCK = 512
"""Lookups are drawn a block at a time, in loops that each do one thing to all of it: reading tables
and deciding are apart, so that nothing is guessed and most loops run on vectors; the rare lookups
that need another try are listed and done one by one. A block stays in the first-level cache."""

Words = npt.NDArray[np.uint64]


class CellArrays(NamedTuple):
    """`simulator.traces.cells.Cells` as the kernels take them; arrays by cell, uint64.

    `threshold`, `alias`: Walker's columns, a power of two of them; `first`, `size`: the ranks of a
    cell; `squeeze`: least acceptance probability times 2**64; `alpha`: float.
    """

    threshold: Words
    alias: Words
    first: Words
    size: Words
    squeeze: Words
    alpha: float


@compiled
def list_words(key: Word, start: int, bound: Word, words: Words, listed: Ids) -> int:
    """Draw a random word for each rank from `start` on, as many as `words` has room for, and list
    the places of those at or above `bound`; returns how many. Nothing is guessed."""
    for k in range(len(words)):
        words[k] = mix64(key + np.uint64(start + k) * GOLDEN)
    count = 0
    for k in range(len(words)):
        listed[count] = k
        count += int(words[k] >= bound)
    return count


@compiled
def high_product(x: Word, n: Word) -> Word:
    """floor(x * n / 2**64) for a 64-bit x and n < 2**32."""
    return ((x >> _U32) * n + (((x & _LOW) * n) >> _U32)) >> _U32


@compiled
def _within(first: Word, size: Word, squeeze: Word, alpha: float, random: Word) -> Word:
    """A rank of a cell: proposed uniformly, accepted with probability (rank / first)**-alpha.

    The fractional part of random * size is independent of the place and serves as the coin.
    """
    offset = high_product(random, size)
    while random * size > squeeze:
        ratio = (np.float64(first + offset) + 1.0) / (np.float64(first) + 1.0)
        if np.float64(random * size) * _TO_UNIT < ratio**-alpha:
            break
        random = mix64(random + GOLDEN)
        offset = high_product(random, size)
    return first + offset


@compiled
def number_lookups(out: Ids, offsets: Ids, sample0: int) -> None:
    """Fill `out` with the counters of the bags: sample << 20 | lookup within the sample."""
    for s in range(len(offsets) - 1):
        base = ((sample0 + s) << SAMPLE_SHIFT) - offsets[s]
        for i in range(offsets[s], offsets[s + 1]):
            out[i] = base + i


@compiled
def draw_ranks(
    out: Ids, numbers: Ids, first: int, keys: Words, shared: Words, cells: CellArrays
) -> None:
    """Write the rank (from 0) of each lookup to `out`; its counter is `first` + that of `numbers`,
    which may be `out` itself.

    `keys`: [3]: stream of cells, of places within a cell, of the coin of correlation; `shared`:
    [3]: the common stream of all tables (cells, places) and the probability of using it * 2**64.
    """
    threshold, alias, begin, size, squeeze, alpha = cells
    bits = _ZERO
    while (_ONE << bits) < np.uint64(len(threshold)):
        bits += _ONE
    key0, key1, key2, together = keys[0], keys[1], keys[2], shared[2]
    cell, offset, below, other = np.empty((4, BLOCK), np.uint64)
    again = np.empty(BLOCK, np.int64)
    for start in range(0, len(out), BLOCK):
        block, own = out[start : start + BLOCK], numbers[start : start + BLOCK]
        for k in range(len(block)):
            counter = np.uint64(first + own[k]) * GOLDEN
            cell[k] = mix64(key0 + counter)
            offset[k] = mix64(key1 + counter)
        if together != _ZERO:
            for k in range(len(block)):
                counter = np.uint64(first + own[k]) * GOLDEN
                if mix64(key2 + counter) < together:
                    cell[k] = mix64(shared[0] + counter)
                    offset[k] = mix64(shared[1] + counter)
        for k in range(len(block)):
            column = cell[k] >> (_U64 - bits)
            below[k], other[k] = threshold[column], alias[column]
        for k in range(len(block)):
            column = cell[k] >> (_U64 - bits)
            cell[k] = other[k] if (cell[k] << bits) >= below[k] else column
        rejected = 0
        for k in range(len(block)):
            c = cell[k]
            block[k] = np.int64(begin[c] + high_product(offset[k], size[c]))
            if offset[k] * size[c] > squeeze[c]:
                again[rejected] = k
                rejected += 1
        for k in again[:rejected]:
            # arrays stay in this function: passing them on costs reference counts
            c = cell[k]
            block[k] = np.int64(_within(begin[c], size[c], squeeze[c], alpha, offset[k]))


@compiled
def _rounds(
    x: Word, right_bits: Word, lefts: Word, key0: Word, key1: Word, key2: Word, key3: Word
) -> Word:
    """Four rounds of the Feistel network on [0, lefts) x [0, 2**right_bits)."""
    mask = (_ONE << right_bits) - _ONE
    left, right = x >> right_bits, x & mask
    for even, odd in ((key0, key1), (key2, key3)):
        h = (right + even) * FIRST_FACTOR
        h = (h ^ (h >> _U29)) * _F1
        left += ((h >> _U32) * lefts) >> _U32
        left = left - lefts if left >= lefts else left
        h = (left + odd) * SECOND_FACTOR
        h = (h ^ (h >> _U29)) * _F1
        right = (right + (h >> _U32)) & mask
    return (left << right_bits) | right


@compiled
def permute(ids: Ids, rows: int, split: int, keys: Words) -> None:
    """Replace each of `ids` (int64, in [0, rows)) by its image under a bijection of [0, rows).

    `split`: bits of the right half; `keys`: uint64 [4], one a round.
    """
    limit, bits = np.uint64(rows), np.uint64(split)
    lefts = (limit + (_ONE << bits) - _ONE) >> bits
    key0, key1, key2, key3 = keys[0], keys[1], keys[2], keys[3]
    outside = np.empty(BLOCK, np.int64)
    for start in range(0, len(ids), BLOCK):
        block = ids[start : start + BLOCK]
        for k in range(len(block)):
            x = _rounds(np.uint64(block[k]), bits, lefts, key0, key1, key2, key3)
            block[k] = np.int64(x)
        n = 0
        for k in range(len(block)):
            if np.uint64(block[k]) >= limit:
                outside[n] = k
                n += 1
        for k in outside[:n]:
            x = np.uint64(block[k])
            while x >= limit:
                x = _rounds(x, bits, lefts, key0, key1, key2, key3)
            block[k] = np.int64(x)


@compiled
def drift_ranks(ranks: Ids, hot: int, groups: int, turns: float, key: Word) -> None:
    """Map each rank to the row that holds it after `turns` periods times the share replaced.

    Rank g * hot + c stands in column c of `groups` rows; a column has turned
    floor(turns + phase) times, its phase drawn from `key`: a bijection at every time.
    """
    columns = np.uint64(hot)
    for i in range(len(ranks)):
        rank = np.uint64(ranks[i])
        group, column = rank // columns, rank % columns
        if group < np.uint64(groups):
            phase = np.float64(mix64(key + column * GOLDEN)) * _TO_UNIT
            turned = np.uint64(turns + phase)
            ranks[i] = np.int64(((group + turned) % np.uint64(groups)) * columns + column)


@compiled
def pooled_offsets(out: Ids, sample0: int, key: Word, cumulative: npt.NDArray[np.float64]) -> None:
    """Offsets (samples + 1) of bags whose sizes follow `cumulative` (P(size <= k))."""
    out[0] = 0
    for s in range(len(out) - 1):
        u = np.float64(mix64(key + np.uint64(sample0 + s) * GOLDEN)) * _TO_UNIT
        out[s + 1] = out[s] + np.searchsorted(cumulative, u, side="right")
