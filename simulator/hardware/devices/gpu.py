"""A graphics processor."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from simulator.config.machine import Part
from simulator.config.types import (
    Bytes,
    BytesPerSecond,
    FlopPerSecond,
    Frozen,
    Picoseconds,
    Watts,
)
from simulator.hardware.devices.dram import Dram

__all__ = ["Gpu", "Precisions", "ProductRates", "Products"]

Fraction = Annotated[float, Field(ge=0, le=1)]


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


class Gpu(Part):
    """One GPU."""

    kind: Literal["gpu"]
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
    memory: Dram
    idle_power: Watts
    active_power: Watts
    """Board power under full load (HBM included)."""
