"""When each row was last looked up, long after the start: for independent draws, in closed form.

A row that a lookup draws with probability p is left alone by a mini-batch with probability
exp(-r), so that it was last looked up an exponential time of rate r before the first mini-batch;
whole mini-batches of it are a geometric number. Fixed bags: r = -n log(1 - p) of n lookups. Bags
of random size: r = -B log G(1 - p) of B samples, with G the generating function of their size. The
fractional part of the time is how far the row's last lookup lies from the end of its mini-batch; by
symmetry it is drawn as the first lookup's distance from the beginning is.

Approximated: rows are drawn independently of each other. In a mini-batch of n lookups a row that
is looked up leaves one less for the others: the number of distinct rows varies a little less.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from simulator._compiled import compiled
from simulator._mix import Word
from simulator.traces.base import Ids
from simulator.traces.cells import Cells, zipf_sums
from simulator.traces.kernels import BLOCK, Words, list_words

__all__ = ["Recency", "bag_rates", "fixed_rates"]

Floats = npt.NDArray[np.float64]
_TO_UNIT = 2.0**-64
_SLACK = 1.0 - 1e-9
"""The bound that spares rows their logarithm lies this much below the exact one."""
_NARROW = 2.0**-7
"""Cells whose ranks differ by less than this share of themselves."""
_TERMS = 8
"""Of the series within those: the first that is left out is below 2**-56."""


@compiled
def series_of(power: float) -> Floats:
    """Coefficients of (1 + x)**`power` as a series in x: float64, shape (`_TERMS`,)."""
    terms = np.ones(_TERMS, np.float64)
    for k in range(1, _TERMS):
        terms[k] = terms[k - 1] * (power - (k - 1)) / k
    return terms


@compiled
def summed_series(terms: Floats, x: float) -> float:
    """The sum of the series at `x`. Exact in float64 for 0 <= x <= `_NARROW` and the powers of
    popularities, in a tenth of the time that a power takes."""
    value = float(terms[_TERMS - 1])
    for k in range(_TERMS - 2, -1, -1):
        value = value * x + terms[k]
    return value


@compiled
def draw_ages(
    cells: tuple[Words, Words, Floats, Words, float],
    horizon: float,
    key: Word,
    ranks: Ids,
    ages: Floats,
) -> int:
    """Write the ranks whose age is at most `horizon`, and their ages; returns how many there are.

    `cells`: first rank, size, rate at the first rank (above 0), and a bound below which a random
    word means an older row; the exponent of the popularity within a cell. What does not fit into
    `ranks` is counted alone. Random words are drawn a block at a time, those that count listed, and
    their ages made step by step: nothing is guessed.
    """
    first, size, rate, bound, alpha = cells
    words, young = np.empty(BLOCK, np.uint64), np.empty(BLOCK, np.int64)
    age = np.empty(BLOCK, np.float64)
    terms = series_of(alpha)
    n = 0
    for c in range(len(first)):
        begin: Any = np.int64(first[c])
        whole = begin + 1.0
        narrow = size[c] <= _NARROW * whole
        stop = begin + np.int64(size[c])
        for start in range(begin, stop, BLOCK):
            count = min(BLOCK, stop - start)
            listed = list_words(key, start, bound[c], words[:count], young)
            for j in range(listed):
                age[j] = -np.log((np.float64(words[young[j]]) + 0.5) * _TO_UNIT)
            for j in range(listed):
                age[j] /= rate[c]
            if alpha != 0.0 and narrow:
                for j in range(listed):
                    x = (start + young[j] + 1.0 - whole) / whole
                    age[j] *= summed_series(terms, x)
            elif alpha != 0.0:
                for j in range(listed):
                    age[j] *= ((start + young[j] + 1.0) / whole) ** alpha
            for j in range(listed):
                if n < len(ranks):
                    ranks[n], ages[n] = start + young[j], max(age[j], 0.0)
                n += int(age[j] <= horizon)
    return n


def fixed_rates(probability: Floats, lookups: int) -> Floats:
    """Rate a mini-batch of `lookups` lookups at which a row of `probability` is looked up."""
    with np.errstate(divide="ignore"):
        return -lookups * np.log1p(-probability)


def bag_rates(probability: Floats, samples: int, cumulative: Floats) -> Floats:
    """The same for `samples` bags whose sizes follow `cumulative` (P(size <= k))."""
    sizes = np.diff(cumulative, prepend=0.0)
    k = np.arange(len(sizes), dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        left_alone = np.expm1(np.outer(np.log1p(-probability), k))
        left_alone[:, 0] = 0.0
        return np.asarray(-samples * np.log1p(left_alone @ sizes))


@dataclass(frozen=True, eq=False)
class Recency:
    """The ages of the rows of one table, in mini-batches; a pure function of its arguments."""

    cells: Cells
    rates: Callable[[Floats], Floats]
    """Rate a mini-batch, from the probability of a row."""
    key: Word
    to_rows: Callable[[Ids], Ids]
    """From popularity ranks to rows."""

    @cached_property
    def _cells(self) -> tuple[Words, Words, Floats, Floats]:
        """First rank, size, rate at the first rank and mean rate of the cells that are drawn."""
        cells = self.cells
        first, size = cells.first.astype(np.float64), cells.size.astype(np.float64)
        mean = cells.mass / size
        top = mean
        if cells.alpha != 0.0:
            sums = zipf_sums(first, first + size, cells.alpha)
            top = cells.mass * (first + 1.0) ** -cells.alpha / sums
        rate = self.rates(np.minimum(top, 1.0))
        with np.errstate(invalid="ignore", divide="ignore"):
            share = np.where(top > 0.0, mean / top, 0.0)
        drawn = rate > 0.0
        return cells.first[drawn], cells.size[drawn], rate[drawn], (rate * share)[drawn]

    @property
    def touched(self) -> int:
        """Rows that are looked up at all."""
        return int(self._cells[1].sum())

    def expected(self, age: float) -> float:
        """Mean number of rows whose last lookup lies at most `age` mini-batches back."""
        _, size, _, mean = self._cells
        return float((size * -np.expm1(-mean * age)).sum())

    def within(self, age: float) -> tuple[Ids, Floats]:
        """The rows that were last looked up at most `age` mini-batches ago, and their ages.

        int64 and float64, shape (rows,), in no order that means anything. An age of 2.25 says the
        third mini-batch back, first looked up after a quarter of it.
        """
        first, size, rate, _ = self._cells
        scaled = np.exp(-rate * age) * _SLACK * 2.0**64
        cells = (first, size, rate, scaled.astype(np.uint64), self.cells.alpha)
        mean = self.touched if np.isinf(age) else self.expected(age)
        room = min(self.touched, int(mean + 6.0 * np.sqrt(mean)) + 64)
        while True:
            ranks, ages = np.empty(room, np.int64), np.empty(room, np.float64)
            found = draw_ages(cells, age, self.key, ranks, ages)
            if found <= room:
                return self.to_rows(ranks[:found]), ages[:found]
            room = found
