"""Types of the numbers of a memory, with bounds.

The bounds keep what cannot be meant (picoseconds written for clocks) away from compiled code, which
checks nothing.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from simulator.config.bounds import AtMost
from simulator.config.types import Bytes, Hertz

__all__ = [
    "BurstBytes",
    "Bursts",
    "CacheBytes",
    "Channels",
    "Clock",
    "Clocks",
    "Halves",
    "LineBytes",
    "PageBytes",
    "PowerOfTwo",
    "Queue",
    "Ranks",
]


def _power_of_two(value: int) -> int:
    if value & (value - 1):
        raise ValueError("must be a power of two: address bits name it")
    return value


Clocks = Annotated[
    int,
    Field(ge=0),
    AtMost(100_000, "these are clocks; the longest of a standard (tREFI) are about 15,000"),
]
Channels = Annotated[int, Field(ge=1), AtMost(4_096, "each is simulated with all its banks")]
Queue = Annotated[
    int, Field(ge=1), AtMost(16_384, "each channel keeps all entries; controllers have tens")
]
CacheBytes = Annotated[
    Bytes, AtMost(1 << 20, "it is the share of one channel; an L2 has tens of MB for all")
]
Bursts = Annotated[int, Field(ge=1), AtMost(1_024, "a burst takes a few clocks")]
Halves = Annotated[int, Field(ge=1), AtMost(64, "a command takes a few half clocks")]
PowerOfTwo = Annotated[
    int,
    Field(ge=1),
    AtMost(1 << 20, "bank and row numbers have 20 bits at most"),
    AfterValidator(_power_of_two),
]
Ranks = Annotated[PowerOfTwo, AtMost(64, "ranks share the buses of a channel")]
PageBytes = Annotated[
    Bytes, AtMost(1 << 20, "a row buffer is a few KiB"), AfterValidator(_power_of_two)
]
LineBytes = Annotated[Bytes, AtMost(1 << 20, "lines, sectors and interleaving have up to some KiB")]
BurstBytes = Annotated[Bytes, AtMost(1 << 16, "one burst is 32 or 64 B")]
Clock = Annotated[Hertz, AtMost(100 * 10**9, "a command clock is below 10 GHz")]
