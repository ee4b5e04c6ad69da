"""Simulates resolved points: replays that they share first, then each on its machine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, TypeVar

from simulator._compiled import make_ready
from simulator._plugin_files import short_name
from simulator._threads import cores
from simulator.caches.facts import BatchFacts
from simulator.caches.replays import Replay, Replayed, Stream
from simulator.caches.run_facts import BLOCK, RunFacts
from simulator.config.point import PointConfig
from simulator.engine.beside import await_kernels
from simulator.engine.durability import checkpoint_row
from simulator.engine.feeding import load_row
from simulator.engine.invariants import check_energy
from simulator.engine.known_words import KnownWords
from simulator.engine.measure import (
    count_metrics,
    device_rows,
    stage_rows,
    time_metrics,
    timed_window,
    use_metrics,
)
from simulator.engine.prepare import drained_batches, open_for
from simulator.engine.queries import Server, query_metrics
from simulator.engine.replaying import (
    Ahead,
    Prepared,
    Report,
    Tracker,
    prepare_all,
    replays_of,
    streams_of,
)
from simulator.engine.shared_facts import SharedFacts
from simulator.engine.sharing import (
    machine_of,
    placed,
    sampled_batches,
    trace_key,
)
from simulator.engine.start import start_metrics
from simulator.engine.timer import Timed, Timing, time_system
from simulator.errors import ConfigError
from simulator.hardware.fold import Folds
from simulator.hardware.known_prices import KnownPrices
from simulator.hardware.topology import Topology
from simulator.results.dictionary import IDENTITY
from simulator.results.record import PointResult
from simulator.results.spans import SpanColumns, Spans
from simulator.systems import system_class
from simulator.systems.inference import unchanged
from simulator.units import PS_PER_S

__all__ = ["simulate_each", "simulate_points"]

Outcome = PointResult | Exception
MJ_PER_J = 1e3
T = TypeVar("T")


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
    ahead: Ahead | None = None,
) -> Iterator[tuple[int, Outcome]]:
    """The number of a point and its result or error, each as soon as it is known.

    A point that fails does not stop the others. `threads` draw and plan (None: all cores); results
    do not depend on it. `ahead`: replays that were made before; those that it lacks are made here.
    """
    make_ready()  # part of no point
    groups: dict[str, list[int]] = {}
    for number, point in enumerate(points):
        groups.setdefault(trace_key(point), []).append(number)
    done = 0
    for numbers in groups.values():
        tracker = Tracker(progress, len(points), done, len(numbers))
        members = [points[number] for number in numbers]
        for member, outcome in _simulate_group(
            members, tracker, threads or cores(), ahead or Ahead()
        ):
            yield numbers[member], outcome
        done += len(numbers)


def _simulate_group(
    members: Sequence[PointConfig], tracker: Tracker, threads: int, ahead: Ahead
) -> Iterator[tuple[int, Outcome]]:
    """Outcomes of points with one trace: first those that cannot run, then as they are timed."""
    try:
        trace = open_for(members[0], threads)
    except Exception as error:
        yield from ((member, error) for member in range(len(members)))
        return
    prepared, failed = prepare_all(members, trace)
    yield from failed.items()
    for stream, chosen in streams_of(trace, prepared, threads):
        replays = replays_of(stream, chosen.values(), tracker, threads, ahead)
        await_kernels()
        shared = {
            replay: _shared_by(many, stream.batches)
            for replay, many in Counter(p.system.replay for p in chosen.values()).items()
        }
        for member, problem in chosen.items():
            tracker.timed(member, f"{problem.point.system.label}, {problem.point.locality}")
            replay = problem.system.replay
            yield member, _outcome(problem, replays[replay], stream, shared[replay])


def _shared_by(points: int, batches: int) -> SharedFacts:
    """What is kept of a replay for several points: of many mini-batches what is counted alone."""
    if points == 1 or batches > BLOCK:
        return SharedFacts()
    return SharedFacts(prices=KnownPrices(batches), words=KnownWords())


def _outcome(
    problem: Prepared, replayed: Replayed | Exception, stream: Stream, shared: SharedFacts
) -> Outcome:
    if isinstance(replayed, ConfigError):
        return placed(problem.point, replayed)
    if isinstance(replayed, Exception):
        return replayed
    try:
        return _time_point(problem, replayed, stream, shared)
    except ConfigError as error:
        return placed(problem.point, error)
    except Exception as error:
        return error


def _time_point(
    problem: Prepared, replayed: Replayed, stream: Stream, shared: SharedFacts
) -> PointResult:
    point, system = problem.point, problem.system
    first = point.run.warmup_batches
    last = first + point.run.batches - 1
    serves = point.run.mode == "inference"
    timing = Timing(
        point.operators,
        point.pipeline.mode,
        first,
        last,
        sampled_batches(point),
        keep_rows=point.run.memory_fidelity != "table",
        check=point.run.check,
        keep_prices=serves,
    )
    facts = replayed.facts
    if serves:
        facts = shared.told("served", lambda: RunFacts(map(unchanged, replayed.facts)))
    machine = _with_pools(problem, replayed)
    timed = time_system(system, machine, facts, timing, shared)
    metrics = _identity(problem)
    window = timed_window(timed.spans, first, last)
    metrics |= time_metrics(window, point.model.batch_size)
    if serves:
        metrics |= _of_queries(problem, timed, metrics["iteration_time_us"])
    metrics |= shared.told(
        ("metrics", serves, first, last),
        lambda: _of_facts(system.replay, stream, replayed, facts, range(first, last + 1)),
    )
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
    kinds = {name: r.kind for name, r in machine.resources.items() if r.moves_bytes}
    stages = stage_rows(
        system.schedule.stages, timed.spans, timed.moved, timed.meter, kinds, timed.fold.copies
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
        timeline=Spans.of_columns(
            SpanColumns(system.schedule.names, own.stage, own.batch, own.start_ps, own.end_ps)
            for own in timed.spans.groups()
        ),
        load=None if load is None else identity | load,
        checkpoint=None if written is None else identity | written,
        trace_fingerprint=stream.trace.fingerprint(),
    )


def _of_facts(
    replay: Replay, stream: Stream, told: Replayed, facts: Sequence[BatchFacts], timed: range
) -> dict[str, Any]:
    """What moved in the `timed` mini-batches, of which `facts` are those of the system, and where
    the cache came from."""
    first, last = timed[0], timed[-1]
    metrics = count_metrics(map(replay.counted, islice(facts, first, last + 1)))
    if wanted := replay.wanted(islice(facts, first, last + 1)):
        metrics["rows_per_slot"] = wanted / sum(replay.slots)
    return metrics | start_metrics(replay, stream.trace, told.facts, timed)


def _of_queries(problem: Prepared, timed: Timed, iteration_us: float) -> dict[str, Any]:
    """Latencies of the timed mini-batches as queries."""
    run, schedule = problem.point.run, problem.system.schedule
    first, last = timed.meter.first, timed.meter.last
    order = schedule.order(problem.point.pipeline.mode)
    works = timed.demands[first : last + 1]
    server = Server(timed.machine.resources, works, order, schedule.waits)
    closed = server.closed_ps(timed.spans, first, last)
    return query_metrics(server, closed, iteration_us, run.arrivals, run.seed)


def _with_pools(problem: Prepared, replayed: Replayed) -> Topology:
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
        "realtime_factor": timed.spans.last_ps / PS_PER_S / wall_s,
    }


def _identity(problem: Prepared) -> dict[str, Any]:
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
