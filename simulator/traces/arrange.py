"""Arrange given access counts in time so that a given LRU curve comes out: the `stack` generator.

A sequence is built lookup by lookup. Each step draws a stack-distance class (or "new id") from
what is left of the target histogram, then an id among those whose stack depth lies in the class,
with probability proportional to the lookups that the id still has to make. So every id makes
exactly its lookups (the popularity is exact), and the distances follow the target except where a
class holds no id with lookups left; then the nearest class that does is used. Drawing ids by what
is left is what a shuffle does, so a shuffle's histogram gives back a shuffle.

The deviations lean towards short distances; `calibrated` corrects the target by the error of the
sequence made (a fixed-point iteration) and keeps the best. The error that stays is largest for
strictly periodic data, where the depth of an id and its remaining lookups are not independent.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from simulator._compiled import compiled
from simulator._mix import GOLDEN, Word, mix64
from simulator.traces import fenwick
from simulator.traces.base import Ids
from simulator.traces.curves import Distances, Popularity

__all__ = ["FITTED_FRACTIONS", "Target", "arrange", "calibrated", "interleaved_hits"]

FITTED_FRACTIONS = (0.02, 0.04, 0.06, 0.08, 0.10)
"""Cache sizes (of all ids) at which the LRU curve is compared."""

_ROUNDS = 8
_GOOD_ENOUGH = 0.005  # largest error of a hit rate at which calibration stops
_STEP = 0.7  # of the error, added to the target in each round

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Target:
    """What a sequence shall look like, at its own size.

    `counts`: int64 [ids], descending; `edges`: int64 [classes + 1]: class b holds the distances
    edges[b] < d <= edges[b + 1]; `mass`: float64 [classes]: lookups with such distances.
    """

    counts: Ids
    edges: Ids
    mass: Floats
    distances: Distances

    @classmethod
    def of(cls, popularity: Popularity, distances: Distances, ids: int) -> Target:
        """Both curves scaled to `ids` ids."""
        accesses = max(ids, round(popularity.accesses * ids / popularity.ids))
        counts = popularity.counts(ids, accesses)
        # to the bottom of the stack: ids below the deepest distance can be called for too
        depths = np.concatenate(([0.0], distances.fraction, [1.0]))
        edges = np.unique(np.round(depths * ids)).astype(np.int64)
        mass = np.diff(distances.hit_rate(edges / ids)) * int(counts.sum())
        return cls(counts, edges, mass, distances)


def calibrated(
    target: Target, key: int, hits: Callable[[Ids], Floats]
) -> tuple[Ids, npt.NDArray[np.int64], float]:
    """(sequence, histogram that gave it, error): the best of some rounds of correction.

    `hits(sequence)`: hits by cache size, 0 .. ids rows. The error is the largest difference of
    the hit rates at `FITTED_FRACTIONS`.
    """
    ids, total = len(target.counts), int(target.counts.sum())
    sizes = np.array(FITTED_FRACTIONS) * ids
    wanted = target.distances.hit_rate(FITTED_FRACTIONS)
    mass = target.mass.copy()
    best: tuple[Ids, npt.NDArray[np.int64], float] | None = None
    for _ in range(_ROUNDS):
        histogram = np.diff(np.round(np.append(0.0, np.cumsum(mass)))).astype(np.int64)
        sequence = arrange(target, histogram, key)
        curve = hits(sequence)
        error = float(np.abs(np.interp(sizes, np.arange(ids + 1), curve) / total - wanted).max())
        if best is None or error < best[2]:
            best = sequence, histogram, error
        if error < _GOOD_ENOUGH:
            break
        mass = np.maximum(mass + _STEP * (target.mass - np.diff(curve[target.edges])), 0.0)
        mass *= target.mass.sum() / max(mass.sum(), 1e-300)
    assert best is not None
    return best


def interleaved_hits(sequence: Ids) -> Floats:
    """Hits by cache size (as a share of ids) of very many copies of `sequence` taking turns.

    Each copy runs round and round from a phase of its own. A window of w turns then holds the
    mean footprint f(w) of the sequence times the number of copies (Xiang et al. 2013), so a
    lookup hits where the footprint of its reuse time fits: exact for many copies.
    """
    total, ids = len(sequence), int(sequence.max()) + 1
    order = np.argsort(sequence, kind="stable")
    grouped = sequence[order]
    gaps = np.diff(order, append=0)
    ends = np.append(grouped[1:] != grouped[:-1], True)
    starts = np.append(0, np.flatnonzero(ends)[:-1] + 1)
    gaps[ends] = order[starts] + total - order[ends]  # around to the first lookup of the id
    by_gap = np.bincount(gaps, minlength=total + 1).astype(np.float64)
    longer = total - np.cumsum(by_gap)  # lookups whose gap exceeds w
    footprint = np.append(0.0, np.cumsum((longer + by_gap)[1:]) / total)
    within = np.cumsum(by_gap)
    size = np.arange(ids + 1, dtype=np.float64)
    return np.interp(size, footprint, within)


def arrange(target: Target, histogram: npt.NDArray[np.int64], key: int) -> Ids:
    """A sequence of ids 0 .. n - 1 (0 the most frequent) with `histogram` as its aim."""
    counts = target.counts
    rng = np.random.Generator(np.random.Philox(key))
    # arrival in the order of a shuffle: smallest of c exponential times
    arrival = np.argsort(rng.exponential(size=len(counts)) / counts, kind="stable")
    out = np.empty(int(counts.sum()), np.int64)
    _arrange(out, counts.copy(), arrival, target.edges, histogram.copy(), np.uint64(key))
    return out


@compiled
def _below(key: Word, step: int, limit: int) -> int:
    """A number below `limit`, for random stream `key` at `step`."""
    unit = np.float64(mix64(key + np.uint64(step) * GOLDEN) >> np.uint64(11)) * 2.0**-53
    return min(int(unit * limit), limit - 1)


@compiled
def _choose_class(aim: Ids, edges: Ids, stack: int, fresh: int, drawn: int) -> int:
    """The class that number `drawn` falls into: -1 for a new id, classes deep in the stack not."""
    left = drawn - fresh
    if left < 0:
        return -1
    for b in range(len(aim)):
        if edges[b] < stack:
            if left < aim[b]:
                return b
            left -= aim[b]
    return len(aim) - 1


@compiled
def _left_for(aim: Ids, edges: Ids, stack: int, fresh: int) -> int:
    total = fresh
    for b in range(len(aim)):
        if edges[b] < stack:
            total += aim[b]
    return total


@compiled
def _pick(live: Ids, weight: Ids, low: int, high: int, stack: int, key: Word, step: int) -> int:
    """The place of an id at depth low .. high - 1 (0 the latest), by weight; -1 if none has any."""
    oldest = fenwick.find(live, stack - high)
    latest = fenwick.find(live, stack - 1 - low)
    before = fenwick.prefix(weight, oldest)
    inside = fenwick.prefix(weight, latest + 1) - before
    if inside <= 0:
        return -1
    return fenwick.find(weight, before + _below(key, step, inside))


@compiled
def _arrange(out: Ids, left: Ids, arrival: Ids, edges: Ids, aim: Ids, key: Word) -> None:
    """Fill `out`; `left`: lookups that each id has to make; `aim`: lookups left by class."""
    total, ids, classes = len(out), len(left), len(aim)
    live, weight = np.zeros(total + 1, np.int64), np.zeros(total + 1, np.int64)
    holder, last = np.zeros(total, np.int64), np.zeros(ids, np.int64)
    used, waiting = 0, 0  # ids in the stack; lookups that they have to make yet
    for now in range(total):
        fresh = ids - used
        feasible = _left_for(aim, edges, used, fresh)
        wanted = classes - 1
        if waiting == 0:
            wanted = -1
        elif feasible > 0:
            wanted = _choose_class(aim, edges, used, fresh, _below(key, 2 * now, feasible))
        position = -1
        for turn in range(2 * classes if wanted >= 0 else 0):  # nearest class, deeper first
            b = wanted + ((turn + 1) // 2 if turn % 2 else -(turn // 2))
            if b < 0 or b >= classes or edges[b] >= used:
                continue
            position = _pick(
                live, weight, edges[b], min(edges[b + 1], used), used, key, 2 * now + 1
            )
            if position >= 0:
                b = b if aim[b] > 0 else wanted
                aim[b] = max(0, aim[b] - 1)
                break
        if position < 0:
            x = arrival[used]
            used += 1
        else:
            x = holder[position]
            fenwick.add(live, position, -1)
            fenwick.add(weight, position, -left[x])
            waiting -= left[x]
        left[x] -= 1
        waiting += left[x]
        fenwick.add(live, now, 1)
        fenwick.add(weight, now, left[x])
        holder[now], last[x] = x, now
        out[now] = x
