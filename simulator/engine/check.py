"""What `run` would refuse, found without running: few mini-batches are drawn, large files left."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path

from simulator._compiled import PLAIN
from simulator._plugins import explained
from simulator._threads import cores
from simulator.caches import BatchFacts, Window, pool_rows
from simulator.caches.replays import Replay, Stream, run_replays
from simulator.config.point import PointConfig
from simulator.config.trace import FileTraceConfig
from simulator.engine.prepare import batches_of, open_for, prepare, window_slots
from simulator.engine.sharing import build, placed, tail_of, trace_key
from simulator.errors import ConfigError, PluginError, TraceError
from simulator.hardware.fold import Folds
from simulator.hardware.program import Stage
from simulator.hardware.topology import Topology
from simulator.systems import System
from simulator.systems.base import WindowNeed
from simulator.traces import Trace
from simulator.traces.cuts import Parts, parted
from simulator.traces.survey import feeds_of, source_of
from simulator.units import format_bytes

__all__ = ["check_points", "programs_of"]

WHOLE_FILE = 64 << 20
"""Bytes up to which a file that cannot be mapped is read."""
DRAWN_LOOKUPS = 4_000_000
"""Lookups, about, that are drawn to see what a hold window takes: half a second."""

MOST_LOOKUPS = 50_000_000
"""Lookups of a mini-batch that is drawn for that at all."""


def check_points(points: Iterable[PointConfig]) -> tuple[str, ...]:
    """Build every point on its trace; what was not checked, a sentence each.

    Raises `ConfigError` with every problem: models that do not fit a memory, parts that a machine
    lacks, operations that its devices cannot do and places that no link leads to, traces that
    cannot be read or have other tables or too few mini-batches, caches below their window.
    """
    problems: dict[object, None] = {}
    unchecked: dict[str, None] = {}
    groups: dict[str, list[PointConfig]] = {}
    for point in points:
        groups.setdefault(trace_key(point), []).append(point)
    for members in groups.values():
        try:
            trace = _opened(members[0], unchecked)
        except (TraceError, ConfigError) as error:
            problems |= dict.fromkeys(error.args)
            trace = None
        need = None if trace is None else _need(members[0], trace, unchecked)
        fits: set[Replay] = set()
        for point in members:
            try:
                if trace is None or need is None:
                    system, machine = build(point)
                else:
                    system, machine = prepare(point, trace, need)
                if PLAIN:
                    unchecked["what machines can do: memories are measured by what is compiled"] = (
                        None
                    )
                else:
                    _require_priced(point, system, machine)
                _rehearse(point, system, trace, unchecked, fits)
            except (TraceError, ConfigError) as error:
                problems |= dict.fromkeys(error.args)
            except PluginError as error:
                unchecked[f"{point.system.label}: what its machine can do: {error}"] = None
    if problems:
        raise ConfigError(*problems)
    return tuple(unchecked)


def _rehearse(
    point: PointConfig,
    system: System,
    trace: Trace | None,
    unchecked: dict[str, None],
    fits: set[Replay],
) -> None:
    """Replay as many mini-batches as are quickly drawn, where that alone finds rows that do not
    fit; `fits`: replays of the same trace that were tried.

    Raises `CapacityError` where they do not.
    """
    if not system.replay.unforeseen:
        return
    told = f"{point.system.label}: {system.replay.unforeseen}"
    batches, most = _drawn(point, trace, tail_of(system.schedule.depth))
    try:
        if trace is not None:
            system.replay.require_batches(most)
    except ConfigError:
        most = 0  # fewer than it looks at together
    if trace is None or not most:
        unchecked[told] = None
        return
    try:
        if system.replay.rehearsal not in fits:
            run_replays(Stream(trace, most), [system.replay.rehearsal], threads=cores())
            fits.add(system.replay.rehearsal)
    except ConfigError as error:
        raise placed(point, error) from error
    if most < batches:
        unchecked[f"{told} after the first {most} of {batches}"] = None


def _drawn(point: PointConfig, trace: Trace | None, tail: int) -> tuple[int, int]:
    """Mini-batches of a run, and how many of them are quickly drawn; none where each is long."""
    if trace is None:
        return 0, 0
    batches = batches_of(point, trace, tail)
    if trace.batches is None and point.model.lookups_per_batch > MOST_LOOKUPS:
        return batches, 0
    return batches, min(batches, max(1, DRAWN_LOOKUPS // max(1, trace.minibatch(0).lookups)))


def programs_of(system: System, samples: int) -> Iterator[tuple[Stage, ...]]:
    """The program of each kind of mini-batch of so many samples, with nothing in it."""
    for flows in system.kinds:
        yield system.stages(BatchFacts.of_nothing(samples, *flows))


def _require_priced(point: PointConfig, system: System, machine: Topology) -> None:
    """Raise `ConfigError` for what `time_system` refuses whatever a mini-batch holds: operations
    that a device cannot do as the software asks, places that no link leads to, ranks that are not
    joined alike."""
    software = point.operators
    try:
        with explained(point.system.title, "gives no stages", type(system)):
            programs = list(programs_of(system, point.model.batch_size))
        for stages in programs:
            for stage in stages:
                machine.price_stage(stage, software)
        Folds(machine, system.equal_ranks, one_process=software.gpu.host_processes == "one")
    except ConfigError as error:
        raise placed(point, error) from error


def _opened(point: PointConfig, unchecked: dict[str, None]) -> Trace | None:
    """The trace of a point; None where only its header was read."""
    config = point.trace
    if not isinstance(config, FileTraceConfig):
        return open_for(point, 1)
    rows = point.model.rows_per_table
    source = source_of(config, rows)
    size = Path(config.path).stat().st_size
    mapped = source.columns() is not None and config.ids != "renumber"
    if size <= WHOLE_FILE or mapped:
        unchecked[f"{config.path}: that every id is a row of its table"] = None
        return open_for(point, 1)
    feeds_of(config, source, point.model.lookups_per_table)
    unchecked[
        f"{config.path} ({format_bytes(size)}): its ids, how many mini-batches it has, whether "
        "caches hold their window on it"
    ] = None
    return None


def _need(point: PointConfig, trace: Trace, unchecked: dict[str, None]) -> WindowNeed:
    """Slots that hold the window in as many mini-batches as are quickly drawn."""

    @cache
    def need(window: Window, scope: str, depth: int, parts: Parts = ()) -> Sequence[int]:
        batches, most = _drawn(point, trace, tail_of(depth))
        if not most:
            unchecked[
                f"{point.locality}: whether caches hold their window "
                f"({point.model.lookups_per_batch:,} lookups a mini-batch)"
            ] = None
            return [0] * len(pool_rows(parted(trace, parts).rows, scope))
        if most < batches:
            unchecked[
                f"{point.locality}: whether caches hold their window after the first {most} of "
                f"{batches} mini-batches"
            ] = None
        return window_slots(point, trace, window, scope, depth, parts, most=most)

    return need
