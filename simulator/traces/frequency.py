"""How often each row was looked up in so many mini-batches: for independent draws, in closed form.

Of n independent lookups a row of probability p gets a binomial number of mean n p; of many rows,
each of a small p, that is a Poisson number. Bags of random size change n alone, of which a long
past has its mean.

Numbers are drawn by inversion below a mean of `LARGE`, and by a normal number with the correction
for the skewness of a Poisson's (Cornish and Fisher, 1938) from there on, rounded.

Approximated: rows are drawn independently of each other, so that the lookups of a table vary a
little (by their square root); rows of a cell of neighbouring ranks, which differ by 0.3 % in rank,
have its mean probability.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from simulator._compiled import compiled
from simulator._mix import GOLDEN, Word, mix64
from simulator.traces.base import Ids
from simulator.traces.cells import Cells
from simulator.traces.kernels import BLOCK, Words, list_words

__all__ = ["LARGE", "Counts", "Frequency", "draw_counts"]

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int32]

LARGE = 64.0
"""Mean from which on numbers are rounded normal ones: off by less than 1e-3 in any probability."""
_MOST = 2.0**31 - 1.0
_PIECE = 1 << 18
"""Ranks that are drawn at a time."""
_TERMS = 192
"""Of the probabilities of numbers below a mean of `LARGE`: beyond it lies less than 1e-30."""
_TO_UNIT = 2.0**-64
_TO_WORD = 2.0**64
_BELOW = 1.0 - 2.0**-53


@compiled
def bounds_of(mean: float, bounds: Words) -> int:
    """Write the bounds of random words: one at or above `bounds[k]` stands for more than k.
    Returns how many there are, after which no float tells more."""
    term = np.exp(-mean)
    sum_ = term
    count = 0
    while count < len(bounds):
        bounds[count] = np.uint64(min(sum_, _BELOW) * _TO_WORD)
        count += 1
        term *= mean / count
        sum_ += term
        if sum_ >= _BELOW and term <= mean * 2.0**-60:
            break
    return count


@compiled
def normal_count(mean: float, word: Word) -> float:
    """A Poisson number of a large `mean`, from a random word."""
    radius = np.sqrt(-2.0 * np.log((np.float64(word) + 0.5) * _TO_UNIT))
    other = np.float64(mix64(word + GOLDEN)) * _TO_UNIT
    z = radius * np.cos(2.0 * np.pi * other)
    return float(np.floor(mean + np.sqrt(mean) * z + (z * z - 1.0) / 6.0 + 0.5))


@compiled
def draw_counts(
    cells: tuple[Words, Words, Floats], begin: int, end: int, key: Word, ranks: Ids, counts: Counts
) -> int:
    """Write ranks of `begin` to `end` - 1 that were looked up, rising, and how often each was;
    returns how many there are.

    `cells`: first rank, size, and mean number of lookups of a row. Random words are drawn a block
    at a time, those that count listed: nothing is guessed.
    """
    first, size, mean = cells
    words, some = np.empty(BLOCK, np.uint64), np.empty(BLOCK, np.int64)
    bounds = np.empty(_TERMS, np.uint64)
    n = 0
    c = np.searchsorted(first, np.uint64(begin), side="right") - 1
    while c < len(first) and np.int64(first[c]) < end:
        large = mean[c] >= LARGE
        last = 0 if large else bounds_of(mean[c], bounds)
        lowest = np.uint64(0) if large else bounds[0]
        stop: Any = min(np.int64(first[c]) + np.int64(size[c]), end)
        front: Any = max(np.int64(first[c]), begin)
        for start in range(front, stop, BLOCK):
            count = min(BLOCK, stop - start)
            listed = list_words(key, start, lowest, words[:count], some)
            for j in range(listed):
                word = words[some[j]]
                if large:
                    found = min(max(normal_count(mean[c], word), 0.0), _MOST)
                    ranks[n], counts[n] = start + some[j], np.int32(found)
                else:
                    k = 1
                    while k < last and word >= bounds[k]:
                        k += 1
                    ranks[n], counts[n] = start + some[j], k
                n += int(counts[n] > 0)
        c += 1
    return n


@dataclass(frozen=True, eq=False)
class Frequency:
    """Lookups of the rows of one table; a pure function of its arguments."""

    cells: Cells
    lookups: float
    """Mean lookups of the table in a mini-batch."""
    key: Word
    to_rows: Callable[[Ids], Ids]
    """From popularity ranks to rows."""

    def over(self, batches: int) -> Iterator[tuple[Ids, Counts]]:
        """Rows that were looked up in so many mini-batches, and how often: int64 and int32, shape
        (rows,), piece by piece, in no order that means anything."""
        cells = self.cells
        means = cells.mass / cells.size.astype(np.float64) * (self.lookups * batches)
        end = int(cells.first[-1] + cells.size[-1])
        for begin in range(0, end, _PIECE):
            stop = min(begin + _PIECE, end)
            ranks, counts = np.empty(stop - begin, np.int64), np.empty(stop - begin, np.int32)
            found = draw_counts(
                (cells.first, cells.size, means), begin, stop, self.key, ranks, counts
            )
            yield self.to_rows(ranks[:found]), counts[:found]
