"""A flash array: channels of dies, whose pages are read into registers and leave over the channel.

Modelled. A read takes a die for `read_time` and brings a page into its register; what is asked of
it, in whole `transfer`s, leaves over the die's channel: the array gives the smallest of dies /
read_time, channels x rate / bytes moved, and what its interface passes. Reads in order, and
programs, take all planes of a die at once. What is written at once shares pages, as a translation
layer appends it, or takes a page a piece. As a drive below a host it is asked for blocks.

Approximated: pieces fall evenly on dies; a page is read for every piece. Ignored: erases and
garbage collection, suspended programs, errors, the translation layer's own reads.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, Self

from pydantic import model_validator

from simulator.config.machine import Part
from simulator.config.types import (
    Bytes,
    BytesPerSecond,
    Latency,
    MisfitError,
    Picoseconds,
    Positive,
    Watts,
)
from simulator.hardware.access import Access
from simulator.hardware.devices.base import PJ_PER_J, Device, Setup
from simulator.hardware.devices.nvme import DriveForms
from simulator.hardware.memory import Memory, Pages
from simulator.units import PS_PER_S

__all__ = ["FlashArray", "FlashDevice", "FlashTiming"]


class FlashArray(Part):
    """Channels of flash dies behind a controller."""

    links: ClassVar[bool | None] = False
    durable: ClassVar[bool] = True
    kind: Literal["flash_array"]
    channels: Positive
    dies: Positive
    """Of a channel."""
    planes: Positive
    """Of a die."""
    page: Bytes
    """What a plane reads or programs at once."""
    read_time: Latency
    """From the array into the register of a page."""
    program_time: Latency
    channel_bandwidth: BytesPerSecond
    """Bytes a second between the registers of a channel and the controller."""
    transfer: Bytes
    """What leaves a register at least: a block with its code for errors, or a vector where the
    controller takes some."""
    packs_writes: bool
    """Whether rows that are written at once share pages; else each takes one of its own."""
    interface: BytesPerSecond | None = None
    """What the controller passes on to host or logic, at most; null: as much as channels bring."""
    block: Bytes
    """What a host asks for, in whole ones."""
    request_time: Picoseconds
    """Time of a thread of the host for one request: submission and completion."""
    idle_power: Watts
    active_power: Watts
    capacity: Bytes

    @model_validator(mode="after")
    def _a_page_leaves_in_parts(self) -> Self:
        if self.transfer > self.page:
            raise MisfitError("transfer", "must be no more than a page: a register has one")
        return self

    @property
    def total_dies(self) -> int:
        """Of all channels."""
        return self.channels * self.dies

    def asked(self, size: int, *, write: bool = False) -> int:
        """Bytes that a row of `size` bytes makes pass a channel: whole transfers to read, whole
        pages to write where rows do not share them."""
        if write:
            return size if self.packs_writes else -(-size // self.page) * self.page
        return -(-size // self.transfer) * self.transfer

    def device(self, name: str, setup: Setup, members: tuple[str, ...]) -> FlashDevice:
        """The array as a drive in a socket of its own."""
        return FlashDevice(name, self, setup, members)

    def memory(self, device: str) -> Memory:
        """The array as a memory of `device`, to the host a drive."""
        latency = self.read_time + round(self.block * PS_PER_S / self.channel_bandwidth)
        pages = Pages(self.block, self.request_time, latency)
        timing = FlashTiming(self)
        return Memory(f"{device}.flash", device, "drive", self.capacity, timing, pages=pages)


@dataclass(frozen=True)
class FlashTiming(DriveForms):
    """Closed forms of an array; see the module's docstring."""

    part: FlashArray

    @property
    def peak_bandwidth(self) -> int:
        part = self.part
        rate = part.channels * part.channel_bandwidth
        return rate if part.interface is None else min(rate, part.interface)

    def stream_ps(self, access: Access) -> float:
        part, pages = self.part, self._pages(access)
        if access.write:
            die_ps = pages * part.program_time / (part.total_dies * part.planes)
        else:
            at_once = 1 if access.random else part.planes
            die_ps = pages * part.read_time / (part.total_dies * at_once)
        moved = self._moved(access)
        channel_ps = moved * PS_PER_S / (part.channels * part.channel_bandwidth)
        interface_ps = access.bytes * PS_PER_S / part.interface if part.interface else 0.0
        return max(die_ps, channel_ps, interface_ps)

    def stream_pj(self, access: Access) -> float:
        """What its active power adds while it serves."""
        watts = max(0.0, self.part.active_power - self.part.idle_power)
        return watts * self.stream_ps(access) / PS_PER_S * PJ_PER_J

    def latency_ps(self, size: int) -> float:
        """Of one piece of `size` bytes of a page: read into the register, then out of it."""
        return self.part.read_time + self.part.asked(size) * PS_PER_S / self.part.channel_bandwidth

    def _pages(self, access: Access) -> float:
        """Pages that are read or programmed."""
        page = self.part.page
        if not access.random or (access.write and self.part.packs_writes):
            return access.bytes / page
        return access.count * -(-access.size // page)

    def _moved(self, access: Access) -> float:
        """Bytes that pass the channels."""
        if not access.random:
            return access.bytes
        return access.count * self.part.asked(access.size, write=access.write)


class FlashDevice(Device):
    """An array on its machine: `ssd0.flash`."""

    part: FlashArray

    def prepare(self, setup: Setup) -> None:
        del setup
        self.flash = self.part.memory(self.name)

    @property
    def memories(self) -> tuple[Memory, ...]:
        return (self.flash,)
