"""Simulates resolved points: replays that they share first, then each on its machine."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from simulator._plugin_files import short_name
from simulator._threads import cores
from simulator.caches.replays import Replay, Replayed, Stream, run_replays
from simulator.config.experiment import PointConfig
from simulator.engine.durability import checkpoint_row
from simulator.engine.feeding import load_row
from simulator.engine.invariants import check_energy
from simulator.engine.measure import (
    count_metrics,
    device_rows,
    stage_rows,
    time_metrics,
    timed_window,
    use_metrics,
)
from simulator.engine.prepare import batches_of, drained_batches, open_for, prepare, window_slots
from simulator.engine.queries import Server, query_metrics
from simulator.engine.shared_facts import SharedFacts
from simulator.engine.sharing import (
    machine_of,
    placed,
    sampled_batches,
    tail_of,
    trace_key,
)
from simulator.engine.start import start_metrics
from simulator.engine.timer import Timed, Timing, time_system
from simulator.errors import ConfigError
from simulator.hardware.fold import Folds
from simulator.hardware.topology import Topology
from simulator.results.dictionary import IDENTITY
from simulator.results.record import PointResult, Progress
from simulator.results.spans import Spans, StageSpan
from simulator.systems import System, system_class
from simulator.units import PS_PER_S

__all__ = ["simulate_each", "simulate_points"]

Report = Callable[[Progress], None]
Outcome = PointResult | Exception
MJ_PER_J = 1e3
T = TypeVar("T")


@dataclass(frozen=True)
class _Prepared:
    """A point with its system on its machine."""

    point: PointConfig
    system: System
    machine: Topology

    @property
    def tail(self) -> int:
        return tail_of(self.system.schedule.depth)


def simulate_points(
    points: Sequence[PointConfig],
    *,
    progress: Report | None = None,
    threads: int | None = None,
) -> tuple[PointResult, ...]:
    """The results of `points`, in their order. Points with the same trace share its replays.

    Raises what the first failing point raised; `simulate_each` goes on without it.
    """
    results: dict[int, PointResult] = {}
    for number, outcome in simulate_each(points, progress=progress, threads=threads):
        if isinstance(outcome, Exception):
            raise outcome
        results[number] = outcome
    return tuple(results[number] for number in range(len(points)))


def simulate_each(
    points: Sequence[PointConfig],
    *,
    progress: Report | None = None,
    threads: int | None = None,
) -> Iterator[tuple[int, Outcome]]:
    """The number of a point and its result or error, each as soon as it is known.

    A point that fails does not stop the others. `threads` draw and plan (None: all cores); results
    do not depend on it.
    """
    groups: dict[str, list[int]] = {}
    for number, point in enumerate(points):
        groups.setdefault(trace_key(point), []).append(number)
    done = 0
    for numbers in groups.values():
        tracker = _Tracker(progress, len(points), done, len(numbers))
        members = [points[number] for number in numbers]
        for member, outcome in _simulate_group(members, tracker, threads or cores()):
            yield numbers[member], outcome
        done += len(numbers)


@dataclass
class _Tracker:
    """Turns mini-batches and points done into `Progress` reports."""

    report: Report | None
    points: int
    done: int
    group: int
    """Points in the present group; its replay counts as half of their work."""

    def replayed(self, share: float, label: str) -> None:
        self._say(self.done, 0.5 * share, f"replaying {label}")

    def timed(self, member: int, label: str) -> None:
        self._say(self.done + member, 0.5, f"timing {label}")

    def _say(self, point: int, share: float, label: str) -> None:
        if self.report is not None:
            self.report(Progress(point, self.points, share, label))


def _simulate_group(
    members: Sequence[PointConfig], tracker: _Tracker, threads: int
) -> Iterator[tuple[int, Outcome]]:
    """Outcomes of points with one trace: first those that cannot run, then as they are timed."""
    try:
        trace = open_for(members[0], threads)
    except Exception as error:
        yield from ((member, error) for member in range(len(members)))
        return
    prepared: dict[int, _Prepared] = {}
    need = functools.cache(functools.partial(window_slots, members[0], trace))
    for member, point in enumerate(members):
        try:
            prepared[member] = _Prepared(point, *prepare(point, trace, need))
        except Exception as error:
            prepared.pop(member, None)
            yield member, error
    for tail in dict.fromkeys(problem.tail for problem in prepared.values()):
        chosen = {member: p for member, p in prepared.items() if p.tail == tail}
        repeats = any(p.point.operators.follows_hottest for p in chosen.values())
        range_bits = max(p.point.operators.accumulate.range_bits for p in chosen.values())
        count = batches_of(members[0], trace, tail)
        stream = Stream(trace, count, repeats, range_bits, ahead=threads > 1)
        replays = _replays(stream, chosen.values(), tracker, threads)
        shared = {replay: SharedFacts() for replay in replays}
        for member, problem in chosen.items():
            tracker.timed(member, f"{problem.point.system.label}, {problem.point.locality}")
            replay = problem.system.replay
            yield member, _outcome(problem, replays[replay], stream, shared[replay])


def _replays(
    stream: Stream, prepared: Collection[_Prepared], tracker: _Tracker, threads: int
) -> dict[Replay, Replayed | Exception]:
    """Every distinct replay; where all together fail, each on its own, or why it failed."""
    wanted = list(dict.fromkeys(problem.system.replay for problem in prepared))
    labels = {problem.point.locality: None for problem in prepared}
    replays: dict[Replay, Replayed | Exception] = {}

    def report(done: int) -> None:
        tracker.replayed(done / stream.batches, next(iter(labels)))

    try:
        replays |= run_replays(stream, wanted, threads=threads, progress=report)
    except Exception as error:
        if len(wanted) == 1:
            return {wanted[0]: error}
        for replay in wanted:
            alone = [problem for problem in prepared if problem.system.replay == replay]
            replays |= _replays(stream, alone, tracker, threads)
    return replays


def _outcome(
    problem: _Prepared, replayed: Replayed | Exception, stream: Stream, shared: SharedFacts
) -> Outcome:
    if isinstance(replayed, Exception):
        return replayed
    try:
        return _time_point(problem, replayed, stream, shared)
    except ConfigError as error:
        return placed(problem.point, error)
    except Exception as error:
        return error


def _time_point(
    problem: _Prepared, replayed: Replayed, stream: Stream, shared: SharedFacts
) -> PointResult:
    point, system = problem.point, problem.system
    first = point.run.warmup_batches
    last = first + point.run.batches - 1
    timing = Timing(
        point.operators,
        point.pipeline.mode,
        first,
        last,
        sampled_batches(point),
        keep_rows=point.run.memory_fidelity != "table",
        check=point.run.check,
    )
    serves = point.run.mode == "inference"
    facts = list(map(shared.unchanged, replayed.facts)) if serves else replayed.facts
    machine = _with_pools(problem, replayed)
    timed = time_system(system, machine, facts, timing, shared)
    metrics = _identity(problem)
    window = timed_window(timed.spans, first, last)
    metrics |= time_metrics(window, point.model.batch_size)
    if serves:
        metrics |= _of_queries(problem, timed, metrics["iteration_time_us"])
    metrics |= count_metrics([system.replay.counted(f) for f in facts[first : last + 1]])
    if wanted := system.replay.wanted(facts[first : last + 1]):
        metrics["rows_per_slot"] = wanted / sum(system.replay.slots)
    metrics |= start_metrics(system.replay, stream.trace, replayed.facts, range(first, last + 1))
    metrics["drained_batches"] = drained_batches(point, system, stream.trace)
    joules = _joules(timed, window.elapsed_ps)
    use = _of_all_ranks(timed.fold, timed.meter.devices)
    energy = {
        name: value * MJ_PER_J / window.batches
        for name, value in _of_all_ranks(timed.fold, joules).items()
    }
    devices = device_rows(list(machine.resources.values()), use, window, energy)
    total = sum(value * timed.fold.copies(name) for name, value in joules.items())
    metrics |= use_metrics(devices) | {"energy_mj": total * MJ_PER_J / window.batches}
    metrics["memory_sampling_error"] = max(m.timing.sampling_error for m in machine.memories)
    metrics |= _wall(timed, replayed, stream)
    names = system.schedule.names
    kinds = {name: r.kind for name, r in machine.resources.items() if r.moves_bytes}
    stages = stage_rows(
        system.schedule.stages, timed.spans, timed.demands, timed.meter, kinds, timed.fold.copies
    )
    identity = {key: metrics[key] for key in IDENTITY}
    load = None if point.load is None else load_row(point.load, timed, window, first, last)
    asked = system.checkpoint
    written = None if asked is None else checkpoint_row(asked, timed, window, first, last)
    return PointResult(
        point=point,
        metrics=metrics,
        stages=[identity | row for row in stages],
        devices=[identity | row for row in devices],
        timeline=Spans(
            StageSpan(names[s.stage], s.batch, s.start_ps, s.end_ps) for s in timed.spans
        ),
        load=None if load is None else identity | load,
        checkpoint=None if written is None else identity | written,
        trace_fingerprint=stream.trace.fingerprint(),
    )


def _of_queries(problem: _Prepared, timed: Timed, iteration_us: float) -> dict[str, Any]:
    """Latencies of the timed mini-batches as queries."""
    run, schedule = problem.point.run, problem.system.schedule
    first, last = timed.meter.first, timed.meter.last
    order = schedule.order(problem.point.pipeline.mode)
    works = timed.demands[first : last + 1]
    server = Server(timed.machine.resources, works, order, schedule.waits)
    closed = server.closed_ps(timed.spans, first, last)
    return query_metrics(server, closed, iteration_us, run.arrivals, run.seed)


def _with_pools(problem: _Prepared, replayed: Replayed) -> Topology:
    """The machine, its threads divided into a pool for each stage that works on a CPU where the
    pipeline asks for that."""
    point, system, machine = problem.point, problem.system, problem.machine
    shared = not system.schedule.overlaps or point.pipeline.cpu_pool == "shared"
    if shared or not replayed.facts:
        return machine
    hosts = frozenset(r.device for r in machine.resources.values() if r.kind == "pool")
    stages = system.stages(replayed.facts[0].without_rows())
    return machine_of(point, max(1, sum(stage.works_at(hosts) for stage in stages)))


def _joules(timed: Timed, elapsed_ps: int) -> dict[str, float]:
    """Energy by resource of all devices that the program uses, in the timed window.

    Ignored: links, power supplies, cooling, turbo, devices that the system leaves idle.
    """
    joules: dict[str, float] = {}
    use = timed.meter.devices
    for name, device in timed.machine.devices.items():
        if name in timed.touched:
            joules |= check_energy(name, device.energy(use, elapsed_ps))
    return joules


def _of_all_ranks(fold: Folds, values: Mapping[str, T]) -> dict[str, T]:
    """Values of resources, those of the first rank of a group for all of it."""
    return {image: v for name, v in values.items() for image in fold.images.get(name, (name,))}


def _wall(timed: Timed, replayed: Replayed, stream: Stream) -> dict[str, float]:
    """Wall-clock seconds, and the simulated ones over them."""
    wall_s = stream.wall_s + replayed.wall_s + timed.pricing_s + timed.events_s
    return {
        "wall_s": wall_s,
        "wall_draw_s": stream.wall_s,
        "wall_plan_s": replayed.wall_s,
        "wall_memory_s": timed.pricing_s,
        "wall_events_s": timed.events_s,
        "realtime_factor": max(span.end_ps for span in timed.spans) / PS_PER_S / wall_s,
    }


def _identity(problem: _Prepared) -> dict[str, Any]:
    """The columns that say which point this is."""
    point, replay = problem.point, problem.system.replay
    slots = replay.whole_slots
    window = getattr(replay, "window", None)
    return {
        "point": point.key(),
        "system": point.system.title,
        "label": point.system.label,
        "training_is_ours": system_class(point.system.name).training_is_ours
        and point.run.mode == "training",
        "policy": replay.policy and short_name(replay.policy),
        "platform": point.platform.name,
        "calibrated": point.platform.calibrated,
        "model": point.model.name,
        "locality": point.locality,
        "operators": point.operators.name,
        "sweep": point.sweep_text(),
        "cache_fraction": slots / point.stored.rows if replay.slots else None,
        "cache_rows": slots if replay.slots else None,
        "cache_grown": replay.grown,
        "window_past": None if window is None else window.past,
        "window_future": None if window is None else window.future,
        "tables": point.model.tables,
        "dim": point.model.dim[0] if len(point.model.tables_by_dim) == 1 else None,
        "batch_size": point.model.batch_size,
        "gpus": problem.system.gpus,
        "batches": point.run.batches,
        "seed": point.run.seed,
    }
