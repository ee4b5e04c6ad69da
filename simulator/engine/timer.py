"""The timer: prices the program of every mini-batch on a machine and runs it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from simulator.caches.facts import BatchFacts
from simulator.caches.run_facts import RunFacts
from simulator.engine.measure import Metered, Moved
from simulator.engine.pipeline import Mode, Span
from simulator.engine.pricing import Pricing, Timing
from simulator.engine.run_spans import RunSpans
from simulator.engine.running import run_stages
from simulator.engine.shared_facts import SharedFacts
from simulator.engine.together import ByGroup, InBlocks
from simulator.hardware.demand import StageDemand
from simulator.hardware.fold import Folds
from simulator.hardware.program import Stage
from simulator.hardware.topology import Topology
from simulator.systems import Schedule, System

__all__ = ["Timed", "Timing", "time_system"]


@dataclass(frozen=True)
class Timed:
    """A run that was timed. Of one that was priced block by block no programs and demands are
    kept."""

    machine: Topology
    programs: ByGroup[Stage]
    demands: ByGroup[StageDemand]
    moved: Moved
    touched: frozenset[str]
    """Devices that operations of the first mini-batch used."""
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


class _Watch:
    """Wall-clock seconds of blocks that are priced while a run goes on."""

    def __init__(self) -> None:
        self.pricing_s = 0.0

    def over(self, blocks: Iterator[ByGroup[StageDemand]]) -> Iterator[ByGroup[StageDemand]]:
        """The same `blocks`."""
        while True:
            begin = time.perf_counter()
            block = next(blocks, None)
            self.pricing_s += time.perf_counter() - begin
            if block is None:
                return
            yield block
            del block


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
    shared, facts, watch = shared or SharedFacts(), RunFacts.of(batches), _Watch()
    shared.check(facts)
    pricing = Pricing(system, machine, facts, timing, shared)
    programs: ByGroup[Stage] = ByGroup((), ())
    demands: ByGroup[StageDemand] = ByGroup((), ())
    works: ByGroup[StageDemand] | InBlocks[StageDemand]
    if pricing.in_blocks:
        works = InBlocks(len(facts), lambda: watch.over(pricing.blocks()))
    else:
        programs, demands = pricing.whole()
        works = demands
    watch.pricing_s += time.perf_counter() - begin
    schedule = system.schedule
    mode = schedule.order(timing.mode)
    window = (timing.first, timing.last)
    beside = schedule.beside
    spans, meter = run_stages(
        machine.resources,
        works,
        mode,
        schedule.waits,
        window,
        beside=beside,
        check=timing.check,
        before=shared.words,
    )

    def without(stage: int) -> Sequence[Span]:
        return _without(stage, machine, demands, mode, schedule)

    return Timed(
        machine,
        programs,
        demands,
        pricing.moved,
        pricing.touched,
        RunSpans.of(spans),
        meter,
        pricing_s=watch.pricing_s,
        events_s=time.perf_counter() - begin - watch.pricing_s,
        fold=pricing.fold,
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
