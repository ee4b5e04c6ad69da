"""A packet link between a processor and what lies below it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from simulator.config.machine import Part
from simulator.config.types import Bytes, BytesPerSecond, Frozen, Picoseconds

__all__ = ["Interference", "Pcie"]

Fraction = Annotated[float, Field(ge=0, le=1)]
Factor = Annotated[float, Field(gt=0)]


class Interference(Frozen):
    """What a byte of a copy costs a memory, relative to a byte of a long stream of its own."""

    dram_read: Factor
    """Reads of CPU DRAM by copies to the GPU."""
    dram_write: Factor
    """Writes to CPU DRAM by copies from the GPU."""
    hbm_read: Factor
    """Reads of HBM by copies from the GPU."""
    hbm_write: Factor
    """Writes to HBM by copies to the GPU: short writes between the reads of kernels."""


class Pcie(Part):
    """A link that carries packets below a root: PCIe, NVLink-C2C; full duplex."""

    kind: Literal["pcie"]
    raw_bandwidth: BytesPerSecond
    """Line rate of one direction after line coding."""
    max_payload: Bytes
    """Payload of one transaction-layer packet."""
    packet_overhead: Annotated[int, Field(ge=0)]
    """Bytes around each payload: framing, sequence number, header, CRC."""
    flow_control: Fraction
    """Share of a direction taken by acknowledgements and credit updates."""
    acknowledgements: Fraction | None = None
    """Bytes that go back for each byte of payload (acknowledgements, credits): they slow a copy
    the other way; null: none beyond `flow_control`."""
    read_request_size: Bytes
    """Bytes asked for by one read request (host-to-device copies are reads by the GPU)."""
    latency: Picoseconds
    """Set-up and completion of one copy."""
    interference: Interference | None = None
    """Cost of copies to the memories; null: that of a long stream."""
