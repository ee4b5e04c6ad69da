"""Builds a machine from its configuration."""

from __future__ import annotations

from dataclasses import dataclass

from simulator.config.experiment import RunConfig
from simulator.config.platform import PlatformConfig
from simulator.hardware.memory import MemoryPart
from simulator.hardware.platform import Platform
from simulator.hardware.work import Access
from simulator.units import PS_PER_S


@dataclass(frozen=True)
class Flat:
    peak_bandwidth: int
    turnaround: float = 0.1

    def stream_ps(self, access: Access) -> float:
        return access.bytes * PS_PER_S / (self.peak_bandwidth * 0.85)

    def stream_pj(self, access: Access) -> float:
        return 0.0


def build_platform(config: PlatformConfig, run: RunConfig) -> Platform:
    return Platform(
        config,
        MemoryPart(Flat(76_800_000_000)),
        MemoryPart(Flat(900_000_000_000)),
        run.cpu_threads or config.cpu.cores,
    )
