"""How long points take and how much memory: a model of lookups per second, nothing is run.

Good to about a factor of two on another machine. Not in it: compilation (about 20 s after an
installation, kept on disk), files that are read over a network, `memory_fidelity: exact`, which
simulates every access and takes many times as long.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from simulator.config.point import PointConfig
from simulator.config.trace import FileTraceConfig
from simulator.engine import replay_key, trace_key
from simulator.engine.sharing import SHARED_TAIL, plans_a_cache
from simulator.errors import ConfigError
from simulator.traces.survey import mean_lookups
from simulator.units import format_bytes

__all__ = ["Estimate", "estimate", "lookups_of_batch", "seconds_of"]
__all__ += ["require_memory", "task_bytes"]

DRAWN_PER_S = 220e6
"""Lookups drawn a second and core. Measured like the next ones as processor time: default model
(8 tables of 10 M rows), 66 mini-batches, localities random and high, one thread, compiled kernels,
two shared cores of a Xeon; the mean of the two localities (236 and 203 M)."""
COUNTED_PER_S = 40e6
"""Lookups deduplicated or split a second and core, for systems without a planned cache: `hybrid`
does 71 and 70 M, `static_cache` 26 and 29 M."""
PLANNED_PER_S = 20e6
"""Lookups planned a second and core through a window, LRU, steady start included: 15.5 M random,
28.5 M high, and 13 M of medium locality in the same minutes."""
POINT_S = 0.016
"""What a point takes whatever its mini-batches, in all processes: reading it, pricing its
mini-batches together, storing it, its rows of the tables. Processor time of `scratchpipe run
--jobs 2` with 1,000 points of ScratchPipe on the V100 server that share a replay, less that of
their 66 mini-batches, of the replay and of imports."""
TIMED_S = 8e-5
"""Running the events of a mini-batch: the same points with 66 and with 416 mini-batches."""
BASE_BYTES = 300 * 10**6
"""An interpreter with its libraries and compiled kernels."""
START_S = 1.5
"""Of `scratchpipe run` before its first replay: imports, kernels from disk, reading, expanding."""
FIRST_S = 0.1
"""What the first point of a replay takes beyond `POINT_S`: prices that others share, kept rows and
memory touched first. Five systems on two traces: 0.6 s of timing, and 0.3 s for the pages of
Hit-Maps on two cores."""
_LOOKAHEAD = 8
"""Mini-batches in memory beside the window's: drawn, sorted, being planned."""
_SURE_ARRAYS = 2
"""Arrays of row numbers that a mini-batch has at the least: its ids, and their order."""
_KEPT_ARRAYS = 6
"""Arrays of row numbers that a kept mini-batch has."""
FACTS_BYTES = 20_000
"""Of a mini-batch: what every replay and stage says of it, kept until the point is timed. Measured
like the above by allocations: 15 to 24 kB for one table, 1 kB more a further table."""
FACTS_BYTES_A_TABLE = 1_000


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a sweep will take."""

    replays: int
    """Distinct replays."""
    seconds: float
    """Wall-clock time on all workers."""
    bytes: int
    """Memory of all workers together, at most."""


def estimate(
    tasks: Sequence[Sequence[PointConfig]],
    *,
    workers: int,
    cores: int,
    shares: Sequence[int | None] = (),
) -> Estimate:
    """What `tasks` take on `workers` workers that share `cores` cores.

    `shares`: of each task, tasks with one number have their replays made once, by one worker on all
    cores, before any of them starts; None, and those left out, make their own.
    """
    firsts = [_one_of_each(points) for points in tasks]
    together: dict[int, list[int]] = {}
    for task, number in enumerate(shares):
        if number is not None:
            together.setdefault(number, []).append(task)
    made, memory = list(firsts), [task_bytes(first) for first in firsts]
    ahead_s = 0.0
    for members in together.values():
        common = _one_of_each([point for task in members for point in firsts[task]])
        ahead_s += seconds_of(common, ()) / cores
        for task in members:
            made[task], memory[task] = [], BASE_BYTES
        memory[members[0]] = task_bytes(common)
    at_once = min(workers, max(1, len(tasks)))
    speed = max(1, cores // workers)  # of replays; points are timed one after the other
    costs = [
        seconds_of(own, ()) / speed + seconds_of((), points) + FIRST_S * len(first)
        for own, points, first in zip(made, tasks, firsts, strict=True)
    ]
    start_s = START_S if costs else 0.0
    return Estimate(
        replays=len({replay_key(p) for first in firsts for p in first}),
        seconds=start_s + ahead_s + max(max(costs, default=0.0), sum(costs) / at_once),
        bytes=sum(sorted(memory, reverse=True)[:at_once]),
    )


def _one_of_each(points: Sequence[PointConfig]) -> list[PointConfig]:
    """The first point of each replay."""
    return list({replay_key(point): point for point in reversed(points)}.values())


def seconds_of(replayed: Sequence[PointConfig], members: Sequence[PointConfig]) -> float:
    """Seconds that one core takes for one replay of each of `replayed` and for `members`."""
    draws = {trace_key(point): _lookups(point) / DRAWN_PER_S for point in replayed}
    replays = sum(
        _lookups(p) / (PLANNED_PER_S if plans_a_cache(p) else COUNTED_PER_S) for p in replayed
    )
    return sum(draws.values()) + replays + sum(POINT_S + TIMED_S * _batches(p) for p in members)


def task_bytes(replayed: Sequence[PointConfig]) -> int:
    """Memory of one worker that replays `replayed`, which share a trace, at a time."""
    return BASE_BYTES + sum(_replay_bytes(point) for point in replayed)


def _replay_bytes(point: PointConfig) -> int:
    """A word a row, in the pages that lookups touch; ids of the window and of kept mini-batches."""
    lookups = _lookups(point)
    batch = round(lookups_of_batch(point))
    words = 8 * min(point.stored.rows, lookups * 512)
    exact = point.run.memory_fidelity == "exact"
    kept = _batches(point) if exact else 2 * min(point.run.sample_batches, point.run.batches)
    return words + 8 * batch * (_LOOKAHEAD + _KEPT_ARRAYS * kept) + _facts_bytes(point)


def _facts_bytes(point: PointConfig) -> int:
    return _batches(point) * _facts_of_batch(point)


def _facts_of_batch(point: PointConfig) -> int:
    return FACTS_BYTES + FACTS_BYTES_A_TABLE * point.model.tables


def require_memory(points: Iterable[PointConfig], memory: int) -> None:
    """Raise `ConfigError` where one mini-batch, or what is kept of all of them, alone takes more
    than `memory`."""
    problems: dict[str, None] = {}
    for point in points:
        lookups = round(lookups_of_batch(point))
        if _SURE_ARRAYS * 8 * lookups > memory:
            problems[
                f"model.batch_size {point.model.batch_size:,}: a mini-batch makes {lookups:,} "
                f"lookups, at least {format_bytes(_SURE_ARRAYS * 8 * lookups)}, but this machine "
                f"has {format_bytes(memory)}: lower model.batch_size, model.lookups_per_table or "
                "model.tables"
            ] = None
        need = _facts_bytes(point)
        if need > memory:
            most = max(1, memory // _facts_of_batch(point) - point.run.warmup_batches - SHARED_TAIL)
            problems[
                f"run.batches {point.run.batches:,} (and run.warmup_batches "
                f"{point.run.warmup_batches:,}): what each mini-batch does is kept, about "
                f"{format_bytes(need)}, but this machine has {format_bytes(memory)}: set "
                f"run.batches to at most {most:,}"
            ] = None
    if problems:
        raise ConfigError(*problems)


def _batches(point: PointConfig) -> int:
    return point.run.warmup_batches + point.run.batches + SHARED_TAIL


def _lookups(point: PointConfig) -> int:
    return max(1, round(_batches(point) * lookups_of_batch(point)))


def lookups_of_batch(point: PointConfig) -> float:
    """Lookups of a mini-batch over all tables: by the bags of the trace, where a file has some."""
    model, trace = point.model, point.trace
    known: Sequence[float | None] = ()
    if isinstance(trace, FileTraceConfig):
        known = mean_lookups(trace, model.rows_per_table)
    means = known or (None,) * model.tables
    pairs = zip(means, model.table_lookups, strict=True)
    return model.batch_size * sum(count if mean is None else mean for mean, count in pairs)
