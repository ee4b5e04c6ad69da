"""A packet link between a root and what lies below it.

Modelled: packets of `max_payload` with `packet_overhead`, less flow control. What lies below is
the requester of copies: a copy down is a read by it, whose requests load the opposite direction;
a copy up is posted. Loads and stores of the processor at the root go the other way round. Both
memories take part, at the cost that `interference` gives.

Approximated: one stream fills a direction as well as many. Ignored: pageable copies, ordering.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from simulator.config.machine import Part
from simulator.config.types import Bytes, BytesPerSecond, Frozen, Picoseconds
from simulator.hardware.demand import Resource, Service
from simulator.hardware.devices.base import Carried, Link, Setup
from simulator.units import PS_PER_S

__all__ = ["Interference", "Pcie", "PcieDevice"]

READ_REQUEST_HEADER_BYTES = 24
"""A PCIe memory read request: STP token 4 (sequence number inside), header of 4 double words 16,
LCRC 4 (PCI Express Base Specification 3.0 and later, sections 2.2 and 4.2)."""

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

    links: ClassVar[bool | None] = True
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

    load_latency: Picoseconds | None = None
    """What a load of a processor through the link takes beside the memory's own latency; null:
    only copies pass it."""

    @property
    def bandwidth(self) -> float:
        """Payload bytes per second of one direction alone."""
        share = self.max_payload / (self.max_payload + self.packet_overhead)
        return self.raw_bandwidth * share * (1.0 - self.flow_control)

    def device(self, name: str, setup: Setup, members: tuple[str, ...]) -> PcieDevice:
        """The link in its socket; the first of `members` is the root."""
        return PcieDevice(name, self, setup, members)


class PcieDevice(Link):
    """A packet link on its machine: two directions, `down` from the root and `up` to it."""

    part: Pcie

    @property
    def resources(self) -> tuple[Resource, ...]:
        peak = self.part.raw_bandwidth
        return tuple(
            Resource(f"{self.name}.{way}", self.name, "link", peak) for way in ("down", "up")
        )

    def pairs(self) -> Sequence[tuple[str, str]]:
        root, *leaves = self.members
        return [(root, leaf) for leaf in leaves]

    def load_latency(self) -> int | None:
        return self.part.load_latency

    def carry(self, source: str, target: str, size: int, *, copy: bool = True) -> Carried:
        del target
        link, down = self.part, source == self.members[0]
        asked_for = down if copy else not down  # by the end that the bytes go to
        along_ps = size * PS_PER_S / link.bandwidth
        requests = size / link.read_request_size
        against = requests * READ_REQUEST_HEADER_BYTES if asked_for else 0.0
        against += size * (link.acknowledgements or 0.0)
        against_ps = against * PS_PER_S / link.raw_bandwidth
        along, back = ("down", "up") if down else ("up", "down")
        services = {f"{self.name}.{along}": Service(read_ps=along_ps, bytes=size)}
        if against_ps:
            services[f"{self.name}.{back}"] = Service(read_ps=against_ps)
        if not copy:
            return Carried(services)
        source_cost, target_cost = self._memory_costs(down)
        return Carried(services, link.latency, source_cost, target_cost)

    def _memory_costs(self, down: bool) -> tuple[float, float]:
        """Cost of a copied byte to the memories it leaves and enters, relative to a stream's."""
        cost = self.part.interference
        if cost is None:
            return 1.0, 1.0
        return (cost.dram_read, cost.hbm_write) if down else (cost.hbm_read, cost.dram_write)
