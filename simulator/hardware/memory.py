"""One memory of a machine: time, bytes and energy of streams of accesses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from simulator.columns import some
from simulator.hardware.access import Access
from simulator.hardware.demand import Resource, Service, Turnaround
from simulator.results.resources import Kind

__all__ = ["Memory", "Pages", "StreamTiming"]


class StreamTiming(Protocol):
    """How long a memory takes for a stream that has it alone."""

    @property
    def peak_bandwidth(self) -> int:
        """Bytes per second of the data bus, all channels."""
        ...

    @property
    def turnaround(self) -> Turnaround:
        """Time lost by mixes of reads and writes against the sum of both alone."""
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


@dataclass(frozen=True, slots=True)
class Pages:
    """How a processor reaches a memory that it cannot load from: by requests for whole pages."""

    size: int
    """Bytes of a page: a shorter write reads its page first."""
    request_ps: int
    """Time of a thread for one request."""
    latency_ps: int
    """From the first request of an operation to its answer."""


@dataclass(frozen=True)
class Memory:
    """A memory as operations see it; `place` is its name on the machine and of its resource."""

    place: str
    device: str
    kind: Kind
    capacity: int
    """Bytes that tables and caches can use."""
    timing: StreamTiming
    added_ps: int = 0
    """What a load takes beside one from DRAM of the processor's own."""
    pages: Pages | None = None
    """Where processors cannot load from it, and writes wear it out; None: they can."""

    @cached_property
    def turnaround(self) -> Turnaround:
        """See `StreamTiming.turnaround`."""
        return self.timing.turnaround

    @cached_property
    def resource(self) -> Resource:
        """What operations share of it."""
        peak = self.timing.peak_bandwidth
        wears = None if self.pages is None else self.capacity
        mixes = self.turnaround
        return Resource(self.place, self.device, self.kind, peak, turnaround=mixes, wears=wears)

    def service(self, streams: Sequence[Access]) -> Service:
        """Time, bytes and energy of all `streams` of one operation."""
        read_ps = write_ps = energy_pj = 0.0
        size = written = 0
        for stream in streams:
            if not some(passed := stream.bytes):
                continue
            size += passed
            there = passed != 0  # of a column, mini-batch by mini-batch
            ps = there * self.timing.stream_ps(stream)
            if stream.write:
                written += passed
                write_ps += ps
            else:
                read_ps += ps
            energy_pj += there * self.timing.stream_pj(stream)
        return Service(read_ps, write_ps, size, energy_pj, written)

    def alone_ps(self, service: Service) -> float:
        """Time of `service` by itself, reads and writes mixed."""
        return service.ps * self.turnaround.factor(service.read_ps, service.write_ps)
