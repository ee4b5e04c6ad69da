"""A network interface."""

from __future__ import annotations

from typing import Literal

from simulator.config.machine import Part
from simulator.config.types import BytesPerSecond, Picoseconds

__all__ = ["Nic"]


class Nic(Part):
    """Joins a host to a network; full duplex."""

    kind: Literal["nic"]
    bandwidth: BytesPerSecond
    """Payload bytes per second of one direction."""
    latency: Picoseconds
    """A message through it with nothing to send."""
