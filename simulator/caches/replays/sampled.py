"""The state of a cache under LRU after a long past, sampled.

The rows of the cache are those that were looked up last, and when that was has a closed form for
independent draws (`traces.recency`). Exact but for the independence of rows that it takes.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import inf, isinf, sqrt

import numpy as np
import numpy.typing as npt

from simulator._compiled import compiled
from simulator._threads import cores, map_threads, shares
from simulator.caches.plan.distinct import PoolShape, pool_shapes
from simulator.caches.plan.ordered import DIGIT, order_by_digit, scattered
from simulator.config.memo import by_identity
from simulator.traces.base import Trace
from simulator.traces.draws import Ages, draws_of

__all__ = ["age_of", "by_number", "forget_samples", "last_uses", "sampled_rows", "to_last_places"]

Int64s = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_BELOW = 1.0 - 2.0**-40
"""Leaves the largest whole number below 2**63, however it is rounded."""
_PARTS = 4
"""Of the numbers that are sorted, a thread: buckets are not of one size."""
_CROWDED = 64
"""Moves of a number, in the mean, beyond which leading digits do not help."""


def sampled_rows(trace: Trace, capacities: Sequence[int], scope: str) -> list[Int64s] | None:
    """Rows of each pool under LRU, the youngest first; None where there is no closed form.

    In a pool of several tables, a mini-batch looks up table after table. Caches of one trace that
    are alike and begin together are sampled once (`forget_samples`): nobody may write to the rows.
    """
    known = _samples(trace)
    key = (tuple(capacities), scope)
    if key not in known:
        known.clear()  # of one kind of cache: tens of megabytes
        known[key] = _sampled(trace, capacities, scope)
    return known[key]


def forget_samples(trace: Trace) -> None:
    """Caches that have begun need their samples no more."""
    _samples(trace).clear()


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
        return _youngest(tables, shapes[pool], capacities[pool], threads)

    threads = cores() if len(shapes) == 1 else 1  # else pools take them
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


def _youngest(tables: Sequence[Ages], shape: PoolShape, capacity: int, threads: int) -> Int64s:
    """The `capacity` rows of a pool that were looked up last, the youngest first."""
    horizon = _horizon(tables, capacity)
    while True:
        found = _within(tables, horizon, threads)
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
    return by_number(places, rows, threads)[:capacity]


def _within(tables: Sequence[Ages], horizon: float, threads: int) -> list[tuple[Int64s, Floats]]:
    return map_threads(lambda table: tables[table].within(horizon), len(tables), threads)


@compiled
def to_last_places(ages: Floats, table: int, tables: int) -> None:
    """Replace ages by how far back rows stand in the order of LRU: by mini-batch, within it from
    its end.

    LRU orders the rows of a mini-batch by their first lookup, table after table.
    """
    for k in range(len(ages)):
        whole = np.floor(ages[k])
        ages[k] = (whole + 1.0) - ((ages[k] - whole) + table) / tables


def by_number(numbers: Floats, carried: Int64s, threads: int = 1) -> Int64s:
    """`carried` in the stable order of `numbers`, which are finite and not negative; the order does
    not depend on the `threads`.

    Numbers become whole ones with their places behind. By their leading digit they fall into
    buckets, which are sorted by the digits that follow, and then moved to where they belong: in
    linear time where they are spread as ages are. Where they crowd, they are sorted as any are.
    """
    bits = len(numbers).bit_length()
    top = float(numbers.max(initial=0.0))
    scale = 2.0 ** (63 - bits) * _BELOW / top if top > 0.0 else 0.0
    out = np.empty(len(numbers), np.int64)
    if not isinf(scale):
        placed, ends = _in_buckets(numbers, scale, bits, threads)
        wanted = np.linspace(0, len(numbers), _PARTS * threads + 1)
        edges = np.searchsorted(ends, wanted[1:-1]).tolist()
        parts = list(pairwise([0, *edges, len(ends) - 1]))

        def sort(part: int) -> bool:
            begin, end = parts[part]
            own = slice(ends[begin], ends[end])
            sort_buckets(placed, bits, ends[begin : end + 1], out)
            return settle(placed[own], bits, numbers, carried, out[own])

        if all(map_threads(sort, len(parts), threads)):
            return out
    return np.asarray(carried[np.argsort(numbers, kind="stable")])


def _in_buckets(numbers: Floats, scale: float, bits: int, threads: int) -> tuple[Int64s, Int64s]:
    """`numbers` times `scale`, rounded down, with their places in the lowest `bits` bits, in the
    order of their leading digit; where those with each digit begin, and the end."""
    parts = shares(len(numbers), threads)
    placed = np.empty(len(numbers), np.int64)

    def write(part: int, begins: Int64s) -> None:
        own = parts[part]
        with_places(numbers[own], scale, bits, own.start, begins, placed)

    sizes = scattered(
        1 << DIGIT,
        threads,
        lambda part, sizes: count_leading(numbers[parts[part]], scale, bits, sizes),
        write,
    )
    ends = np.cumsum(np.append(0, sizes.sum(axis=0)))
    return placed, ends


@compiled
def placed_number(number: float, scale: float, bits: int, place: int) -> int:
    """A number times `scale`, rounded down, with its place in the lowest `bits` bits."""
    return (np.int64(number * scale) << bits) | place  # type: ignore[return-value]


@compiled
def count_leading(numbers: Floats, scale: float, bits: int, sizes: Int64s) -> None:
    """Add how many of `numbers` have each leading digit."""
    for k in range(len(numbers)):
        sizes[placed_number(numbers[k], scale, bits, 0) >> (63 - DIGIT)] += 1


@compiled
def with_places(
    numbers: Floats, scale: float, bits: int, first: int, begins: Int64s, placed: Int64s
) -> None:
    """Write `numbers` with their places, from `first` on, to `placed`, those with each leading
    digit from its place in `begins` on, which moves on."""
    for k in range(len(numbers)):
        own = placed_number(numbers[k], scale, bits, first + k)
        digit = own >> (63 - DIGIT)
        placed[begins[digit]] = own
        begins[digit] += 1


@compiled
def sort_buckets(placed: Int64s, bits: int, ends: Int64s, spare: Int64s) -> None:
    """Sort each bucket, from one of `ends` to the next, by as many digits below the leading one as
    `bits` bits have; `spare`: room for as many."""
    digits = (bits + DIGIT - 1) // DIGIT
    for bucket in range(len(ends) - 1):
        own, other = placed[ends[bucket] : ends[bucket + 1]], spare[ends[bucket] : ends[bucket + 1]]
        if len(own) < 2:
            continue
        for digit in range(digits, 1, -1):
            order_by_digit(own, 63 - DIGIT * digit, other)
            own, other = other, own
        if digits % 2 == 0:
            for k in range(len(own)):  # in one step it would compile the words of an error
                other[k] = own[k]


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
