"""A packet link between a root and what lies below it.

Modelled: packets of `max_payload` with `packet_overhead` (completions: `completion_overhead`),
less flow control. What lies below is the requester of copies: a copy down is a read by it, whose
requests load the opposite direction, and which goes no faster than its requests allow (bytes
outstanding over latency: Little's law), the slower the more others load the memory; a copy up is
posted and waits for nothing. What the host submits to a processor below is a read, too: it waits
behind the `queue` of a busy direction. Loads of a processor are reads and its stores are posted,
whichever end it is at. Rows that a processor below touches one by one (zero-copy) are requests of
their own: a packet a request, and as many loads in flight as there are tags for; where addresses of
devices are translated, one translator serves both directions.

Approximated: one stream fills a direction as well as many. Ignored: pageable copies, ordering.
"""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from simulator.columns import by_element
from simulator.config.machine import Part
from simulator.config.types import (
    Bytes,
    BytesOrNone,
    BytesPerSecond,
    Fraction,
    Latency,
    Picoseconds,
    Positive,
)
from simulator.hardware.demand import Resource, Service
from simulator.hardware.devices.base import Carried, Requests, RootedLink, Scattered, Setup
from simulator.units import PS_PER_S

__all__ = ["Pcie", "PcieDevice"]

PacketBytes = Annotated[int, Field(ge=0, le=1 << 20)]


class Pcie(Part):
    """A link that carries packets below a root: PCIe, NVLink-C2C; full duplex."""

    links: ClassVar[bool | None] = True
    kind: Literal["pcie"]
    raw_bandwidth: BytesPerSecond
    """Line rate of one direction after line coding."""
    max_payload: Bytes
    """Payload of one transaction-layer packet."""
    packet_overhead: PacketBytes
    """Bytes around each payload that is written: framing, sequence number, header, CRC."""
    completion_overhead: PacketBytes
    """Bytes around each payload that answers a read: its header is shorter."""
    flow_control: Annotated[float, Field(ge=0, le=0.9)]
    """Share of a direction taken by acknowledgements and credit updates."""
    acknowledgements: Fraction
    """Bytes that go back for each byte of payload (acknowledgements, credits): they slow a copy
    the other way."""
    read_request_size: Bytes
    """Bytes asked for by one read request (host-to-device copies are reads by the GPU)."""
    read_request: PacketBytes
    """Bytes of one read request on the link."""
    outstanding_reads: Positive
    """Read requests of copies that wait for their answer at once."""
    read_latency: Latency
    """From a read request to its answer, out of an idle memory."""
    queue: Bytes
    """Bytes of copies on the way down that anything else from the root waits behind."""
    latency: Picoseconds
    """Set-up and completion of one copy."""
    load_latency: Picoseconds | None = None
    """What a load of a processor through the link takes beside the memory's own latency; null:
    only copies and stores pass it, and loads of a processor below where `outstanding_loads` is
    given."""
    outstanding_loads: Positive | None = None
    """Read requests of a processor below, for single rows, that wait for their answer at once; a
    load takes `read_latency` then."""

    translation_reach: BytesOrNone = "0 B"  # type: ignore[assignment]
    """Bytes of addresses that whatever translates those of devices (an IOMMU) keeps at hand."""
    translation_time: Picoseconds = "0 ps"  # type: ignore[assignment]
    """Until it has translated one that it does not, one after the other, of loads and of stores
    alike; 0: none is held up."""
    translation_block: Bytes = "64 KiB"  # type: ignore[assignment]
    """Addresses that it has at hand together: rows of one block that come one after the other are
    translated once."""

    @property
    def bandwidth(self) -> float:
        """Payload bytes per second of one direction alone, of copies up (posted writes)."""
        return self._payload(self.max_payload, self.packet_overhead)

    @property
    def read_bandwidth(self) -> float:
        """Payload bytes per second of copies down (reads), were their requests not limited."""
        return self._payload(self.max_payload, self.completion_overhead)

    @property
    def outstanding_bandwidth(self) -> float:
        """Bytes per second that the outstanding reads of an idle memory allow."""
        return self.outstanding_reads * self.read_request_size * PS_PER_S / self.read_latency

    def load_bandwidth(self, request: float) -> float:
        """Payload bytes per second that a processor below loads in requests of `request` bytes."""
        answered = self._payload(min(request, self.max_payload), self.completion_overhead)
        if self.outstanding_loads is None:
            return answered
        return min(answered, self.outstanding_loads * request * PS_PER_S / self.read_latency)

    def store_bandwidth(self, request: float) -> float:
        """Payload bytes per second of stores of `request` bytes each."""
        return self._payload(min(request, self.max_payload), self.packet_overhead)

    def translation_ps(self, rows: Scattered) -> float:
        """How long translating the addresses of rows takes: of each that lies beyond the reach, in
        ascending order of each block that they touch."""
        if not (rows.among and self.translation_time):
            return 0.0
        known = min(1.0, self.translation_reach / rows.among)
        blocks = rows.among / self.translation_block
        asked = touched(rows.count, blocks) if rows.ascending else rows.count
        return asked * (1.0 - known) * self.translation_time

    def _payload(self, payload: float, overhead: int) -> float:
        share = payload / (payload + overhead)
        return self.raw_bandwidth * share * (1.0 - self.flow_control)

    def device(self, name: str, setup: Setup, members: tuple[str, ...]) -> PcieDevice:
        """The link in its socket; the first of `members` is the root."""
        return PcieDevice(name, self, setup, members)


