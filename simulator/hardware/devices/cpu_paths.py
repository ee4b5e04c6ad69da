"""The limits between a processor's cores, its socket's devices and memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from simulator.columns import by_element, least, most
from simulator.config.types import BytesPerSecond, Fraction, Frozen, Picoseconds
from simulator.hardware.access import Access
from simulator.units import PS_PER_S

__all__ = ["DevicePath", "MemoryPath"]


class MemoryPath(Frozen):
    """What lies between the cores and DRAM (queues, on-chip network, address translation).

    A bound of its own: on large servers the cores of one machine reach it long before DRAM is
    busy, and copies by the GPU do not pass it. Loads from memories behind links do.
    """

    random_read: BytesPerSecond
    """Bytes per second of random rows that all cores together read."""
    random_piece: Picoseconds
    """Time of the path for each random piece that all cores together read, beside its bytes:
    address translation, the first line of a row."""
    sequential_read: BytesPerSecond
    """Bytes per second that all cores together read in order."""
    write: BytesPerSecond
    """Bytes per second that all cores together write with streaming stores."""
    write_back: BytesPerSecond
    """Bytes per second that all cores together write by evicting lines that they changed."""
    duplex: Fraction
    """Share of the shorter of reads and writes that passes while the longer goes on: 1 where
    each has a way of its own, 0 where they take turns."""
    sharpness: Annotated[float, Field(ge=1, le=1000)]
    """Exponent *n* in (threads^n + memory^n)^(1/n), the time of an operator that threads alone
    and memory alone would take those times for: requests that queue behind each other round the
    corner between both limits. Infinite would be the longer of the two, 1 their sum."""

    def passing_ps(self, streams: Sequence[Access], evicted: int, *, streamed: bool) -> float:
        """Time (ps) of what cores load through it and store, `streamed` (non-temporal) or not;
        `evicted`: bytes of what is stored that earlier operations had left in the cores' caches."""
        reads = sum(
            s.bytes / (self.random_read if s.random else self.sequential_read)
            for s in streams
            if not s.write
        )
        pieces = sum(s.count for s in streams if s.random and not s.write)
        reads += pieces * self.random_piece / PS_PER_S
        written = sum(s.bytes for s in streams if s.write) - evicted
        writes = written / (self.write if streamed else self.write_back)
        writes += evicted / self.write_back
        longer, shorter = most(reads, writes), least(reads, writes)
        passing_ps: float = (longer + (1.0 - self.duplex) * shorter) * PS_PER_S
        return passing_ps

    def rounded_corner(self, thread_ps: float, memory_ps: float) -> float:
        """Time (ps) of an operator that threads and memory bound (see `sharpness`)."""
        return _rounded_corner(thread_ps, memory_ps, self.sharpness)


class DevicePath(Frozen):
    """What carries the copies of devices (GPUs, interfaces, drives) between the socket's ports and
    its memory: on-chip network, directory of the caches, last-level cache.

    All devices of the socket share it, and misses of the cores queue behind what passes it
    (`simulator.hardware.demand.loaded_latency`). Reads and writes take turns.
    """

    read: BytesPerSecond | None
    """Bytes per second that devices together read from this socket's memory; null: nobody
    measured it, and it is no narrower than DRAM itself."""
    write: BytesPerSecond | None
    """Bytes per second that devices together write to it; null: as above."""

    @property
    def bounds(self) -> bool:
        """Whether it is narrower than DRAM in any direction."""
        return self.read is not None or self.write is not None


@by_element
def _rounded_corner(thread_ps: float, memory_ps: float, n: float) -> float:
    longest = max(thread_ps, memory_ps)
    if not longest:
        return 0.0
    shares = (thread_ps / longest) ** n + (memory_ps / longest) ** n
    return float(longest * shares ** (1.0 / n))
