"""The `stack` generator at any table size: popularity and LRU curve of a real data set.

A sequence arranged at the size of the data set (`simulator.traces.arrange`) is scaled up by
interleaving copies of it: the table is cut into `copies` parts, lookups visit the parts in turn
(rotated at random in each round), and every part runs through the sequence, from a phase of its
own, round and round. Both curves, taken over shares of the table, stay those of the sequence:
lookup q is a closed form of q, so any mini-batch can be drawn without those before it.

How close it comes (`benchmarks/traces.py --stack`, seed 0, caches of 2 to 10 % of the rows): the
popularity curve is exact; the LRU hit rate is within 1 point of the data set's for 25 of the 31
data sets, at their own size and eight times as large, and within 1.4 for 3 more. The others are
nycflights' routes (2.0 points), the 26 interleaved tables of Criteo's sample (3.0) and nycflights'
flight numbers, which return once a day (6.9).
Tables of less than about 50 rows cannot hold a curve. `StackTrace.lru_errors` says the error; above
`trace.tolerance` (2 points) the trace is refused.

Approximated: after one lap (as many lookups a row as the data set has) ids come again in the same
order. Ignored: relations between tables, variable pooling. A table no larger than the data set is
one copy, scaled down if smaller, and starts at its beginning. The past of a run (mini-batches
below 0) is the lap before: only a cache that starts empty meets the cold misses of the data set.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from simulator._compiled import compiled
from simulator._mix import GOLDEN, Word, mix64
from simulator._threads import map_threads
from simulator.config.trace import HALF
from simulator.errors import TraceError
from simulator.traces.arrange import (
    FITTED_FRACTIONS,
    Target,
    arrange,
    calibrated,
    interleaved_hits,
)
from simulator.traces.base import Ids, MiniBatch
from simulator.traces.curves import Distances, Popularity
from simulator.traces.features import even_bags, sample_edges
from simulator.traces.reuse import lru_hits
from simulator.traces.synthetic import Keys, Scatter, Shape, one_buffer

__all__ = ["StackTrace"]

_SMALL = 100
"""Rows below which a cache of 2 % holds one or two."""
_POSITIVE = 2**62 - 1  # turns of the past, below 0, are numbered from the top


class StackTrace:
    """Lookups with a given popularity and LRU curve; a `Trace`.

    Raises `TraceError` where the curve is missed by more than `tolerance` at some cache size.
    """

    def __init__(
        self,
        shape: Shape,
        popularity: Popularity,
        distances: Distances,
        *,
        identity: str,
        ordered: bool = True,
        tolerance: float = 1.0,
    ) -> None:
        self._shape, self._identity, self._ordered = shape, identity, ordered
        keys = Keys(shape.seed)
        calibration = int(keys.draw(2**31, Keys.STACK)[0]) >> 1
        self._copies = [-(-rows // popularity.ids) for rows in shape.rows]
        self._errors = []
        self._sequences = []
        for table, (rows, copies) in enumerate(zip(shape.rows, self._copies, strict=True)):
            target = _target(popularity, distances, -(-rows // copies))
            sequence, histogram, error = _calibrated(target, calibration, copies > 1)
            if copies == 1:  # with copies the phases differ; alone, each table is arranged anew
                sequence = arrange(target, histogram, int(keys.draw(table, Keys.STACK)[0]) >> 1)
            self._sequences.append(sequence)
            self._errors.append(error)
        worst = int(np.argmax(self._errors))
        if self._errors[worst] > tolerance:
            raise TraceError(
                _missed(distances.name, shape.rows[worst], self._errors[worst], tolerance)
            )
        tables = range(len(shape.rows))
        self._phase = [keys.draw(t, Keys.PHASE)[0] for t in tables]
        self._scatter = [Scatter(shape.rows[t], keys.draw(t, Keys.SCATTER, 4)) for t in tables]

    @property
    def rows(self) -> tuple[int, ...]:
        """Rows of each table."""
        return self._shape.rows

    @property
    def batches(self) -> int | None:
        """No end."""
        return None

    @property
    def past(self) -> int | None:
        """No beginning."""
        return None

    @property
    def has_time_order(self) -> bool:
        """Order in time is modelled, unless the distances are those of a shuffle."""
        return self._ordered

    @property
    def lru_errors(self) -> tuple[float, ...]:
        """By table: largest difference of the LRU hit rate (per lookup) from the data set's, at
        caches of 2, 4, 6, 8 and 10 % of the rows, as calibrated."""
        return tuple(self._errors)

    def minibatch(self, index: int) -> MiniBatch:
        """Mini-batch number `index`; below 0: of the past, the lap before."""
        shape = self._shape
        ids = one_buffer([n * shape.batch_size for n in shape.lookups])
        map_threads(lambda t: self._fill(t, index, ids[t]), len(ids), shape.threads)
        bags = tuple(even_bags(each, shape.batch_size) for each in shape.features)
        offsets = tuple(map(sample_edges, bags, shape.features))
        return MiniBatch(index, tuple(ids), offsets, bags=bags if shape.shared else None)

    def hottest(self, table: int, count: int, share: float = HALF) -> Ids:
        """The `count` most frequent rows, hottest first; `share` is of files."""
        del share
        return self._scatter[table](np.arange(min(count, self.rows[table]), dtype=np.int64))

    def fingerprint(self) -> str:
        """SHA-256 (hex) of the configuration, both curves, the shape and the seed."""
        return self._identity

    def _fill(self, table: int, index: int, ids: Ids) -> None:
        _interleave(
            ids,
            index * len(ids),
            self._sequences[table],
            self._copies[table],
            self._shape.rows[table],
            self._phase[table],
        )
        self._scatter[table](ids)


def _missed(name: str, rows: int, error: float, tolerance: float) -> str:
    sizes = ", ".join(f"{100 * fraction:g}" for fraction in FITTED_FRACTIONS)
    enough = math.ceil(error * 1e3) / 1e3
    small = "tables of more rows hold it better; " if rows < _SMALL else ""
    return (
        f"the LRU curve of {name} is asked for at caches of {sizes} % of the rows, to within "
        f"{100 * tolerance:g} points of hit rate (trace.tolerance); over {rows:,} rows the closest "
        f"order of its distances misses it by {100 * error:.1f} points: {small}trace.tolerance: "
        f"{enough:g} takes it as it is, trace.kind: curve draws its popularity alone"
    )


@lru_cache(maxsize=32)
def _target(popularity: Popularity, distances: Distances, ids: int) -> Target:
    return Target.of(popularity, distances, ids)


@lru_cache(maxsize=8)
def _calibrated(target: Target, key: int, interleaved: bool) -> tuple[Ids, Ids, float]:
    hits = interleaved_hits if interleaved else lambda s: lru_hits(s).astype(np.float64)
    return calibrated(target, key, hits)


@compiled
def _interleave(
    out: Ids, first: int, sequence: Ids, copies: int, rows: int, phase_key: Word
) -> None:
    """Fill `out` with the popularity ranks (0 the hottest) of lookups first, first + 1, ..."""
    length = len(sequence)
    for i in range(len(out)):
        turn = (first + i) // copies
        part, position = 0, turn
        if copies > 1:
            rotation = mix64(phase_key + np.uint64(turn & _POSITIVE) * GOLDEN) >> np.uint64(32)
            part = ((first + i) + int(rotation)) % copies
            phase = mix64(phase_key ^ mix64(np.uint64(part) + GOLDEN)) >> np.uint64(20)
            position = turn + int(phase % np.uint64(length))
        rank = sequence[position % length] * copies + part
        # the last copies - 1 ranks may lie past the table: their lookups go to the next rank up
        out[i] = rank if rank < rows else rank - copies
