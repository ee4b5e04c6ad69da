"""What an operation asks of a machine, once its hardware models have priced it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["DEVICES", "THREAD_POOL", "Demand", "Service", "StageDemand", "turnaround_factor"]

DEVICES = ("cpu_dram", "cpu_cores", "pcie_h2d", "pcie_d2h", "hbm", "gpu", "nvlink")
"""Every device that an operation can use, in the order of the result columns."""

THREAD_POOL = "cpu_threads"
"""The pool of threads that operators on the CPU share: taken while they run, no result column."""


def turnaround_factor(penalty: float, read_ps: float, write_ps: float) -> float:
    """Time of a mix of reads and writes relative to the sum of their times alone.

    1 + 4 p f (1 - f) with f = share of writes: `penalty` p is what a half-and-half mix loses.
    """
    total = read_ps + write_ps
    if penalty == 0.0 or total == 0.0:
        return 1.0
    writes = write_ps / total
    return 1.0 + 4.0 * penalty * writes * (1.0 - writes)


@dataclass(frozen=True, slots=True)
class Service:
    """Use of one device by one operation.

    `read_ps` and `write_ps`: time that the device needs for the operation's reads and writes if
    it does nothing else (picoseconds; devices without direction use `read_ps`). `bytes`: payload
    that crosses the device. `energy_pj`: dynamic energy of that use, picojoule.
    """

    read_ps: float
    write_ps: float = 0.0
    bytes: int = 0
    energy_pj: float = 0.0

    @property
    def ps(self) -> float:
        return self.read_ps + self.write_ps


@dataclass(frozen=True, slots=True)
class Demand:
    """One operation: time before it uses anything, then its use of devices, all at once.

    `minimum_ps` bounds the second part from below whatever the devices could do (threads that
    wait for memory, a kernel's critical path).
    """

    name: str
    services: Mapping[str, Service] = field(default_factory=dict)
    latency_ps: int = 0
    minimum_ps: int = 0


@dataclass(frozen=True, slots=True)
class StageDemand:
    """One stage of one mini-batch, priced: lanes side by side, operations in order."""

    name: str
    lanes: tuple[tuple[Demand, ...], ...]
