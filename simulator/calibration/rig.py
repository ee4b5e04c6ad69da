"""A machine under calibration: times single operations with the models that simulations use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import simpy

from simulator.calibration.sockets import cpu_of, gpu_of, with_key, with_value
from simulator.config.machine import MachineConfig
from simulator.config.model import ModelConfig
from simulator.config.operators import OperatorProfile
from simulator.hardware.demand import Demand
from simulator.hardware.devices.dram import Dram
from simulator.hardware.machine import Machine
from simulator.hardware.memory import MemoryPart
from simulator.hardware.platform import Platform
from simulator.hardware.timing import TableTiming
from simulator.hardware.work import Access, Operation
from simulator.units import PS_PER_S

__all__ = ["PS_PER_MS", "Rig"]

PS_PER_MS = PS_PER_S // 1000


@dataclass
class _KeptTiming(TableTiming):
    """`TableTiming` that asks the memory model once a kind of stream: a fit prices the same
    streams thousands of times."""

    kept: dict[Any, Any] = field(default_factory=dict)

    @property
    def turnaround(self) -> float:
        if "turnaround" not in self.kept:
            self.kept["turnaround"] = super().turnaround
        return float(self.kept["turnaround"])

    def _sustained(self, access: Access) -> Any:
        key = (access.size if access.random else None, access.write)
        if key not in self.kept:
            self.kept[key] = super()._sustained(access)
        return self.kept[key]


@dataclass(frozen=True)
class Rig:
    """A platform and an operator profile, with memories that do not change in a fit."""

    config: MachineConfig
    profile: OperatorProfile
    model: ModelConfig
    memories: Mapping[str, Dram]
    parts: dict[tuple[str, int], MemoryPart] = field(default_factory=dict)

    @classmethod
    def of(cls, config: MachineConfig, profile: OperatorProfile, model: ModelConfig) -> Rig:
        """`model` gives tables, rows a table and MLPs; the points change its sizes."""
        memories = {"cpu": cpu_of(config).memory, "gpu": gpu_of(config).memory}
        return cls(config, profile, model, memories)

    def changed(self, values: Mapping[str, float]) -> Rig:
        """With other parameters: dotted paths under `platform.` and `operators.`."""
        config, profile = self.config, self.profile
        for path, value in values.items():
            room, _, key = path.partition(".")
            if room == "platform":
                config = with_key(config, key, value)
            else:
                profile = with_value(profile, key, value)
        return replace(self, config=config, profile=profile)

    def sized(self, *, dim: int, batch_size: int = 2048, lookups: int = 20) -> ModelConfig:
        """The model with rows of `dim` elements and mini-batches of that size."""
        tables = self.model.tables
        return self.model.model_copy(
            update={
                "dim": dim,
                "batch_size": batch_size,
                "lookups_per_table": (lookups,) * tables,
            }
        )

    def platform(self, row_bytes: int, threads: int | None = None) -> Platform:
        """The machine for rows of `row_bytes` on `threads` CPU threads (None: one a core)."""
        return Platform(
            config=self.config,
            cpu_dram=self._part("cpu", row_bytes),
            hbm=self._part("gpu", row_bytes),
            cpu_threads=threads or cpu_of(self.config).cores,
        )

    def _part(self, device: str, row_bytes: int) -> MemoryPart:
        key = (device, row_bytes)
        if key not in self.parts:
            self.parts[key] = MemoryPart(_KeptTiming(self.memories[device], row_bytes))
        return self.parts[key]

    def alone_ms(
        self, works: Sequence[Operation], row_bytes: int, threads: int | None = None
    ) -> float:
        """Time of `works` one after the other on the idle machine."""
        platform = self.platform(row_bytes, threads)
        machine = Machine(simpy.Environment(), platform.turnaround)
        demands = [platform.price(work) for work in works]
        return sum(d.latency_ps + machine.alone_ps(d) for d in demands) / PS_PER_MS

    def beside_ms(
        self,
        victims: Sequence[Operation],
        others: Sequence[Operation],
        row_bytes: int,
        threads: int | None = None,
    ) -> tuple[float, dict[str, float]]:
        """Time of `victims` side by side, while `others` run from before to after them; and the
        bytes per second of each device meanwhile."""
        platform = self.platform(row_bytes, threads)
        env = simpy.Environment()
        machine = Machine(env, platform.turnaround)
        for work in others:
            env.process(machine.execute(replace(platform.price(work), latency_ps=0)))
        demands = [platform.price(work) for work in victims]
        done = env.all_of([env.process(machine.execute(demand)) for demand in demands])
        env.run(done)
        machine.settle()
        elapsed = float(env.now)
        rates = {name: use.bytes * PS_PER_S / elapsed for name, use in machine.use.items()}
        return elapsed / PS_PER_MS, rates

    def demand(self, work: Operation, row_bytes: int, threads: int | None = None) -> Demand:
        """`work` priced."""
        return self.platform(row_bytes, threads).price(work)
