"""The host processor."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from simulator.config.machine import Part
from simulator.config.types import Bytes, BytesPerSecond, Frozen, Picoseconds, Watts
from simulator.hardware.devices.dram import Dram

__all__ = ["Cpu", "MemoryPath"]

PositiveInt = Annotated[int, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]


class MemoryPath(Frozen):
    """What lies between the cores and DRAM (queues, on-chip network, address translation).

    A bound of its own: on large servers the cores of one machine reach it long before DRAM is
    busy, and copies by the GPU do not pass it.
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
    sharpness: Annotated[float, Field(ge=1)]
    """Exponent *n* in (threads^n + memory^n)^(1/n), the time of an operator that threads alone
    and memory alone would take those times for: requests that queue behind each other round the
    corner between both limits. Infinite would be the longer of the two, 1 their sum."""


class Cpu(Part):
    """The host processor: what bounds its share of a memory-bound operator."""

    kind: Literal["cpu"]
    cores: PositiveInt
    """Cores that run operator threads."""
    miss_buffers: PositiveInt
    """Cache-line misses that one core keeps outstanding (line-fill buffers)."""
    memory_latency: Picoseconds
    """Load-to-use latency of a miss to idle DRAM."""
    nontemporal_bandwidth: BytesPerSecond
    """Bytes per second that one core writes with non-temporal (streaming) stores."""
    sequential_bandwidth: BytesPerSecond | None = None
    """Bytes per second that one core reads in order, by hardware prefetch; null: as random lines,
    with `miss_buffers` outstanding."""
    memory_path: MemoryPath | None = None
    """Limits between cores and DRAM; null: DRAM is the only one."""
    last_level_cache: Bytes
    """Bytes of last-level cache that hot rows can stay in."""
    last_level_latency: Picoseconds
    """Load-to-use latency of a hit in the last-level cache."""
    staging_hits: Fraction | None = None
    """Share of a staging buffer that the last-level cache still holds when the cores read what
    the link has put there (direct cache access by devices); null: none."""
    page_fault: Picoseconds
    """First touch of a fresh page: the part of trap, allocation and clearing that threads of one
    process do one after the other."""
    page: Bytes
    """Page size of fresh allocations."""
    thread_start: Picoseconds
    """Fork and join of a parallel region over all cores."""
    memory: Dram
    idle_power: Watts
    active_power: Watts
    """Package power with all cores busy (without DRAM)."""
