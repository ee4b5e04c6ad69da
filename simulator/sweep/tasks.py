"""Divides points among workers: which are simulated together, and in what order.

Points of one trace share its draws, and among them those with the same policy, capacity and window
share a replay. A task holds points of one trace. More tasks than traces are made where a trace has
more replays than fit into memory at a time or than one wants to lose at a kill, and where workers
would stand idle: only the draws are repeated for that. Where the points of a trace take longer than
its replays, points of one replay part too: such tasks have a number in common (`Task.shares`), so
that the replay can be made once for them (`simulator.sweep.shared`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby, pairwise

from simulator.config.point import PointConfig
from simulator.engine import replay_key, trace_key
from simulator.sweep.estimate import seconds_of, task_bytes
from simulator.sweep.work import Task

__all__ = ["MOST_REPLAYS", "divide"]

MOST_REPLAYS = 8
"""Replays of a task: repeated draws cost about 1 % of them, a kill loses them all."""

Bundle = tuple[str, ...]
"""Keys of points that share a replay."""


def divide(points: Mapping[str, PointConfig], *, workers: int, memory: int) -> tuple[Task, ...]:
    """Tasks for `workers` workers with `memory` bytes each, in the order of submission.

    With one worker that is the order of the points, else the longest tasks go first.
    """
    chunks: list[list[Bundle]] = []
    for bundles in _bundles(points):
        chunks += _chunks(points, bundles, memory)
    counts = [1] * len(chunks)
    if len(chunks) < workers:
        counts = _workers_of([_cost(points, chunk) for chunk in chunks], workers)
    parts: list[tuple[list[Bundle], int | None]] = []
    for number, (chunk, count) in enumerate(zip(chunks, counts, strict=True)):
        own = _parts(points, chunk, count) if count > 1 else [chunk]
        cut = any(bundle not in chunk for part in own for bundle in part)
        parts += [(part, number if cut else None) for part in own]
    if workers > 1:
        parts.sort(key=lambda part: -_cost(points, part[0]))
    return tuple(_task(points, number, *part) for number, part in enumerate(parts))


def _bundles(points: Mapping[str, PointConfig]) -> list[list[Bundle]]:
    """For each trace its bundles."""
    traces: dict[str, dict[str, list[str]]] = {}
    for key, point in points.items():
        replays = traces.setdefault(trace_key(point), {})
        replays.setdefault(replay_key(point), []).append(key)
    return [[tuple(keys) for keys in replays.values()] for replays in traces.values()]


def _chunks(
    points: Mapping[str, PointConfig], bundles: Sequence[Bundle], memory: int
) -> list[list[Bundle]]:
    """Bundles in their order, as many together as memory and `MOST_REPLAYS` allow."""
    chunks: list[list[Bundle]] = [[]]
    for bundle in bundles:
        wider = [*chunks[-1], bundle]
        fits = len(wider) <= MOST_REPLAYS and task_bytes(_first(points, wider)) <= memory
        if chunks[-1] and not fits:
            chunks.append([bundle])
        else:
            chunks[-1] = wider
    return chunks


def _workers_of(costs: Sequence[float], workers: int) -> list[int]:
    """How many of `workers` work at each of fewer chunks, the dearest first to get more."""
    counts = [1] * len(costs)
    for _ in range(workers - len(costs) if costs else 0):
        longest = max(range(len(costs)), key=lambda number: costs[number] / counts[number])
        counts[longest] += 1
    return counts


def _parts(
    points: Mapping[str, PointConfig], chunk: list[Bundle], count: int
) -> list[list[Bundle]]:
    """At most `count` chunks that take about equally long, of whole bundles where that is best."""
    whole = _dealt(points, chunk, count)
    if _timing_s(points, chunk) <= _replays_s(points, chunk):
        return whole
    cut = _cut(chunk, count)
    return min(whole, cut, key=lambda parts: max(_cost(points, part) for part in parts))


def _dealt(
    points: Mapping[str, PointConfig], chunk: list[Bundle], count: int
) -> list[list[Bundle]]:
    """Bundles in at most `count` chunks, the dearest first, each to the cheapest chunk."""
    costs = [0.0] * min(count, len(chunk))
    parts: list[list[Bundle]] = [[] for _ in costs]
    for bundle in sorted(chunk, key=lambda candidate: -_cost(points, [candidate])):
        number = costs.index(min(costs))
        parts[number].append(bundle)
        costs[number] = _cost(points, parts[number])
    return [sorted(part, key=chunk.index) for part in parts]


def _cut(chunk: Sequence[Bundle], count: int) -> list[list[Bundle]]:
    """At most `count` chunks of equally many points, in their order: few bundles are cut."""
    keys = [(number, key) for number, bundle in enumerate(chunk) for key in bundle]
    bounds = [len(keys) * part // count for part in range(count + 1)]
    parts = []
    for first, last in pairwise(bounds):
        bundles = groupby(keys[first:last], key=lambda numbered: numbered[0])
        parts.append([tuple(key for _, key in bundle) for _, bundle in bundles])
    return [part for part in parts if part]


def _first(points: Mapping[str, PointConfig], chunk: Sequence[Bundle]) -> list[PointConfig]:
    """One point of each bundle."""
    return [points[bundle[0]] for bundle in chunk]


def _cost(points: Mapping[str, PointConfig], chunk: Sequence[Bundle]) -> float:
    return _replays_s(points, chunk) + _timing_s(points, chunk)


def _replays_s(points: Mapping[str, PointConfig], chunk: Sequence[Bundle]) -> float:
    return seconds_of(_first(points, chunk), ())


def _timing_s(points: Mapping[str, PointConfig], chunk: Sequence[Bundle]) -> float:
    return seconds_of((), [points[key] for bundle in chunk for key in bundle])


def _task(
    points: Mapping[str, PointConfig], number: int, chunk: Sequence[Bundle], shares: int | None
) -> Task:
    wanted = {key for bundle in chunk for key in bundle}
    keys = tuple(key for key in points if key in wanted)
    own = tuple(points[key] for key in keys)
    replays_s, timing_s = _replays_s(points, chunk), _timing_s(points, chunk)
    return Task(number, keys, own, replays_s + timing_s, replays_s / (replays_s + timing_s), shares)
