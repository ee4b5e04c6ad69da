"""One memory of a machine (CPU DRAM or HBM): time, bytes and energy of streams of accesses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from simulator.hardware.demand import Service
from simulator.hardware.work import Access

__all__ = ["MemoryPart", "StreamTiming"]


class StreamTiming(Protocol):
    """How long a memory takes for a stream that has it alone."""

    @property
    def peak_bandwidth(self) -> int:
        """Bytes per second of the data bus, all channels."""
        ...

    @property
    def turnaround(self) -> float:
        """Relative time lost by a half-and-half mix of reads and writes against the sum of both
        alone (`p` in `Machine`)."""
        ...

    @property
    def standing_w(self) -> float:
        """Watts of background and refresh, whatever is accessed."""
        ...

    @property
    def sampling_error(self) -> float:
        """Relative standard error of times that stand for others; 0 where none do."""
        ...

    def stream_ps(self, access: Access) -> float:
        """Picoseconds that `access` takes alone."""
        ...

    def stream_pj(self, access: Access) -> float:
        """Dynamic energy of `access` in picojoules."""
        ...


@dataclass(frozen=True)
class MemoryPart:
    """A memory as the operations of a machine see it."""

    timing: StreamTiming

    @property
    def peak_bandwidth(self) -> int:
        return self.timing.peak_bandwidth

    @property
    def turnaround(self) -> float:
        return self.timing.turnaround

    @property
    def standing_w(self) -> float:
        return self.timing.standing_w

    @property
    def sampling_error(self) -> float:
        return self.timing.sampling_error

    def service(self, streams: Sequence[Access]) -> Service:
        """Time, bytes and energy of all `streams` of one operation."""
        read_ps = sum(self.timing.stream_ps(s) for s in streams if s.bytes and not s.write)
        write_ps = sum(self.timing.stream_ps(s) for s in streams if s.bytes and s.write)
        return Service(
            read_ps=read_ps,
            write_ps=write_ps,
            bytes=sum(s.bytes for s in streams),
            energy_pj=sum(self.timing.stream_pj(s) for s in streams if s.bytes),
        )
