"""A base platform with a place for every number that the measurements can decide."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from simulator.calibration.sockets import CPU, cpu_of, gpu_of, link_of
from simulator.config.machine import MachineConfig
from simulator.hardware.devices.cpu import MemoryPath
from simulator.hardware.devices.gpu import ProductRates
from simulator.hardware.devices.pcie import Interference

__all__ = ["CHOSEN", "decides_path", "with_mechanisms"]

_SHARPNESS = 4.0
"""Exponent of the rounded corner (see `MemoryPath.sharpness`)."""
CHOSEN: dict[str, tuple[float, str]] = {
    f"{CPU}.memory_path.sharpness": (
        _SHARPNESS,
        "chosen: of 2, 2.5, 3 and 4 the one whose operators slow down beside copies as measured "
        "(contention.csv); fits of operators alone hardly differ",
    )
}
"""Numbers that no fit decides, by dotted path, with where they come from."""


def decides_path(measured: Collection[str]) -> bool:
    """Whether what was `measured` tells the path between cores and DRAM."""
    return {"cpu stream read", "cpu pooled gather"} <= set(measured)


def with_mechanisms(config: MachineConfig, measured: Collection[str]) -> MachineConfig:
    """`config` with the optional mechanisms whose operators were `measured` switched on.

    The numbers put in only hold the place: fits start from `blocks.BLOCKS`.
    """
    cpu, gpu, link = cpu_of(config), gpu_of(config), link_of(config)
    if decides_path(measured):
        path = MemoryPath(
            random_read="100 GB/s",  # type: ignore[arg-type]
            random_piece="1 ns",  # type: ignore[arg-type]
            sequential_read="100 GB/s",  # type: ignore[arg-type]
            write="100 GB/s",  # type: ignore[arg-type]
            write_back="100 GB/s",  # type: ignore[arg-type]
            duplex=0.5,
            sharpness=_SHARPNESS,
        )
        cpu = cpu.model_copy(
            update={"memory_path": path, "sequential_bandwidth": cpu.nontemporal_bandwidth}
        )
    if "cpu scatter" in measured:
        cpu = cpu.model_copy(update={"staging_hits": 0.5})
    if "gpu pooled gather, few rows" in measured:
        gpu = gpu.model_copy(update={"dependent_access": gpu.kernel_latency})
    rates: dict[str, Any] = {
        precision: ProductRates(efficiency=0.5, kernel_latency="5 us", batched="1 TFLOP/s")  # type: ignore[arg-type]
        for precision in ("fp32", "tf32", "fp16", "bf16")
        if f"mlp {precision}" in measured
    }
    gpu = gpu.model_copy(update={"products": gpu.products.model_copy(update=rates)})
    if "copies both ways" in measured:
        link = link.model_copy(update={"acknowledgements": 0.05})
    if "slowdown of cpu" in measured or "slowdown of hbm" in measured:
        ones = Interference(dram_read=1.0, dram_write=1.0, hbm_read=1.0, hbm_write=1.0)
        link = link.model_copy(update={"interference": ones})
    for name, part in (("cpu", cpu), ("gpu", gpu), ("pcie", link)):
        config = config.with_part(name, part)
    return config
