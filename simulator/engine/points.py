"""Simulates resolved points: replays that they share first, then each on its machine."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import simpy

from simulator.caches import Window, window_need
from simulator.config.experiment import PointConfig
from simulator.engine.energy import energy_of
from simulator.engine.hit_shares import with_hit_shares
from simulator.engine.measure import (
    Meter,
    Resource,
    count_metrics,
    device_rows,
    stage_rows,
    time_metrics,
    timed_window,
    use_metrics,
)
from simulator.engine.pipeline import Mode, run_pipeline
from simulator.engine.replay import Replay, ReplayRequest, Stream, replay_all, slots_of
from simulator.engine.sharing import context_of, hold_window, trace_key
from simulator.errors import ConfigError
from simulator.hardware.build import build_platform
from simulator.hardware.demand import StageDemand
from simulator.hardware.machine import Machine
from simulator.hardware.platform import Platform
from simulator.invariants import check_counts
from simulator.results.dictionary import IDENTITY
from simulator.results.record import PointResult, Progress, StageSpan
from simulator.systems import BatchCounts, System, create
from simulator.traces import Trace, open_trace
from simulator.units import PS_PER_S

__all__ = ["simulate_each", "simulate_points"]

Report = Callable[[Progress], None]
Outcome = PointResult | Exception
Need = Callable[[Window, str], Sequence[int]]


RESOURCES = {
    "cpu_dram": Resource("cpu.dram", "cpu", "dram"),
    "cpu_cores": Resource("cpu.cores", "cpu", "cpu", moves_bytes=False),
    "pcie_h2d": Resource("pcie.down", "pcie", "link"),
    "pcie_d2h": Resource("pcie.up", "pcie", "link"),
    "hbm": Resource("gpu.hbm", "gpu", "hbm"),
    "gpu": Resource("gpu.sm", "gpu", "gpu", moves_bytes=False),
    "nvlink": Resource("nvlink.out", "nvlink", "gpu_link"),
}
"""What the results call each device of the machine."""


@dataclass(frozen=True)
class _Prepared:
    """A point with its system, the replay that it needs, and how the cache came out."""

    point: PointConfig
    system: System
    request: ReplayRequest
    grown: bool


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
        for member, outcome in _simulate_group(members, tracker, threads or _threads()):
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
        stream = _open(members[0], threads)
    except Exception as error:
        yield from ((member, error) for member in range(len(members)))
        return
    need = functools.cache(functools.partial(_window_need, stream))
    prepared: dict[int, _Prepared] = {}
    for member, point in enumerate(members):
        try:
            prepared[member] = _prepare(point, stream, need)
        except Exception as error:
            yield member, error
    replays = _replays(stream, prepared.values(), tracker, threads)
    for member, one in prepared.items():
        tracker.timed(member, f"{one.point.system.label}, {one.point.locality}")
        yield member, _outcome(one, replays[one.request], stream)


def _open(point: PointConfig, threads: int) -> Stream:
    model = point.model
    trace = open_trace(
        point.trace,
        rows=model.rows_per_table,
        lookups=model.lookups_per_table,
        batch_size=model.batch_size,
        seed=point.run.seed,
        threads=threads,
    )
    return Stream(trace, _batches(point, trace))


def _window_need(stream: Stream, window: Window, scope: str) -> tuple[int, ...]:
    """Slots of each pool that hold the window at its widest."""
    fresh = Stream(stream.trace, stream.batches)
    return window_need(fresh, stream.trace.rows, window, scope=scope)


def _replays(
    stream: Stream, prepared: Collection[_Prepared], tracker: _Tracker, threads: int
) -> dict[ReplayRequest, Replay | Exception]:
    """The replay of every request; where all together fail, each on its own, or why it failed."""
    requests = list(dict.fromkeys(one.request for one in prepared))
    labels = {one.point.locality: None for one in prepared}
    replays: dict[ReplayRequest, Replay | Exception] = {}

    def report(done: int) -> None:
        tracker.replayed(done / stream.batches, next(iter(labels)))

    try:
        replays |= replay_all(stream, requests, threads=threads, progress=report)
    except Exception as error:
        if len(requests) == 1:
            return {requests[0]: error}
        for request in requests:
            alone = [one for one in prepared if one.request == request]
            replays |= _replays(stream, alone, tracker, threads)
    return replays


def _outcome(one: _Prepared, replay: Replay | Exception, stream: Stream) -> Outcome:
    if isinstance(replay, Exception):
        return replay
    try:
        return _time_point(one, replay, stream)
    except Exception as error:
        return error


def _threads() -> int:
    """Threads that draw and plan: the cores there are. Results do not depend on it."""
    import os

    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _batches(point: PointConfig, trace: Trace) -> int:
    """Mini-batches to simulate: warm-up, timed ones, and as many after them as a pipeline holds,
    so that the last timed one still shares the machine; a finite trace may end before."""
    run = point.run
    needed = run.warmup_batches + run.batches
    tail = 6
    if trace.batches is None:
        return needed + tail
    if trace.batches < needed:
        raise ConfigError(
            f"run.warmup_batches {run.warmup_batches} + run.batches {run.batches} = {needed} "
            f"mini-batches, but the trace has {trace.batches}: lower them, or the batch size"
        )
    return min(trace.batches, needed + tail)


def _prepare(point: PointConfig, stream: Stream, need: Need) -> _Prepared:
    context, batches = context_of(point), stream.batches
    system = create(point.system.name, context)
    if system.replay == "none":
        return _Prepared(point, system, ReplayRequest("none", keep=_kept(point, batches)), False)
    request, grown = _request(point, system, stream, need)
    sized = dataclasses.replace(context, slots=sum(request.slots))
    return _Prepared(point, create(point.system.name, sized), request, grown)


def _request(
    point: PointConfig, system: System, stream: Stream, need: Need
) -> tuple[ReplayRequest, bool]:
    cache, model, trace, batches = point.cache, point.model, stream.trace, stream.batches
    if system.replay == "static":
        if cache.scope == "global":
            raise ConfigError(
                "static_cache pins the hottest share of each table: cache.scope must be 'table'"
            )
        pinned = tuple(int(cache.fraction * rows) for rows in trace.rows)
        return ReplayRequest("static", slots=pinned, keep=_kept(point, batches)), False
    window = hold_window(point, system)
    lookups = [model.batch_size * count for count in model.lookups_per_table]
    slots, grown = slots_of(
        trace,
        cache.fraction,
        cache.scope,
        window,
        lookups,
        need=lambda: need(window, cache.scope),
        grow=cache.if_too_small == "grow",
    )
    request = ReplayRequest(
        "planned",
        slots=slots,
        policy=cache.policy,
        scope=cache.scope,
        window=window,
        prefill=cache.prefill,
        held_misses=point.run.held_misses,
        seed=point.run.seed,
        keep=_kept(point, batches),
    )
    return request, grown


def _samples(point: PointConfig) -> frozenset[int]:
    """Timed mini-batches, evenly spread, that stand for the others."""
    run = point.run
    count = min(run.sample_batches, run.batches)
    return frozenset(run.warmup_batches + run.batches * k // count for k in range(count))


def _kept(point: PointConfig, batches: int) -> frozenset[int]:
    """Mini-batches whose rows are kept: all, or the samples with the one before each."""
    if point.run.memory_fidelity == "exact":
        return frozenset(range(batches))
    samples = _samples(point)
    return samples | {index - 1 for index in samples if index}


def _pools(point: PointConfig, system: System) -> int:
    """Pools of CPU threads: one, or one for each stage that works on the CPU while others do."""
    if not system.pipelined or point.pipeline.cpu_pool == "shared":
        return 1
    stages = system.stages(BatchCounts(0, 1, 1, misses=1, write_backs=1))
    return max(1, sum(stage.uses_cpu for stage in stages))


def _time_point(one: _Prepared, replay: Replay, stream: Stream) -> PointResult:
    point, system = one.point, one.system
    begin = time.perf_counter()
    pools = _pools(point, system)
    row_bytes = point.model.row_bytes
    platform = build_platform(point.platform, point.memories, point.run, row_bytes, pools)
    counts = _with_hits(one, platform, replay.counts)
    works = _priced(platform, system, counts)
    memory_s = time.perf_counter() - begin
    machine = Machine(
        simpy.Environment(), platform.turnaround, check=point.run.check, shared_pool=pools == 1
    )
    first = point.run.warmup_batches
    last = first + point.run.batches - 1
    meter = Meter(machine, first, last)
    mode: Mode = point.pipeline.mode if system.pipelined else "serial"
    spans = run_pipeline(machine, works, mode, watch=meter.watch)
    events_s = time.perf_counter() - begin - memory_s
    wall_s = stream.wall_s + replay.wall_s + memory_s + events_s
    metrics = _identity(one)
    timed = timed_window(spans, first, last)
    metrics |= time_metrics(timed, point.model.batch_size)
    metrics |= count_metrics(replay.counts[first : last + 1], system.replay)
    energy = energy_of(platform, meter.devices, timed.elapsed_ps, timed.batches, system.gpus)
    use = {RESOURCES[d].name: meter.use(d) for d in meter.devices if d in RESOURCES}
    devices = device_rows(_resources(platform), use, timed, energy.by_resource)
    metrics |= use_metrics(devices) | {"energy_mj": energy.total}
    metrics |= {
        "memory_sampling_error": max(platform.cpu_dram.sampling_error, platform.hbm.sampling_error),
        "wall_s": wall_s,
        "wall_draw_s": stream.wall_s,
        "wall_plan_s": replay.wall_s,
        "wall_memory_s": memory_s,
        "wall_events_s": events_s,
        "realtime_factor": max(span.end_ps for span in spans) / PS_PER_S / wall_s,
    }
    names = system.stage_names
    kinds = {device: resource.kind for device, resource in RESOURCES.items()}
    shared = {key: metrics[key] for key in IDENTITY}
    return PointResult(
        point=point,
        metrics=metrics,
        stages=[shared | row for row in stage_rows(names, spans, works, meter, kinds)],
        devices=[shared | row for row in devices],
        timeline=[StageSpan(names[s.stage], s.batch, s.start_ps, s.end_ps) for s in spans],
        trace_fingerprint=stream.trace.fingerprint(),
    )


def _resources(platform: Platform) -> list[Resource]:
    """The devices of `platform`, each with its peak."""
    peaks = platform.peak_bandwidth
    return [
        dataclasses.replace(resource, peak_bytes_per_s=peaks.get(device))
        for device, resource in RESOURCES.items()
        if device in peaks or not resource.moves_bytes
    ]


def _with_hits(
    one: _Prepared, platform: Platform, counts: Sequence[BatchCounts]
) -> list[BatchCounts]:
    """Counts with the hits of the platform's own caches, and with the rows that its memories
    replay (none under `table`)."""
    row_bytes = one.point.model.row_bytes
    fidelity = one.point.run.memory_fidelity
    everything = one.request.keep if fidelity == "exact" else _samples(one.point)
    return with_hit_shares(
        counts,
        samples=everything,
        cpu_cache_rows=platform.config.cpu.last_level_cache // row_bytes,
        gpu_cache_rows=platform.config.gpu.l2_cache // row_bytes,
        keep_rows=fidelity != "table",
    )


def _priced(
    platform: Platform, system: System, counts: Sequence[BatchCounts]
) -> list[tuple[StageDemand, ...]]:
    """Every stage of every mini-batch in time on devices.

    Mini-batches with row numbers first: under `sampled` their times stand for the others'.
    """
    works: dict[int, tuple[StageDemand, ...]] = {}
    for batch in sorted(counts, key=lambda batch: not batch.has_rows):
        check_counts(batch)
        stages = system.stages(batch)
        works[batch.index] = tuple(platform.price_stage(stage) for stage in stages)
    return [works[batch.index] for batch in counts]


def _identity(one: _Prepared) -> dict[str, Any]:
    """The columns that say which point this is."""
    point, request = one.point, one.request
    cached = request.kind != "none"
    planned = request.kind == "planned"
    policy = {"none": None, "static": "static_hot", "planned": request.policy}[request.kind]
    slots = sum(request.slots)
    return {
        "point": point.key(),
        "system": point.system.name,
        "label": point.system.label,
        "policy": policy,
        "platform": point.platform.name,
        "model": point.model.name,
        "locality": point.locality,
        "operators": point.operators.name,
        "sweep": point.sweep_text(),
        "cache_fraction": slots / point.model.rows if cached else None,
        "cache_rows": slots if cached else None,
        "cache_grown": one.grown if planned else None,
        "window_past": request.window.past if planned else None,
        "window_future": request.window.future if planned else None,
        "tables": point.model.tables,
        "dim": point.model.dim,
        "batch_size": point.model.batch_size,
        "gpus": one.system.gpus,
        "batches": point.run.batches,
        "seed": point.run.seed,
    }
