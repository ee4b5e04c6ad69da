"""The order in which bound steps run and are timed: after each other, or in lock-step cycles.

Serial: a mini-batch is done before the next one starts. Pipelined: in cycle *c* stage *s* works on
mini-batch *c - s*; a barrier ends the cycle (which also keeps the conditions of an asynchronous
pipeline). Lanes of the GPU run on streams of their own, lanes of the host on one worker, in which a
gather and a scatter of the same table share one pool of threads chunk by chunk. On CPU tensors,
where nothing overlaps, the stages of a cycle run one after the other, readers before writers: the
order in which a hold window that is too small reads stale rows.

A stage is timed on the host where the GPU was idle before it and the host waits for its end, and by
events of its stream where the GPU goes on without the host. The waits between stages are those of
the program, and those without which a lane would start before the stage in front of it has ended.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from simulator.observe import rows as host
from simulator.observe.accelerator import Accelerator
from simulator.observe.clock import Clock
from simulator.observe.steps import Await, Launch, OnHost, RowCopy, Step, together
from simulator.systems import StageSpec

__all__ = ["Lanes", "captured", "run_cycles", "run_serial"]

Action = Callable[[], Any]
Lanes = Sequence[Sequence[Step]]
"""The steps of one stage of one mini-batch, lane by lane."""
Key = tuple[int, str, int]
"""Mini-batch, stage, lane."""

LAUNCH_ORDER = ("train", "load", "move", "write", "read", "plan")
"""Roles of the stages of a cycle. Train first: launching the others takes time, and it is the
longest on the GPU; the small copies of Load before the large ones: a copy engine takes one after
the other."""


def captured(
    lane: Sequence[Step], gpu: Accelerator, graphs: dict[Any, Action], key: Any
) -> list[Step]:
    """`lane` with neighbouring fixed launches joined to one, captured when it first runs.

    `key`: equal for lanes whose fixed launches touch the same memory.
    """
    steps: list[Step] = []
    fixed: list[Action] = []
    for step in (*lane, None):
        if isinstance(step, Launch) and step.fixed:
            fixed.append(step.work)
            continue
        if fixed:
            steps.append(Launch(_once(fixed, gpu, graphs, (key, len(steps)))))
            fixed = []
        if step is not None:
            steps.append(step)
    return steps


def _once(works: Sequence[Action], gpu: Accelerator, graphs: dict[Any, Action], key: Any) -> Action:
    """All of `works` as one launch: captured when first asked for, replayed from then on."""

    def run_all() -> None:
        for work in works:
            work()

    def launch() -> None:
        graph = graphs.get(key)
        if graph is None:
            graphs[key] = gpu.captured(run_all)
        else:
            graph()

    return launch


@dataclass(frozen=True, slots=True)
class _StageRun:
    """One stage of one mini-batch, ready to run."""

    batch: int
    name: str
    before: tuple[Action, ...]
    """Waits for the stages in front of it."""
    body: tuple[Action, ...]
    after: tuple[Action, ...] = ()
    """Waits that its own clock does not see."""
    on_host: bool = True

    def run(self, clock: Clock, *, follows: bool = False) -> None:
        """`follows`: see `Clock.gpu`."""
        for action in self.before:
            action()
        host, gpu = clock.host, partial(clock.gpu, follows=follows)
        with (host if self.on_host else gpu)(self.batch, self.name):
            for action in self.body:
                action()
        for action in self.after:
            action()

    def follows(self, other: _StageRun) -> bool:
        """Whether it comes right after `other` on the stream of the GPU."""
        return not (self.on_host or other.on_host or self.before or other.after)


@dataclass
class _Order:
    """The actions of a stage, and whether the GPU is at work while they are put in order."""

    gpu: Accelerator
    actions: list[Action] = field(default_factory=list)
    busy: bool = False

    def wait(self) -> None:
        if self.busy:
            self.actions.append(self.gpu.synchronize)
        self.busy = False

    def launch(self, step: Launch, stream: str | None = None) -> None:
        self.actions.append(step.work if stream is None else _on(self.gpu, stream, step.work))
        self.busy = True

    def rest(self, steps: Sequence[Step], *, launched: bool) -> None:
        """Steps of a lane one after the other; `launched`: the GPU works for it already."""
        for step in steps:
            if isinstance(step, Await):
                self.wait()
                launched = False
            elif isinstance(step, Launch):
                self.launch(step)
                launched = True
            else:
                if launched:
                    self.wait()
                self.actions.append(step.work)
                launched = False


def _on(gpu: Accelerator, stream: str, work: Action) -> Action:
    def launch() -> None:
        with gpu.stream(stream):
            work()

    return launch


def _heads(lane: Sequence[Step]) -> int:
    """How many launches a lane begins with."""
    return next((n for n, step in enumerate(lane) if not isinstance(step, Launch)), len(lane))


def _starts_on_host(lane: Sequence[Step]) -> bool:
    return bool(lane) and isinstance(lane[0], OnHost | RowCopy)


def _stage_run(
    batch: int, name: str, lanes: Lanes, gpu: Accelerator, *, busy: bool
) -> tuple[_StageRun, bool]:
    """A stage after another, and whether the GPU is still at work when it ends.

    `busy`: whether the GPU is at work when it begins.
    """
    launching = [k for k, lane in enumerate(lanes) if _heads(lane)]
    on_host = any(isinstance(step, OnHost | RowCopy) for lane in lanes for step in lane)
    waits = any(isinstance(step, Await) for lane in lanes for step in lane)
    beside = on_host or len(launching) > 1
    before = (gpu.synchronize,) if busy and beside else ()
    busy = busy and not before
    order = _Order(gpu, busy=busy)
    for number, k in enumerate(launching):
        for step in lanes[k][: _heads(lanes[k])]:
            assert isinstance(step, Launch)
            order.launch(step, f"{name}{k}" if number else None)
    rests = [(bool(_heads(lane)), lane[_heads(lane) :]) for lane in lanes]
    for launched, rest in sorted(rests, key=lambda pair: not _starts_on_host(pair[1])):
        order.rest(rest, launched=launched)
    if beside or not launching:
        order.wait()
    timed_on_host = not busy and (beside or waits or not launching)
    body, after = order.actions, []
    if not timed_on_host and body and body[-1] == gpu.synchronize:
        after = [body.pop()]
    run = _StageRun(batch, name, before, tuple(body), tuple(after), timed_on_host)
    return run, order.busy


def run_serial(
    programs: Sequence[Sequence[Lanes]],
    stages: Sequence[StageSpec],
    clock: Clock,
    gpu: Accelerator,
    done: Callable[[int], None],
) -> Callable[[], None]:
    """All mini-batches one after the other; `done(mini-batch)` after each, untimed."""
    batches = []
    for number, program in enumerate(programs):
        runs, busy = [], False
        for spec, lanes in zip(stages, program, strict=True):
            run, busy = _stage_run(number, spec.name, lanes, gpu, busy=busy)
            runs.append(run)
        batches.append(runs)

    def run_all() -> None:
        for number, runs in enumerate(batches):
            with clock.iteration(number):
                for before, run in zip((None, *runs), runs, strict=False):
                    run.run(clock, follows=before is not None and run.follows(before))
            done(number)

    return run_all


@dataclass(frozen=True, slots=True)
class _LaneRun:
    """What one lane launches on its stream."""

    key: Key
    stream: str
    works: tuple[Action, ...]


@dataclass(frozen=True, slots=True)
class _HostRun:
    """Work of the worker; its time counts for every one of `keys`."""

    keys: tuple[Key, ...]
    steps: tuple[OnHost | RowCopy, ...]


@dataclass(frozen=True, slots=True)
class _Rest:
    """What a lane does after its launches or after its work on the host."""

    key: Key
    actions: tuple[Action, ...]


@dataclass
class _Cycle:
    """One cycle: everything in it starts together."""

    launches: list[_LaneRun] = field(default_factory=list)
    host: list[_HostRun] = field(default_factory=list)
    rests: list[_Rest] = field(default_factory=list)

    def add(self, key: Key, lane: Sequence[Step], gpu: Accelerator) -> None:
        heads = _heads(lane)
        if heads:
            works = tuple(step.work for step in lane[:heads] if isinstance(step, Launch))
            self.launches.append(_LaneRun(key, f"{key[1]}{key[2]}", works))
        on_host: list[OnHost | RowCopy] = []
        for step in lane[heads:]:
            if heads or not isinstance(step, OnHost | RowCopy):
                break
            on_host.append(step)
        if on_host:
            self.host.append(_HostRun((key,), tuple(on_host)))
        order = _Order(gpu)
        order.rest(lane[heads + len(on_host) :], launched=False)
        if order.actions:
            self.rests.append(_Rest(key, tuple(order.actions)))

    def share_pool(self) -> None:
        """One gather and one scatter of the same table on one pool of threads."""
        lone = [run for run in self.host if len(run.steps) == 1]
        for gather in lone:
            for scatter in lone:
                read, write = gather.steps[0], scatter.steps[0]
                if not isinstance(read, RowCopy) or not isinstance(write, RowCopy):
                    continue
                if not read.to and write.to and read.table is write.table:
                    self.host = [run for run in self.host if run not in (gather, scatter)]
                    both = together(read, write)
                    self.host.append(_HostRun((*gather.keys, *scatter.keys), (both,)))
                    return


def run_cycles(
    programs: Sequence[Sequence[Lanes]],
    stages: Sequence[StageSpec],
    clock: Clock,
    gpu: Accelerator,
    done: Callable[[int], None],
) -> Callable[[], None]:
    """All mini-batches in lock-step cycles; `done(mini-batch)` after its last stage, untimed.

    A cycle is the iteration of the mini-batch that it trains: those that fill the pipeline have
    numbers below zero.
    """
    if not gpu.overlaps:
        return _through(_in_order(programs, stages, clock, gpu), len(stages), clock, done)
    worker = ThreadPoolExecutor(1, thread_name_prefix="rows")
    worker.submit(host.use_threads, gpu.threads).result()
    cycles = [
        partial(_run_cycle, cycle, worker, clock, gpu) for cycle in _cycles(programs, stages, gpu)
    ]
    run_all = _through(cycles, len(stages), clock, done)

    def run_and_close() -> None:
        run_all()
        worker.shutdown()

    return run_and_close


def _through(
    cycles: Sequence[Action], stages: int, clock: Clock, done: Callable[[int], None]
) -> Callable[[], None]:
    """All cycles, each an iteration."""

    def run_all() -> None:
        for cycle, run in enumerate(cycles):
            number = cycle - stages + 1
            with clock.iteration(number):
                run()
            if number >= 0:
                done(number)

    return run_all


def _at_work(cycle: int, batches: int, stages: int) -> list[tuple[int, int]]:
    """(stage, mini-batch) of a cycle."""
    return [(s, cycle - s) for s in range(stages) if 0 <= cycle - s < batches]


def _in_order(
    programs: Sequence[Sequence[Lanes]],
    stages: Sequence[StageSpec],
    clock: Clock,
    gpu: Accelerator,
) -> list[Action]:
    """Every cycle stage by stage."""

    def cycle_of(cycle: int) -> Action:
        runs = [
            _stage_run(number, stages[s].name, programs[number][s], gpu, busy=False)[0]
            for s, number in _at_work(cycle, len(programs), len(stages))
        ]

        def run_all() -> None:
            for run in runs:
                run.run(clock)

        return run_all

    return [cycle_of(cycle) for cycle in range(len(programs) + len(stages) - 1)]


def _cycles(
    programs: Sequence[Sequence[Lanes]], stages: Sequence[StageSpec], gpu: Accelerator
) -> Iterator[_Cycle]:
    """What starts together in every cycle."""
    order = sorted(range(len(stages)), key=lambda s: LAUNCH_ORDER.index(stages[s].role))
    for cycle in range(len(programs) + len(stages) - 1):
        now = _Cycle()
        there = dict(_at_work(cycle, len(programs), len(stages)))
        for s in (s for s in order if s in there):
            for k, lane in enumerate(programs[there[s]][s]):
                now.add((there[s], stages[s].name, k), lane, gpu)
        now.share_pool()
        yield now


def _run_cycle(cycle: _Cycle, worker: ThreadPoolExecutor, clock: Clock, gpu: Accelerator) -> None:
    rows = worker.submit(_timed, cycle.host) if cycle.host else None
    for lane in cycle.launches:
        with gpu.stream(lane.stream), clock.gpu(*lane.key):
            for work in lane.works:
                work()
    for run, spent in zip(cycle.host, rows.result() if rows else (), strict=True):
        for key in run.keys:
            clock.add_host(*key, spent)
    for rest in cycle.rests:
        gpu.synchronize()
        with clock.host(*rest.key):
            for action in rest.actions:
                action()


def _timed(runs: Sequence[_HostRun]) -> list[float]:
    """Does the work of the host; microseconds of each."""
    times = []
    for run in runs:
        begin = time.perf_counter()
        for step in run.steps:
            step.work()
        times.append((time.perf_counter() - begin) * 1e6)
    return times
