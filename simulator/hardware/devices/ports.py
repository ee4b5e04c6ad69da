"""Links that give each of their members a port: NVLink, a network of hosts."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from simulator.config.machine import Part
from simulator.config.types import BytesPerSecond, Picoseconds

__all__ = ["PortLink"]

Fraction = Annotated[float, Field(gt=0, le=1)]


class PortLink(Part):
    """A port a member, out and in, behind a switch that carries what the ports carry."""

    kind: Literal["nvlink", "network"]
    bandwidth: BytesPerSecond
    """Payload bytes per second out of one member, one direction, all of its links."""
    efficiency: Fraction
    """Share of it that collective operations reach."""
    latency: Picoseconds
    """One transfer or collective operation with nothing to send."""
