"""Builds a machine from its configuration."""

from __future__ import annotations

from collections.abc import Mapping

from simulator.config.experiment import RunConfig
from simulator.config.memory import MemoryConfig
from simulator.config.platform import PlatformConfig
from simulator.hardware.memory import MemoryPart
from simulator.hardware.platform import Platform
from simulator.hardware.timing import ExactTiming, SampledTiming, TableTiming

__all__ = ["build_platform"]

_FIDELITY: dict[str, type[TableTiming]] = {
    "table": TableTiming,
    "exact": ExactTiming,
    "sampled": SampledTiming,
}


def build_platform(
    config: PlatformConfig,
    memories: Mapping[str, MemoryConfig],
    run: RunConfig,
    row_bytes: int,
    pools: int = 1,
) -> Platform:
    """The machine that `config` describes, for embedding rows of `row_bytes`.

    `memories`: the devices of its `cpu` and its `gpu`. `pools`: equal ones that its threads are
    divided into; an operator runs on one of them.
    """
    timing = _FIDELITY[run.memory_fidelity]
    return Platform(
        config=config,
        cpu_dram=MemoryPart(timing(memories["cpu"], row_bytes)),
        hbm=MemoryPart(timing(memories["gpu"], row_bytes)),
        cpu_threads=max(1, (run.cpu_threads or config.cpu.cores) // pools),
    )
