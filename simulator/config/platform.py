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
    "Interference",
    "LinkConfig",
    "MemoryPartConfig",
    "MemoryPath",
    "NvlinkConfig",
    "PlatformConfig",
    "Precisions",
    "ProductRates",
    "Products",
]

PositiveInt = Annotated[int, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Factor = Annotated[float, Field(gt=0)]


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


class MemoryPath(Frozen):
    """What lies between the cores and DRAM (queues, on-chip network, address translation).

    A bound of its own: on large servers the cores of one machine reach it long before DRAM is
    busy, and copies by the GPU do not pass it.
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
    sharpness: Annotated[float, Field(ge=1)]
    """Exponent *n* in (threads^n + memory^n)^(1/n), the time of an operator that threads alone
    and memory alone would take those times for: requests that queue behind each other round the
    corner between both limits. Infinite would be the longer of the two, 1 their sum."""


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
    sequential_bandwidth: BytesPerSecond | None = None
    """Bytes per second that one core reads in order, by hardware prefetch; null: as random lines,
    with `miss_buffers` outstanding."""
    memory_path: MemoryPath | None = None
    """Limits between cores and DRAM; null: DRAM is the only one."""
    last_level_cache: Bytes
    """Bytes of last-level cache that hot rows can stay in."""
    last_level_latency: Picoseconds
    """Load-to-use latency of a hit in the last-level cache."""
    staging_hits: Fraction | None = None
    """Share of a staging buffer that the last-level cache still holds when the cores read what
    the link has put there (direct cache access by devices); null: none."""
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


class ProductRates(Frozen):
    """The MLPs' matrix products in one precision, as the sizes of their layers allow."""

    efficiency: Fraction
    """Share of the peak that the layers reach."""
    kernel_latency: Picoseconds
    """Mean time of one kernel of a captured training step with next to nothing to do: start,
    drain, and the steps of a product that follow each other whatever the batch size."""
    batched: FlopPerSecond
    """Rate of the batched products of a few vectors (the dot interaction)."""


class Products(Frozen):
    """`ProductRates` by precision; null: `gemm_efficiency` and `kernel_latency` of the GPU."""

    fp32: ProductRates | None = None
    tf32: ProductRates | None = None
    fp16: ProductRates | None = None
    bf16: ProductRates | None = None


class GpuConfig(Frozen):
    """One GPU (all GPUs of a platform are alike)."""

    name: str
    count: PositiveInt
    peak: Precisions
    gemm_efficiency: Fraction
    """Share of the peak that a large matrix multiplication reaches."""
    products: Products = Products()
    """What was measured of the MLPs' products."""
    kernel_latency: Picoseconds
    """Start and drain of one kernel: its duration when it has nothing to do."""
    dependent_access: Picoseconds | None = None
    """An access of one thread to HBM that waits for the one before it (index, then row); null:
    not bounding any kernel."""
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
    acknowledgements: Fraction | None = None
    """Bytes that go back for each byte of payload (acknowledgements, credits): they slow a copy
    the other way; null: none beyond `flow_control`."""
    read_request_size: Bytes
    """Bytes asked for by one read request (host-to-device copies are reads by the GPU)."""
    latency: Picoseconds
    """Set-up and completion of one copy."""
    interference: Interference | None = None
    """Cost of copies to the memories; null: that of a long stream."""
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
