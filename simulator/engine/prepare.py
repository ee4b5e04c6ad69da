"""From a point to its trace and its system, with all that may be refused before anything runs."""

from __future__ import annotations

from collections.abc import Sequence

from simulator.caches import Window, window_need
from simulator.caches.replays import Stream
from simulator.config.point import PointConfig
from simulator.engine.sharing import build, place_of, placed, tail_of
from simulator.errors import ConfigError
from simulator.hardware.topology import Topology
from simulator.systems import System
from simulator.systems.base import WindowNeed
from simulator.traces import Trace, open_trace
from simulator.traces.cuts import Parts, parted

__all__ = ["batches_of", "drained_batches", "open_for", "prepare", "window_slots"]


def open_for(point: PointConfig, threads: int) -> Trace:
    """The trace of a point, opened where its run lies."""
    model = point.model
    return open_trace(
        point.trace,
        rows=model.rows_per_table,
        lookups=model.lookups_per_table,
        batch_size=model.batch_size,
        seed=point.run.seed,
        threads=threads,
        place=place_of(point),
    )


def prepare(point: PointConfig, trace: Trace, need: WindowNeed) -> tuple[System, Topology]:
    """The system of a point on its machine, for its trace.

    `need`: slots that a hold window takes. Raises `ConfigError` and `CapacityError` where trace,
    run, model and machine do not fit together.
    """
    batches_of(point, trace, 0)
    system, machine = build(point, need, trace)
    _require_next(point, trace, system.replay.ahead)
    try:
        system.replay.require_batches(batches_of(point, trace, tail_of(system.schedule.depth)))
    except ConfigError as error:
        raise placed(point, error) from error
    return system, machine


def _require_next(point: PointConfig, trace: Trace, ahead: int) -> None:
    """Raise `ConfigError` where a trace ends before what a replay must see after the timed ones."""
    run = point.run
    needed = run.warmup_batches + run.batches
    if trace.batches is not None and trace.batches < needed + ahead:
        raise ConfigError(
            f"{point.system.title} looks {ahead} mini-batch ahead of {needed} (run.warmup_batches "
            f"{run.warmup_batches} + run.batches {run.batches}), but the trace has {trace.batches}:"
            " lower run.batches"
        )


def window_slots(
    point: PointConfig,
    trace: Trace,
    window: Window,
    scope: str,
    depth: int,
    parts: Parts = (),
    *,
    most: int = 2**62,
) -> Sequence[int]:
    """Slots of each pool that hold the window at its widest, in the first `most` mini-batches;
    `parts`: of tables, that have pools of their own."""
    tables = parted(trace, parts)
    stream = Stream(tables, min(most, batches_of(point, trace, tail_of(depth))))
    return window_need(stream, tables.rows, window, scope=scope)


def batches_of(point: PointConfig, trace: Trace, tail: int) -> int:
    """Mini-batches to simulate: warm-up, timed ones, and `tail` after them; a finite trace may end
    before.

    Raises `ConfigError` where it ends before the timed ones do.
    """
    run = point.run
    needed = run.warmup_batches + run.batches
    if trace.batches is None:
        return needed + tail
    if trace.batches < needed:
        raise ConfigError(
            f"run.warmup_batches {run.warmup_batches} + run.batches {run.batches} = {needed} "
            f"mini-batches, but the trace has {trace.batches}: lower them, or the batch size"
        )
    return min(trace.batches, needed + tail)


def drained_batches(point: PointConfig, system: System, trace: Trace) -> int:
    """Timed mini-batches behind which the trace ends before the pipeline is full: the later of
    them have more and more of the machine for themselves."""
    run, schedule = point.run, system.schedule
    if trace.batches is None or not schedule.overlaps:
        return 0
    needed = run.warmup_batches + run.batches + schedule.depth - 1
    return min(run.batches, max(0, needed - trace.batches))
