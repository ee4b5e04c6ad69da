"""A switch between links, as a node with a name: below a PCIe root, or in the middle of a star.

Its links say what it joins (`join: [switch, gpu]`), and carry what they carry: the switch itself
holds nothing up but by its latency. Set-up of a copy is counted once, whatever number of links it
passes by way of switches. Ignored: buffers, arbitration.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from simulator.config.machine import Part
from simulator.config.types import Picoseconds
from simulator.hardware.devices.base import Carried, Device, Link, Setup

__all__ = ["Switch", "SwitchDevice"]


class Switch(Part):
    """Forwards what arrives over one of its links over another."""

    links: ClassVar[bool | None] = False
    kind: Literal["switch"]
    latency: Picoseconds
    """From one link to another."""

    def device(self, name: str, setup: Setup, members: tuple[str, ...]) -> SwitchDevice:
        """The switch in its socket."""
        return SwitchDevice(name, self, setup, members)


class SwitchDevice(Device):
    """A switch on its machine."""

    part: Switch

    def passing(self, arriving: Link, leaving: Link, size: int) -> Carried:
        del arriving, leaving, size
        return Carried(latency_ps=self.part.latency)
