"""Sessions: a lookup repeats, with some probability, an id of its session's sample before.

Samples of `concurrent` sessions take turns, so the sample before stands `concurrent` samples
back; a session ends after each sample with probability 1 / length. Whether a lookup repeats, and
which lookup of the sample before, are counter-based random numbers: the id is found by walking
back to the lookup that was drawn afresh, 1 / (1 - repeat) steps in the mean, without drawing what
lies between. Every id is a draw from the popularity, so repeating leaves the popularity as it is
and changes only the order in time.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from simulator._compiled import compiled
from simulator._mix import GOLDEN, mix64
from simulator.traces.base import Ids
from simulator.traces.kernels import SAMPLE_SHIFT, SAMPLES, Words, high_product

__all__ = ["number_session_lookups"]

_TO_UNIT = 2.0**-64


@compiled
def _source(
    sample: int,
    lookup: int,
    session: tuple[float, float, int],
    keys: Words,
    bags: tuple[int, Words, npt.NDArray[np.float64], Ids],
) -> tuple[int, int]:
    """The (sample, lookup) whose fresh draw this lookup repeats, maybe itself."""
    repeat, end, concurrent = session
    mean, bag_keys, cumulative, ends = bags
    while True:  # sessions have always been under way: samples count on below 0
        counter = np.uint64((sample << SAMPLE_SHIFT) + lookup) * GOLDEN
        if np.float64(mix64(keys[2] + counter)) * _TO_UNIT >= repeat:
            break
        if np.float64(mix64(keys[0] + np.uint64(sample) * GOLDEN)) * _TO_UNIT < end:
            break
        before = (sample - concurrent) & (SAMPLES - 1)
        size: Any = mean
        if len(cumulative):
            size = 0
            for f in range(len(bag_keys)):
                u = np.float64(mix64(bag_keys[f] + np.uint64(before) * GOLDEN)) * _TO_UNIT
                size += np.searchsorted(cumulative[ends[f] : ends[f + 1]], u, side="right")
        if size == 0:
            break
        place: Any = np.int64(high_product(mix64(keys[1] + counter), np.uint64(size)))
        lookup = place  # int() keeps it unsigned, and int64 + uint64 are a float in numba
        sample = before
    return sample, lookup


@compiled
def number_session_lookups(
    out: Ids,
    offsets: Ids,
    sample0: int,
    session: tuple[float, float, int],
    keys: Words,
    bags: tuple[int, Words, npt.NDArray[np.float64], Ids],
) -> None:
    """As `kernels.number_lookups`, each lookup numbered as the one whose draw it repeats.

    `session`: (repeat, 1 / length, concurrent); `keys`: [3]: streams of session ends (common to
    all tables), of the place in the sample before, and of the coin to repeat; `bags`: (mean
    lookups of a sample, keys of the sizes of each feature's bags, their P(size <= k) one after the
    other or empty where fixed, where those of each begin and end).
    """
    for s in range(len(offsets) - 1):
        for i in range(offsets[s], offsets[s + 1]):
            sample, lookup = _source(sample0 + s, i - offsets[s], session, keys, bags)
            out[i] = (sample << SAMPLE_SHIFT) + lookup
