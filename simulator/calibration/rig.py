"""A machine under calibration: times single operations with the models that simulations use."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import simpy

from simulator.caches.facts import Flow
from simulator.calibration.sockets import with_key, with_value
from simulator.config.machine import MachineConfig, Part
from simulator.config.model import ModelConfig
from simulator.config.operators import OperatorProfile
from simulator.hardware.demand import Demand, Turnaround
from simulator.hardware.devices.base import Setup
from simulator.hardware.devices.dram import Dram
from simulator.hardware.machine import Machine
from simulator.hardware.program import (
    GRADIENT_BYTES,
    Buffer,
    Gather,
    Move,
    Operation,
    Plan,
    Pool,
    Scatter,
    Sort,
    Store,
    Update,
)
from simulator.hardware.timing import TableTiming
from simulator.hardware.topology import Topology
from simulator.systems.base import move
from simulator.systems.operators import Backward
from simulator.units import PS_PER_S

__all__ = ["PS_PER_MS", "Bench", "Rig"]

PS_PER_MS = PS_PER_S // 1000
MEASURED_TABLE_BYTES = 40_960_000_000
"""The table that row operators of a CPU are measured on."""


@dataclass
class _KeptTiming(TableTiming):
    """`TableTiming` that asks the memory model once for its turnaround: a fit prices the same
    streams thousands of times."""

    kept: dict[Any, Any] = field(default_factory=dict)

    @property
    def turnaround(self) -> Turnaround:
        if "turnaround" not in self.kept:
            self.kept["turnaround"] = super().turnaround
        return cast(Turnaround, self.kept["turnaround"])


@dataclass(frozen=True)
class Rig:
    """A machine and an operator profile, with memories that do not change in a fit."""

    config: MachineConfig
    profile: OperatorProfile
    model: ModelConfig
    """Gives tables, rows a table and MLPs; the points change its sizes."""
    timings: dict[tuple[str, int], _KeptTiming] = field(default_factory=dict)
    machines: dict[tuple[int, int | None], Topology] = field(default_factory=dict)

    def changed(self, values: Mapping[str, float]) -> Rig:
        """With other parameters: dotted paths under `platform.` and `operators.`."""
        config, profile = self.config, self.profile
        for path, value in values.items():
            room, _, key = path.partition(".")
            if room == "platform":
                config = with_key(config, key, value)
            else:
                profile = with_value(profile, key, value)
        return replace(self, config=config, profile=profile, machines={})

    def sized(
        self, *, dim: int, batch_size: int = 2048, lookups: int = 20, optimizer: str = "sgd"
    ) -> ModelConfig:
        """The model with rows of `dim` elements, their optimizer and mini-batches of that size."""
        return self.model.changed(
            dim=dim,
            batch_size=batch_size,
            optimizer=optimizer,
            lookups_per_table=lookups,
        )

    def machine(self, row_bytes: int, threads: int | None = None) -> Topology:
        """The machine for rows of `row_bytes` on `threads` CPU threads (None: one a core)."""
        key = (row_bytes, threads)
        if key not in self.machines:
            setup = Setup(lambda part: self._timing(part, row_bytes), threads)
            self.machines[key] = Topology(self.config, setup)
        return self.machines[key]

    def _timing(self, part: Part, row_bytes: int) -> TableTiming:
        key = (part.name, row_bytes)
        if key not in self.timings:
            self.timings[key] = _KeptTiming(cast(Dram, part), row_bytes)
        return self.timings[key]

    def bench(self, kind: str, model: ModelConfig) -> Bench:
        """The words of single operations at the processor of that kind."""
        machine = self.machine(model.row_bytes)
        return Bench(machine, self.profile, model, machine.first(kind, "calibration"))

    def copy(self, to_gpu: bool, size: int, name: str = "copy", gpu: int = 0) -> Move:
        """A copy over the link between CPU and GPU number `gpu`."""
        machine = self.machine(512)
        cpu, board = machine.first("cpu", name), machine.all("gpu")[gpu]
        dram, hbm = machine.memory(cpu).place, machine.memory(board).place
        return move(name, dram, hbm, size) if to_gpu else move(name, hbm, dram, size)

    def link(self, to_gpu: bool) -> str:
        """The resource that a copy's payload passes."""
        demand = self.machine(512).price(self.copy(to_gpu, 1), self.profile)
        return next(iter(demand.services))

    def alone_ms(
        self, words: Sequence[Operation], row_bytes: int, threads: int | None = None
    ) -> float:
        """Time of `words` one after the other on the idle machine."""
        machine = self.machine(row_bytes, threads)
        clock = Machine(simpy.Environment(), machine.resources)
        demands = [machine.price(word, self.profile) for word in words]
        return sum(d.latency_ps + clock.alone_ps(d) for d in demands) / PS_PER_MS

    def beside_ms(
        self,
        victims: Sequence[Operation],
        others: Sequence[Operation],
        row_bytes: int,
        threads: int | None = None,
    ) -> tuple[float, dict[str, float]]:
        """Time of `victims` side by side, while `others` run from before to after them; and the
        bytes per second of each resource meanwhile."""
        machine = self.machine(row_bytes, threads)
        env = simpy.Environment()
        clock = Machine(env, machine.resources)
        for word in others:
            background = replace(machine.price(word, self.profile), latency_ps=0)
            env.process(clock.execute(background))

        def victim(demand: Demand) -> Generator[simpy.Event, Any, None]:
            yield from clock.fetch(demand)
            yield from clock.execute(demand)

        demands = [machine.price(word, self.profile) for word in victims]
        done = env.all_of([env.process(victim(demand)) for demand in demands])
        env.run(done)
        clock.settle()
        elapsed = float(env.now)
        rates = {name: use.bytes * PS_PER_S / elapsed for name, use in clock.use.items()}
        return elapsed / PS_PER_MS, rates


