"""Energy of an iteration by device.

DRAM and HBM: dynamic energy of their streams (activates and bursts, from data-sheet currents or
published energies, see `configs/memories/`) and standing power (background, refresh) over time.
CPU package and GPU: idle power plus the share of (active - idle) that their activity asks for:
busy core time for the CPU; for the GPU the greater of arithmetic and memory activity. The board
power of a GPU includes its HBM, so HBM is taken out of it.

Approximated: power proportional to activity. Ignored: links, power supplies, cooling, turbo.
"""

from __future__ import annotations

from collections.abc import Mapping

from simulator.hardware.machine import DeviceUse
from simulator.hardware.platform import Platform
from simulator.units import PS_PER_S

__all__ = ["energy_metrics"]

PJ_PER_J = 1e12
MJ_PER_J = 1e3


def energy_metrics(
    platform: Platform, use: Mapping[str, DeviceUse], elapsed_ps: int, batches: int, gpus: int
) -> dict[str, float]:
    """Millijoules of a mini-batch by device, and their sum; `use`: in the timed window."""
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
    parts = {
        "energy_cpu_cores_mj": cores,
        "energy_cpu_dram_mj": dram,
        "energy_gpu_mj": gpus * max(0.0, board - hbm),
        "energy_hbm_mj": gpus * hbm,
    }
    total = {**parts, "energy_mj": sum(parts.values())}
    return {name: joules * MJ_PER_J / batches for name, joules in total.items()}
