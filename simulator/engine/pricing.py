"""Programs and prices of the mini-batches of a run: of all in one piece, or block by block.

Where a run has more mini-batches than a block of its facts, what is priced is used and let go block
by block, so that a run of a million mini-batches has the programs of a thousand at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from simulator._plugins import explained, place_of
from simulator.caches.facts import BatchFacts
from simulator.caches.replays import Kept
from simulator.caches.run_facts import BLOCK, RunFacts
from simulator.config.operators import OperatorProfile
from simulator.engine.invariants import check_bytes, check_stage_names
from simulator.engine.measure import Moved, add_moved
from simulator.engine.pipeline import Mode
from simulator.engine.processor_caches import Counts, ProcessorCaches, Program
from simulator.engine.shared_facts import SharedFacts
from simulator.engine.together import ByGroup, Group, Groups, divided, each_group, one_by_one
from simulator.errors import PluginError
from simulator.hardware.demand import StageDemand
from simulator.hardware.fold import Folds
from simulator.hardware.known_prices import KnownPrices
from simulator.hardware.lanes import as_graphs, by_workers, in_one_process
from simulator.hardware.program import Stage
from simulator.hardware.topology import Topology
from simulator.systems import System

__all__ = ["Pricing", "Timing"]

Programs = list[tuple[Stage, ...]]
Priced = tuple[ByGroup[Stage], ByGroup[StageDemand]]


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
    keep_prices: bool = False
    """Programs and prices are asked for after the run."""


@dataclass
class Pricing:
    """What prices a run of `system` on `machine`, from the facts of all its `batches`; `shared`:
    those of the same replay."""

    system: System
    machine: Topology
    batches: RunFacts
    timing: Timing
    shared: SharedFacts
    moved: Moved = field(default_factory=list)
    """Bytes of each resource in each stage, of the timed mini-batches that were priced."""
    touched: frozenset[str] = frozenset()
    """Devices that operations of the first mini-batch use."""

    @cached_property
    def fold(self) -> Folds:
        """Groups of ranks of which the first is priced."""
        return Folds(self.machine, self.system.equal_ranks, one_process=self._one_process)

    @cached_property
    def caches(self) -> ProcessorCaches:
        """What gives the programs."""
        timing = self.timing
        return ProcessorCaches(
            _program(self.system),
            self.machine,
            timing.samples,
            timing.keep_rows,
            timing.software,
            self.shared,
        )

    @cached_property
    def _moving(self) -> frozenset[str]:
        """Resources that move bytes."""
        return frozenset(n for n, r in self.machine.resources.items() if r.moves_bytes)

    @property
    def in_blocks(self) -> bool:
        """Whether mini-batches are priced block by block: not those that are looked at again, or
        that SimPy runs, which takes them in one piece."""
        timing, beside = self.timing, self.system.schedule.beside
        whole = timing.check or timing.keep_rows or timing.keep_prices or beside.count > 0
        return len(self.batches) > BLOCK and not whole

    def whole(self) -> Priced:
        """Programs and prices of all mini-batches."""
        batches = list(self.batches)

        def program(groups: Groups) -> Programs:
            return self.caches.grouped(batches, groups)

        known = None if self.timing.keep_rows or self.timing.check else self.shared.prices
        groups, (programs, demands) = divided(
            self._first_try(batches), lambda groups: self._priced(program(groups), groups, known)
        )
        self.shared.groups[self._named] = groups
        self._note(demands, 0)
        return ByGroup(groups, programs), demands

    def blocks(self) -> Iterator[ByGroup[StageDemand]]:
        """Prices of all mini-batches, block by block."""
        self.moved = []
        counted = self.caches.counted_in(self.batches)
        waiting = self.caches.left_last(self.batches[-1], counted)
        for first in self.batches.starts:
            demands, waiting = self._block(self.batches.block(first), counted, waiting)
            self._note(demands, first)
            yield demands
            del demands

    def _block(
        self, batches: Sequence[BatchFacts], counted: Counts, waiting: Mapping[str, int]
    ) -> tuple[ByGroup[StageDemand], dict[str, int]]:
        """Prices of a block, and what waits in caches behind it (see `ProcessorCaches`)."""

        def price(groups: Groups) -> tuple[ByGroup[StageDemand], dict[str, int]]:
            programs, behind = self.caches.in_block(batches, groups, counted, waiting)
            return self._priced(programs, groups, None)[1], behind

        return divided((np.arange(len(batches)),), price)[1]

    def _first_try(self, batches: Sequence[BatchFacts]) -> Groups:
        """Mini-batches that are tried together: all, or as they were divided before; each for
        itself where a run is checked, or rows are replayed."""
        if self.timing.check or self.timing.keep_rows or len(batches) < 2:
            # those with rows first: under `sampled` their times stand for the others'
            return one_by_one(
                sorted(range(len(batches)), key=lambda place: not batches[place].keeps_rows)
            )
        known = self.shared.groups.get(self._named, ())
        whole = (np.arange(len(batches)),)
        return known if sum(map(len, known)) == len(batches) else whole

    @property
    def _named(self) -> str:
        return f"{type(self.system).__module__}.{type(self.system).__qualname__}"

    @property
    def _one_process(self) -> bool:
        return self.timing.software.gpu.host_processes == "one"

    def _priced(
        self, programs: Programs, groups: Groups, known: KnownPrices | None
    ) -> tuple[Programs, ByGroup[StageDemand]]:
        """Every stage of every mini-batch in time on resources."""
        for stages in programs:
            check_stage_names(self.system.schedule.names, stages)
        software, overlaps = self.timing.software, self.system.schedule.overlaps
        graphs = software.gpu.iteration == "graph" and not overlaps
        call_ps = software.gpu.worker_call if overlaps else 0

        def price(number: int, _: Group) -> tuple[StageDemand, ...]:
            own = programs[number]
            stages = tuple(self.machine.price_stage(s, software, known) for s in own)
            if self.timing.check:
                check_bytes(own, stages)
            stages = tuple(map(self.fold.scaled, stages))
            stages = as_graphs(stages) if graphs else stages
            stages = by_workers(stages, call_ps) if call_ps else stages
            return in_one_process(stages) if self._one_process else stages

        return programs, ByGroup(groups, each_group(groups, price))

    def _note(self, demands: ByGroup[StageDemand], first: int) -> None:
        """What of prices is told after the run; `first`: the first of these mini-batches."""
        if not first:
            names = {
                resource
                for stage in (demands.kept(0) if demands else ())
                for lane in stage.lanes
                for demand in lane
                for resource in (*demand.services, *filter(None, (demand.host,)))
            }
            self.touched = frozenset(self.machine.resources[name].device for name in names)
        window = (self.timing.first, self.timing.last)
        add_moved(self.moved, demands, first, window, self._moving)


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
