"""Energy of an iteration by resource.

DRAM and HBM: dynamic energy of their streams (activates and bursts, from data-sheet currents or
published energies, see `configs/memories/`) and standing power (background, refresh) over time.
CPU package and GPU: idle power plus the share of (active - idle) that their activity asks for:
busy core time for the CPU; for the GPU the greater of arithmetic and memory activity. The board
power of a GPU includes its HBM, so HBM is taken out of it.

Approximated: power proportional to activity. Ignored: links, power supplies, cooling, turbo.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from simulator.hardware.machine import DeviceUse
from simulator.hardware.platform import Platform
from simulator.units import PS_PER_S

__all__ = ["Energy", "energy_of"]

PJ_PER_J = 1e12
MJ_PER_J = 1e3


@dataclass(frozen=True, slots=True)
class Energy:
    """Millijoules of a mini-batch."""

    total: float
    by_resource: Mapping[str, float]
    """Of the resources that are accounted for, by name; `total` is their sum."""


def energy_of(
    platform: Platform, use: Mapping[str, DeviceUse], elapsed_ps: int, batches: int, gpus: int
) -> Energy:
    """Energy of a mini-batch; `use`: of each device in the timed window."""
    seconds = elapsed_ps / PS_PER_S
    config = platform.config

    def activity(device: str) -> float:
        return min(1.0, use[device].busy_ps / elapsed_ps) if device in use else 0.0

    def dynamic(device: str) -> float:
        return use[device].energy_pj / PJ_PER_J if device in use else 0.0

    dram = dynamic("cpu_dram") + platform.cpu_dram.standing_w * seconds
    hbm = dynamic("hbm") + platform.hbm.standing_w * seconds
    cpu = config.cpu
    cores = seconds * (cpu.idle_power + (cpu.active_power - cpu.idle_power) * activity("cpu_cores"))
    gpu = config.gpu
    load = max(activity("gpu"), activity("hbm"))
    board = seconds * (gpu.idle_power + (gpu.active_power - gpu.idle_power) * load)
    joules = {
        "cpu.cores": cores,
        "cpu.dram": dram,
        "gpu.sm": gpus * max(0.0, board - hbm),
        "gpu.hbm": gpus * hbm,
    }
    return Energy(
        total=sum(joules.values()) * MJ_PER_J / batches,
        by_resource={name: value * MJ_PER_J / batches for name, value in joules.items()},
    )
