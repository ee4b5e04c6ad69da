"""The state of a cache under LRU after a long past, sampled.

The rows of the cache are those that were looked up last, and when that was has a closed form for
independent draws (`traces.recency`). Exact but for the independence of rows that it takes.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, inf, isinf, sqrt

import numpy as np
import numpy.typing as npt

from simulator._compiled import compiled
from simulator._threads import cores, map_threads
from simulator.caches.plan.distinct import PoolShape, pool_shapes
from simulator.caches.plan.ordered import DIGIT, order_by_digit
from simulator.config.memo import by_identity
from simulator.traces.base import Trace
from simulator.traces.draws import Ages, draws_of

__all__ = ["age_of", "by_number", "last_uses", "sampled_rows", "to_last_places"]

Int64s = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_BELOW = 1.0 - 2.0**-40
"""Leaves the largest whole number below 2**63, however it is rounded."""
_CROWDED = 64
"""Moves of a number, in the mean, beyond which leading digits do not help."""


def sampled_rows(trace: Trace, capacities: Sequence[int], scope: str) -> list[Int64s] | None:
    """Rows of each pool under LRU, the youngest first; None where there is no closed form.

    In a pool of several tables, a mini-batch looks up table after table. Caches of one trace that
    are alike are sampled once: nobody may write to the rows.
    """
    known = _samples(trace)
    key = (tuple(capacities), scope)
    if key not in known:
        known.clear()  # of one kind of cache: tens of megabytes
        known[key] = _sampled(trace, capacities, scope)
    return known[key]


@by_identity
def _samples(trace: Trace) -> dict[tuple[tuple[int, ...], str], list[Int64s] | None]:
    """What was sampled last for `trace`, by capacities and scope."""
    del trace
    return {}


def _sampled(trace: Trace, capacities: Sequence[int], scope: str) -> list[Int64s] | None:
    shapes = pool_shapes(trace.rows, scope)
    draws = draws_of(trace)
    if draws is None or not draws.independent or (scope == "global" and draws.correlated):
        return None

    def youngest(pool: int) -> Int64s:
        tables = [draws.ages(table) for table in shapes[pool].tables]
        return _youngest(tables, shapes[pool], capacities[pool])

    return map_threads(youngest, len(shapes), cores())


def last_uses(trace: Trace, horizon: int) -> list[tuple[Int64s, Floats]] | None:
    """Rows of each table that were last looked up at most `horizon` mini-batches ago, and how long
    ago (`Ages.within`); None where there is no closed form."""
    draws = draws_of(trace)
    if draws is None or not draws.independent:
        return None

    def within(table: int) -> tuple[Int64s, Floats]:
        return draws.ages(table).within(float(horizon))

    return map_threads(within, len(trace.rows), cores())


def _youngest(tables: Sequence[Ages], shape: PoolShape, capacity: int) -> Int64s:
    """The `capacity` rows of a pool that were looked up last, the youngest first."""
    horizon = _horizon(tables, capacity)
    while True:
        found = [table.within(horizon) for table in tables]
        if isinf(horizon) or sum(len(rows) for rows, _ in found) >= capacity:
            break
        horizon *= 1.5
    for number, (rows, ages) in enumerate(found):
        to_last_places(ages, number, len(tables))
        if shape.bases[number]:
            rows += shape.bases[number]
    if len(found) == 1:
        ((rows, places),) = found
    else:
        rows, places = map(np.concatenate, zip(*found, strict=True))
    return by_number(places, rows)[:capacity]


@compiled
def to_last_places(ages: Floats, table: int, tables: int) -> None:
    """Replace ages by how far back rows stand in the order of LRU: by mini-batch, within it from
    its end.

    LRU orders the rows of a mini-batch by their first lookup, table after table.
    """
    for k in range(len(ages)):
        whole = np.floor(ages[k])
        ages[k] = (whole + 1.0) - ((ages[k] - whole) + table) / tables


def by_number(numbers: Floats, carried: Int64s) -> Int64s:
    """`carried` in the stable order of `numbers`, which are finite and not negative.

    Numbers become whole ones with their places behind, which are sorted by their leading digits,
    and then moved to where they belong: in linear time where they are spread as ages are. Where
    they crowd, they are sorted as any are.
    """
    bits = len(numbers).bit_length()
    top = float(numbers.max(initial=0.0))
    scale = 2.0 ** (63 - bits) * _BELOW / top if top > 0.0 else 0.0
    out = np.empty(len(numbers), np.int64)
    if not isinf(scale):
        placed, other = np.empty(len(numbers), np.int64), np.empty(len(numbers), np.int64)
        with_places(numbers, scale, bits, placed)
        for shift in range(63 - DIGIT * ceil(bits / DIGIT), 63, DIGIT):
            order_by_digit(placed, shift, other)
            placed, other = other, placed
        if settle(placed, bits, numbers, carried, out):
            return out
    return np.asarray(carried[np.argsort(numbers, kind="stable")])


@compiled
def with_places(numbers: Floats, scale: float, bits: int, placed: Int64s) -> None:
    """Write `numbers` times `scale`, rounded down, with their places in the lowest `bits` bits."""
    for k in range(len(numbers)):
        placed[k] = (np.int64(numbers[k] * scale) << bits) | k


@compiled
def settle(placed: Int64s, bits: int, numbers: Floats, carried: Int64s, out: Int64s) -> bool:
    """Put `placed`, sorted by leading digits, into the order of `numbers`, and what each carries
    into `out`; False where that takes too many moves."""
    mask = (1 << bits) - 1
    moves = 0
    for k in range(1, len(placed)):
        own = placed[k]
        at = k
        while at > 0:
            before = placed[at - 1]
            if before >> bits == own >> bits:
                a, b = numbers[before & mask], numbers[own & mask]
                is_after = a > b or (a == b and before > own)
            else:
                is_after = before > own
            if not is_after:
                break
            placed[at] = before
            at -= 1
        placed[at] = own
        moves += k - at
        if moves > _CROWDED * len(placed):
            return False
    for k in range(len(placed)):
        out[k] = carried[placed[k] & mask]
    return True


def _horizon(tables: Sequence[Ages], capacity: int) -> float:
    """An age that more rows than `capacity` have not reached, six standard deviations safe."""
    wanted = capacity + 6.0 * sqrt(capacity) + 16.0
    if sum(table.touched for table in tables) <= wanted:
        return inf
    return age_of(tables, wanted)


def age_of(tables: Sequence[Ages], wanted: float) -> float:
    """The age below which `wanted` rows are expected (to 1 %); inf where none is below 1e15."""

    def reached(age: float) -> bool:
        return sum(table.expected(age) for table in tables) >= wanted

    low, high = 0.0, 1.0
    while not reached(high):
        low, high = high, 2.0 * high
        if high > 1e15:
            return inf
    while high - low > 0.01 * high:
        middle = 0.5 * (low + high)
        low, high = (low, middle) if reached(middle) else (middle, high)
    return high