@dataclass(frozen=True)
class Bench:
    """Single operations at one processor, on rows in its own memory."""

    machine: Topology
    software: OperatorProfile
    model: ModelConfig
    at: str
    fresh: bool = False
    """Rows are drawn anew each time, so that the page table that leads to them is in no cache."""

    @property
    def place(self) -> str:
        return self.machine.memory(self.at).place

    def store(self, tables: int | None = None) -> Store:
        """Rows of the model; `tables`: of so many tables alone."""
        model = self.model
        count = model.tables if tables is None else tables
        size = MEASURED_TABLE_BYTES if self.fresh else 0
        return Store("rows", self.place, model.row_bytes, model.state_bytes, count, bytes=size)

    def gather(self, rows: int, name: str = "gather") -> Gather:
        store = self.store()
        staging = Buffer("staging", self.place, rows * store.entry_bytes)
        return Gather(name, self.at, store, Flow(0, rows), staging)

    def scatter(self, rows: int, name: str = "scatter", held: float | None = 0.0) -> Scatter:
        """From staging buffers that take turns, of which the last cache holds `held` (None: they
        were filled by a copy)."""
        store = self.store()
        staging = Buffer("staging", self.place, rows * store.entry_bytes, held)
        return Scatter(name, self.at, staging, store, Flow(0, rows))

    def pool(self, lookups: int, hit_share: float, tables: int | None = None) -> Pool:
        store, pooling = self.store(tables), max(self.model.table_lookups)
        into = Buffer("pooled", self.place, self.model.batch_size * store.tables * store.row_bytes)
        pooled = Pool("pool", self.at, store, Flow(lookups), into, pooling)
        return replace(pooled, hit_share=hit_share)

    def backward(self, rows: Flow) -> tuple[Operation, ...]:
        """Sort and update."""
        key_rows = max(self.model.rows_per_table)
        words = Backward(self.model, self.machine, self.software, self.at, self.store(), key_rows)
        operations = words.operations(rows)
        warm = 1.0 if self.fresh else 0.0  # the lists of one sort are those of the next
        return tuple(replace(w, held=warm) if isinstance(w, Sort) else w for w in operations)

    def sort(self, pairs: int, key_rows: int) -> Sort:
        return Sort("sort", self.at, Flow(pairs), self.model.tables, key_rows, key_rows)

    def unexpanded_update(self, lookups: int, unique: int) -> Update:
        """The update as it was measured alone: a gradient of its own for every lookup, all of them
        in memory (in training the pooled gradients of a mini-batch stay in L2)."""
        size = self.model.width * GRADIENT_BYTES
        source = Buffer("gradients", self.place, lookups * size)
        rows = Flow(lookups, unique)
        return Update("update", self.at, self.store(), rows, source, size, True, True)

    def pooled_update(self, lookups: int, unique: int, bags: int) -> Update:
        """The update of training: the gradient of a bag serves all of its lookups."""
        size = self.model.width * GRADIENT_BYTES
        source = Buffer("gradients", self.place, bags * size)
        rows = Flow(lookups, unique)
        return Update("update", self.at, self.store(), rows, source, size, True, True)

    def plan(self, lookups: int, missed: int, slots: int) -> Plan:
        """A planner that marks slots ahead is this program's own, whose micro-benchmark has rows
        side by side."""
        own = Plan("plan", self.at, lookups, lookups, missed, slots)
        return replace(own, side_by_side=self.software.gpu_plan.marks_ahead)
