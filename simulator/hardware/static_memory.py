"""Static memory beside logic: bytes at a rate, without energy of its own."""

from __future__ import annotations

from dataclasses import dataclass

from simulator.hardware.access import Access
from simulator.hardware.demand import Turnaround
from simulator.units import PS_PER_S

__all__ = ["StaticMemory"]


@dataclass(frozen=True)
class StaticMemory:
    """Timing of static memory that passes so many bytes a second."""

    peak_bandwidth: int
    standing_w: float = 0.0
    sampling_error: float = 0.0

    @property
    def turnaround(self) -> Turnaround:
        return Turnaround()

    def stream_ps(self, access: Access) -> float:
        return access.bytes * PS_PER_S / self.peak_bandwidth

    def stream_pj(self, access: Access) -> float:
        del access
        return 0.0
