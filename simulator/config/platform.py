"""A server: CPU, its DRAM, one or more GPUs, their HBM, and the links between them.

Every mechanism that the hardware models use is a key here, with its unit; where the number comes
from stands in `sources` of each part (data sheet, paper, measured, or `assumed`).
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from simulator.config.memory import MemoryConfig, load_memory
from simulator.config.types import (
    Bytes,
    BytesPerSecond,
    FlopPerSecond,
    Frozen,
    Picoseconds,
    Source,
    Watts,
)

__all__ = [
    "CpuConfig",
    "GpuConfig",
    "LinkConfig",
    "MemoryPartConfig",
    "NvlinkConfig",
    "PlatformConfig",
    "Precisions",
]

PositiveInt = Annotated[int, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]


class MemoryPartConfig(Frozen):
    """The memory of a CPU or a GPU: a device of `configs/memories/`, and how many channels."""

    device: str
    """Name of the memory device (`scratchpipe list memories`)."""
    channels: PositiveInt | None = None
    """Channels that addresses interleave over; null: those of the device."""
    overrides: dict[str, Any] = Field(default_factory=dict)
    """Parameters of the device that differ, by dotted path (`timing.rp: 16`)."""
    capacity: Bytes
    """Bytes that tables and caches can use."""
    sources: dict[str, Source]

    def load(self) -> MemoryConfig:
        """The device with its changes applied.

        Raises `ConfigError` for an unknown device and for an override that names no parameter.
        """
        changes = dict(self.overrides)
        if self.channels is not None:
            changes["organization.channels"] = self.channels
        return load_memory(self.device, changes)


class CpuConfig(Frozen):
    """The host processor: what bounds its share of a memory-bound operator."""

    name: str
    cores: PositiveInt
    """Cores that run operator threads."""
    miss_buffers: PositiveInt
    """Cache-line misses that one core keeps outstanding (line-fill buffers)."""
    memory_latency: Picoseconds
    """Load-to-use latency of a miss to idle DRAM."""
    nontemporal_bandwidth: BytesPerSecond
    """Bytes per second that one core writes with non-temporal (streaming) stores."""
    last_level_cache: Bytes
    """Bytes of last-level cache that hot rows can stay in."""
    last_level_latency: Picoseconds
    """Load-to-use latency of a hit in the last-level cache."""
    page_fault: Picoseconds
    """First touch of a fresh page: the part of trap, allocation and clearing that threads of one
    process do one after the other."""
    page: Bytes
    """Page size of fresh allocations."""
    thread_start: Picoseconds
    """Fork and join of a parallel region over all cores."""
    memory: MemoryPartConfig
    idle_power: Watts
    active_power: Watts
    """Package power with all cores busy (without DRAM)."""
    sources: dict[str, Source]


class Precisions(Frozen):
    """Peak arithmetic rate of the GPU's matrix multiplications by input precision."""

    fp32: FlopPerSecond
    tf32: FlopPerSecond | None = None
    fp16: FlopPerSecond | None = None
    bf16: FlopPerSecond | None = None


class GpuConfig(Frozen):
    """One GPU (all GPUs of a platform are alike)."""

    name: str
    count: PositiveInt
    peak: Precisions
    gemm_efficiency: Fraction
    """Share of the peak that a large matrix multiplication reaches."""
    kernel_latency: Picoseconds
    """Start and drain of one kernel: its duration when it has nothing to do."""
    synchronize: Picoseconds
    """Host time to notice that a stream is done."""
    l2_cache: Bytes
    l2_bandwidth: BytesPerSecond
    """Bytes per second that rows found in L2 are read at."""
    sector: Bytes
    """Smallest piece that L2 fetches from memory."""
    sort_rate: Annotated[float, Field(gt=0)]
    """(key, position) pairs per second and radix pass of 8 bits, of a large sort."""
    sort_pass_latency: Picoseconds
    """One radix pass with nothing to sort."""
    random_access_rate: Annotated[float, Field(gt=0)]
    """Independent 4-byte accesses per second to a table larger than L2 (Hit-Map probes)."""
    memory: MemoryPartConfig
    idle_power: Watts
    active_power: Watts
    """Board power under full load (HBM included)."""
    sources: dict[str, Source]


class LinkConfig(Frozen):
    """The link between CPU and GPU (PCIe or NVLink-C2C), full duplex."""

    name: str
    raw_bandwidth: BytesPerSecond
    """Line rate of one direction after line coding."""
    max_payload: Bytes
    """Payload of one transaction-layer packet."""
    packet_overhead: Annotated[int, Field(ge=0)]
    """Bytes around each payload: framing, sequence number, header, CRC."""
    flow_control: Fraction
    """Share of a direction taken by acknowledgements and credit updates."""
    read_request_size: Bytes
    """Bytes asked for by one read request (host-to-device copies are reads by the GPU)."""
    latency: Picoseconds
    """Set-up and completion of one copy."""
    sources: dict[str, Source]


class NvlinkConfig(Frozen):
    """The links between GPUs."""

    name: str
    bandwidth: BytesPerSecond
    """Payload bytes per second out of one GPU, one direction, all of its links."""
    efficiency: Fraction
    """Share of it that collective operations reach."""
    latency: Picoseconds
    """One collective operation with nothing to send."""
    sources: dict[str, Source]


class PlatformConfig(Frozen):
    """A machine: what the systems of a simulation run on."""

    name: str
    description: str
    operators: str
    """The operator profile that experiments on this platform use unless they name another."""
    price_usd_per_hour: Annotated[float, Field(ge=0)] | None = None
    cpu: CpuConfig
    gpu: GpuConfig
    link: LinkConfig
    nvlink: NvlinkConfig | None = None
