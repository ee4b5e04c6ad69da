"""Builds a machine from its configuration."""

from __future__ import annotations

from typing import Any

from simulator.config.experiment import RunConfig
from simulator.config.platform import MemoryPartConfig, PlatformConfig
from simulator.hardware.memory import MemoryPart
from simulator.hardware.platform import Platform
from simulator.hardware.timing import ExactTiming, SampledTiming, TableTiming
from simulator.memory import load_memory

__all__ = ["build_platform"]

_FIDELITY: dict[str, type[TableTiming]] = {
    "table": TableTiming,
    "exact": ExactTiming,
    "sampled": SampledTiming,
}


def build_platform(config: PlatformConfig, run: RunConfig, row_bytes: int) -> Platform:
    """The machine that `config` describes, for embedding rows of `row_bytes`.

    Raises `ConfigError` for an unknown memory device or parameter, and for more threads than the
    CPU has cores.
    """
    return Platform(
        config=config,
        cpu_dram=_memory(config.cpu.memory, run, row_bytes),
        hbm=_memory(config.gpu.memory, run, row_bytes),
        cpu_threads=run.cpu_threads or config.cpu.cores,
    )


def _memory(part: MemoryPartConfig, run: RunConfig, row_bytes: int) -> MemoryPart:
    overrides: dict[str, Any] = dict(part.overrides)
    if part.channels is not None:
        overrides["organization.channels"] = part.channels
    memory = load_memory(part.device, overrides)
    return MemoryPart(_FIDELITY[run.memory_fidelity](memory, row_bytes))
