"""Divides points among workers: which are simulated together, and in what order.

Points of one trace share its draws, and among them those with the same policy, capacity and window
share a replay. A task holds points of one trace; points that share a replay never part. More tasks
than traces are made where a trace has more replays than fit into memory at a time or than one wants
to lose at a kill, and where workers would stand idle; only the draws are repeated for that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from simulator.config.experiment import PointConfig
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
    while len(chunks) < workers:
        chunk = max(chunks, key=lambda c: _cost(points, c) if len(c) > 1 else 0.0, default=[])
        if len(chunk) < 2:
            break
        number = chunks.index(chunk)
        chunks[number : number + 1] = _halves(points, chunk)
    if workers > 1:
        chunks.sort(key=lambda chunk: -_cost(points, chunk))
    return tuple(_task(points, number, chunk) for number, chunk in enumerate(chunks))


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


def _halves(points: Mapping[str, PointConfig], chunk: list[Bundle]) -> list[list[Bundle]]:
    """Two chunks that take about equally long."""
    halves: list[list[Bundle]] = [[], []]
    for bundle in sorted(chunk, key=lambda candidate: -_cost(points, [candidate])):
        halves[_cost(points, halves[1]) < _cost(points, halves[0])].append(bundle)
    return [sorted(half, key=chunk.index) for half in halves]


def _first(points: Mapping[str, PointConfig], chunk: Sequence[Bundle]) -> list[PointConfig]:
    """One point of each bundle."""
    return [points[bundle[0]] for bundle in chunk]


def _cost(points: Mapping[str, PointConfig], chunk: Sequence[Bundle]) -> float:
    members = [points[key] for bundle in chunk for key in bundle]
    return seconds_of(_first(points, chunk), members) if members else 0.0


def _task(points: Mapping[str, PointConfig], number: int, chunk: Sequence[Bundle]) -> Task:
    wanted = {key for bundle in chunk for key in bundle}
    keys = tuple(key for key in points if key in wanted)
    return Task(number, keys, tuple(points[key] for key in keys), _cost(points, chunk))
