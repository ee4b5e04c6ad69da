"""The timer: prices the program of every mini-batch on a machine and runs it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from simulator._plugins import explained, place_of
from simulator.caches.facts import BatchFacts
from simulator.caches.replays import Kept
from simulator.config.operators import OperatorProfile
from simulator.engine.invariants import check_bytes, check_stage_names
from simulator.engine.measure import Metered
from simulator.engine.pipeline import Mode, Span
from simulator.engine.processor_caches import ProcessorCaches, Program
from simulator.engine.run_spans import RunSpans
from simulator.engine.running import run_stages
from simulator.engine.shared_facts import SharedFacts
from simulator.engine.together import ByGroup, Group, Groups, divided, each_group, one_by_one
from simulator.errors import PluginError
from simulator.hardware.demand import StageDemand
from simulator.hardware.fold import Folds
from simulator.hardware.known_prices import KnownPrices
from simulator.hardware.lanes import as_graphs, by_workers, in_one_process
from simulator.hardware.program import Stage
from simulator.hardware.topology import Topology
from simulator.systems import Schedule, System

__all__ = ["Timed", "Timing", "time_system"]


@dataclass(frozen=True)
class Timing:
    """How a run is timed: `first` to `last` are the timed mini-batches."""

    software: OperatorProfile
    mode: Mode
    first: int
    last: int
    samples: Kept = ()
    """Mini-batches whose rows were kept, to count hits of the processors' caches."""
    keep_rows: bool = False
    """Replay the rows of the samples in the memories."""
    check: bool = False


@dataclass(frozen=True)
class Timed:
    """A run that was timed."""

    machine: Topology
    programs: ByGroup[Stage]
    demands: ByGroup[StageDemand]
    spans: RunSpans
    meter: Metered
    pricing_s: float
    """Wall-clock seconds of prices, the memories' model included."""
    events_s: float
    """Wall-clock seconds of the discrete-event simulation."""
    fold: Folds
    """Groups of ranks of which the first was timed."""
    unfed: Sequence[Span] = ()
    """Where a stage feeds the others: their spans with mini-batches always there."""
    unlogged: Sequence[Span] = ()
    """Where a stage writes what must be durable: the spans of the others with nothing to write."""

    @cached_property
    def touched(self) -> frozenset[str]:
        """Devices that operations of the first mini-batch used."""
        names = {
            resource
            for stage in (self.demands.kept(0) if self.demands else ())
            for lane in stage.lanes
            for demand in lane
            for resource in (*demand.services, *filter(None, (demand.host,)))
        }
        return frozenset(self.machine.resources[name].device for name in names)


def time_system(
    system: System,
    machine: Topology,
    batches: Sequence[BatchFacts],
    timing: Timing,
    shared: SharedFacts | None = None,
) -> Timed:
    """The stages of every mini-batch on `machine`, from the facts of all `batches`; `shared`: those
    of the same replay.

    Raises `InvariantError` where facts do not add up or a mini-batch never retires, `ConfigError`
    for an operation that its device cannot do.
    """
    begin = time.perf_counter()
    shared = shared or SharedFacts()
    shared.check(batches)
    caches = ProcessorCaches(
        _program(system), machine, timing.samples, timing.keep_rows, timing.software, shared
    )
    prices = None if timing.keep_rows or timing.check else shared.prices
    fold = Folds(machine, system.equal_ranks, one_process=_one_process(timing))

    def price(groups: Groups) -> tuple[list[tuple[Stage, ...]], ByGroup[StageDemand]]:
        programs = caches.grouped(batches, groups)
        for stages in programs:
            check_stage_names(system.schedule.names, stages)
        return programs, _priced(system, machine, timing, fold, programs, groups, prices)

    groups, (programs, demands) = divided(_groups(system, batches, timing, shared), price)
    shared.groups[_named(system)] = groups
    priced = time.perf_counter()
    schedule = system.schedule
    mode = schedule.order(timing.mode)
    window = (timing.first, timing.last)
    waits = schedule.waits
    beside = schedule.beside
    spans, meter = run_stages(
        machine.resources,
        demands,
        mode,
        waits,
        window,
        beside=beside,
        check=timing.check,
        before=shared.words,
    )

    def without(stage: int) -> Sequence[Span]:
        return _without(stage, machine, demands, mode, schedule)

    return Timed(
        machine,
        ByGroup(groups, programs),
        demands,
        RunSpans.of(spans),
        meter,
        pricing_s=priced - begin,
        events_s=time.perf_counter() - priced,
        fold=fold,
        unfed=without(beside.feeder) if beside.fed else (),
        unlogged=without(0) if beside.logged else (),
    )


def _without(
    stage: int,
    machine: Topology,
    demands: Sequence[tuple[StageDemand, ...]],
    mode: Mode,
    schedule: Schedule,
) -> Sequence[Span]:
    """All but one of the stages beside the others, as they run where none waits for it."""
    waits = tuple((own - 1, other - 1, ahead) for own, other, ahead in schedule.waits)
    rest = [(*stages[:stage], *stages[stage + 1 :]) for stages in demands]
    beside = schedule.beside.without(stage)
    window = (0, len(rest) - 1)
    return run_stages(machine.resources, rest, mode, waits, window, beside=beside)[0]


def _program(system: System) -> Program:
    """The program of `system`; errors of another package's code say where they are raised."""

    name = type(system).__name__

    def stages(facts: BatchFacts) -> tuple[Stage, ...]:
        with explained(name, f"gives no stages for mini-batch {facts.index}", type(system)):
            program = system.stages(facts)
        if not isinstance(program, tuple) or not all(isinstance(s, Stage) for s in program):
            where = place_of(type(system).stages)
            raise PluginError(f"{name}.stages gave {program!r:.80}, no stages ({where})")
        return program

    return stages


def _groups(
    system: System, batches: Sequence[BatchFacts], timing: Timing, shared: SharedFacts
) -> Groups:
    """Mini-batches that are tried together: all, or as they were divided before; each for itself
    where a run is checked, or rows are replayed."""
    if timing.check or timing.keep_rows or len(batches) < 2:
        # those with rows first: under `sampled` their times stand for the others'
        return one_by_one(
            sorted(range(len(batches)), key=lambda place: not batches[place].keeps_rows)
        )
    known = shared.groups.get(_named(system), ())
    whole = (np.arange(len(batches)),)
    return known if sum(map(len, known)) == len(batches) else whole


def _named(system: System) -> str:
    return f"{type(system).__module__}.{type(system).__qualname__}"


def _one_process(timing: Timing) -> bool:
    return timing.software.gpu.host_processes == "one"


def _priced(
    system: System,
    machine: Topology,
    timing: Timing,
    fold: Folds,
    programs: Sequence[tuple[Stage, ...]],
    groups: Groups,
    known: KnownPrices | None,
) -> ByGroup[StageDemand]:
    """Every stage of every mini-batch in time on resources."""
    graphs = timing.software.gpu.iteration == "graph" and not system.schedule.overlaps
    call_ps = timing.software.gpu.worker_call if system.schedule.overlaps else 0

    def price(number: int, _: Group) -> tuple[StageDemand, ...]:
        stages = tuple(machine.price_stage(s, timing.software, known) for s in programs[number])
        if timing.check:
            check_bytes(programs[number], stages)
        stages = tuple(map(fold.scaled, stages))
        stages = as_graphs(stages) if graphs else stages
        stages = by_workers(stages, call_ps) if call_ps else stages
        return in_one_process(stages) if _one_process(timing) else stages

    return ByGroup(groups, each_group(groups, price))