class PcieDevice(RootedLink):
    """A packet link on its machine."""

    part: Pcie

    @property
    def resources(self) -> tuple[Resource, ...]:
        """Both directions, and what translates addresses for both."""
        if not self.part.translation_time:
            return super().resources
        return *super().resources, Resource(f"{self.name}.translation", self.name, "link")

    def load_latency_at(self, member: str) -> int | None:
        link = self.part
        below = member != self.members[0] and link.outstanding_loads is not None
        return link.read_latency if below and link.load_latency is None else link.load_latency

    def carry_requests(self, source: str, target: str, asked: Requests, *, by: str) -> Carried:
        link, down, loads = self.part, source == self.members[0], by == target
        size, request = asked.size, asked.request
        rate = link.load_bandwidth(request) if loads else link.store_bandwidth(request)
        against = size * link.acknowledgements
        against += size / request * link.read_request if loads else 0.0
        along, back = ("down", "up") if down else ("up", "down")
        services = {
            f"{self.name}.{along}": Service(read_ps=size * PS_PER_S / rate, bytes=size),
            f"{self.name}.{back}": Service(read_ps=against * PS_PER_S / link.raw_bandwidth),
        }
        if link.translation_time and any(rows.among for rows in asked.rows):
            translated_ps = sum(map(link.translation_ps, asked.rows))
            services[f"{self.name}.translation"] = Service(read_ps=translated_ps)
        return Carried(services)

    def carry(self, source: str, target: str, size: int, *, by: str | None = None) -> Carried:
        link, down = self.part, source == self.members[0]
        copy = by is None
        asked_for = down if copy else by == target  # by the end that the bytes go to
        rate = link.read_bandwidth if asked_for else link.bandwidth
        slack = link.outstanding_bandwidth / rate
        if copy and asked_for:
            rate = min(rate, link.outstanding_bandwidth)
        requests = size / link.read_request_size
        against = requests * link.read_request if asked_for else 0.0
        against += size * link.acknowledgements
        against_ps = against * PS_PER_S / link.raw_bandwidth
        along, back = ("down", "up") if down else ("up", "down")
        services = {
            f"{self.name}.{along}": Service(read_ps=size * PS_PER_S / rate, bytes=size),
            f"{self.name}.{back}": Service(read_ps=against_ps),
        }
        if not copy:
            return Carried(services)
        return Carried(services, link.latency, max(1.0, slack) if asked_for else None)

    def fetch_wait(self, member: str) -> tuple[str, int] | None:
        if member == self.members[0]:
            return None
        link = self.part
        return f"{self.name}.down", round(link.queue * PS_PER_S / link.read_bandwidth)


@by_element
def touched(rows: int, blocks: float) -> float:
    """Distinct ones of `blocks` equal blocks that `rows` rows at random lie in."""
    return blocks * -math.expm1(-rows / blocks)
