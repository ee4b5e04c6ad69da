"""The limits between a processor's cores, its socket's devices and memory."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from simulator.config.types import BytesPerSecond, Fraction, Frozen, Picoseconds

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
