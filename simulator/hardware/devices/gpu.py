"""A graphics processor.

Modelled. A kernel: `kernel_latency`, then the longest of: HBM at what it sustains for the stream
(rows in whole sectors, hits in L2 left out), L2 bandwidth for all bytes, arithmetic, radix passes,
Hit-Map probes at the random-access rate, and the chain of dependent accesses of one thread.
Arithmetic runs at the rates of `products` for its precision, else at `gemm_efficiency` x peak.
Kernels that the host launches one by one cannot go faster than it launches them.

Approximated: L2 hits are given by share, not by set; power is proportional to the greater of
arithmetic and memory activity, and the board's power includes its HBM.
Ignored: occupancy limits, clock changes under load.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from simulator.config.experiment import RunConfig
from simulator.config.machine import Part
from simulator.config.model import ModelConfig
from simulator.config.operators import OperatorProfile
from simulator.config.types import (
    Bytes,
    BytesPerSecond,
    FlopPerSecond,
    Frozen,
    Picoseconds,
    Watts,
)
from simulator.errors import Problem
from simulator.hardware.access import Access
from simulator.hardware.demand import Demand, Resource, ResourceUse, Service
from simulator.hardware.devices.base import Processor, Reach, Setup, dynamic_j
from simulator.hardware.devices.dram import Dram
from simulator.hardware.memory import Memory
from simulator.hardware.program import (
    ID_BYTES,
    POSITION_BYTES,
    RADIX_BITS,
    Add,
    Dense,
    Expand,
    Gather,
    Operation,
    Plan,
    Pool,
    Scatter,
    Sort,
    Split,
    Update,
    Wait,
    key_bits,
)
from simulator.units import PS_PER_S

__all__ = ["Gpu", "GpuDevice", "GpuKernels", "Precisions", "ProductRates", "Products"]

SORT_PAIR_BYTES = 8
"""Key and position, 4 bytes each."""
POOL_UNROLL = 4
"""Rows that a thread of the pooled gather asks for before it adds them up."""
UPDATE_CHAIN = 4
"""Where a segment starts, which positions it has, their gradients, the row."""

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

    links: ClassVar[bool | None] = False
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

    def misfits(self, run: RunConfig, model: ModelConfig) -> list[Problem]:
        """What a run or a model asks for that it does not have."""
        del run
        peaks = self.peak.model_dump()
        if peaks.get(model.mlp_precision) is not None:
            return []
        offered = ", ".join(name for name, peak in peaks.items() if peak is not None)
        message = f"is {model.mlp_precision!r}: {self.name} offers {offered}"
        return [Problem("", "model.mlp_precision", message)]

    def device(self, name: str, setup: Setup, members: tuple[str, ...]) -> GpuDevice:
        """The processor in its socket."""
        return GpuDevice(name, self, setup, members)


@dataclass(frozen=True, slots=True)
class GpuKernels(Operation):
    """One or more kernels as the GPU sees them, one after the other."""

    kernels: int
    accesses: tuple[Access, ...] = ()
    flops: int = 0
    batched_flops: int = 0
    """Part of `flops` in batched products of a few vectors each."""
    precision: Literal["fp32", "tf32", "fp16", "bf16"] = "fp32"
    sort_pairs: int = 0
    sort_passes: int = 0
    """Radix passes of 8 bits over `sort_pairs` (key, position) pairs."""
    sorts: int = 1
    """Separate sorts (one a table, or one for all)."""
    probes: int = 0
    """Independent 4-byte accesses to structures larger than L2 (Hit-Map, masks)."""
    chain: int = 0
    """Accesses to memory that one thread makes one after the other, each waiting for the last."""
    dispatch_ps: int = 0
    """Host time to launch all its kernels one by one; 0 where they replay as a captured graph."""


class GpuDevice(Processor):
    """A GPU on its machine; brings its HBM."""

    part: Gpu
    rules: ClassVar[Mapping[type[Operation], str]] = {
        GpuKernels: "_priced",
        Pool: "_pool",
        Expand: "_expand",
        Sort: "_sort",
        Update: "_update",
        Gather: "_gather",
        Scatter: "_scatter",
        Plan: "_plan",
        Split: "_split",
        Add: "_add",
        Dense: "_dense",
        Wait: "_wait",
    }

    def prepare(self, setup: Setup) -> None:
        memory = self.part.memory
        self.hbm = Memory(f"{self.name}.hbm", self.name, "hbm", memory.usable, setup.timing(memory))
        self._sms = f"{self.name}.sm"

    @property
    def memories(self) -> tuple[Memory, ...]:
        return (self.hbm,)

    @property
    def resources(self) -> tuple[Resource, ...]:
        return (self.hbm.resource, Resource(self._sms, self.name, "gpu"))

    def cached_rows(self, row_bytes: int) -> int:
        return self.part.l2_cache // row_bytes

    def training_passes(self, software: OperatorProfile) -> tuple[tuple[str, str], ...]:
        names = ("expand", "sort", "update") if software.gpu.expand else ("sort", "update")
        return tuple((name, name) for name in names)

    def energy(self, use: Mapping[str, ResourceUse], elapsed_ps: int) -> dict[str, float]:
        """Joules of HBM as its commands say, and of the rest of the board: what board power at that
        load leaves, but never less than the rest takes when idle. So HBM that takes more than the
        board's power leaves adds to the total instead of hiding in it."""
        seconds, gpu, place = elapsed_ps / PS_PER_S, self.part, self.hbm.place
        load = max(
            min(1.0, use[name].busy_ps / elapsed_ps) if name in use else 0.0
            for name in (self._sms, place)
        )
        board = seconds * (gpu.idle_power + (gpu.active_power - gpu.idle_power) * load)
        standing = self.hbm.timing.standing_w * seconds
        hbm = dynamic_j(use, place) + standing
        idle = max(0.0, gpu.idle_power * seconds - standing)
        return {self._sms: max(idle, board - hbm), place: hbm}

    # how each word becomes kernels

    def _pool(self, word: Pool, software: OperatorProfile, reach: Reach) -> Demand:
        rows, store = word.rows, word.reads
        accesses = (
            self._stream(rows.lookups * ID_BYTES),
            Access(
                store.memory,
                rows.lookups,
                store.row_bytes,
                hit_share=word.hit_share,
                pieces=store.pieces(rows),
            ),
            self._stream(word.into.bytes, write=True),
        )
        kernels = _sets(software, store.tables)
        chain = 2 + -(-word.pooling // POOL_UNROLL)
        return self._kernels(word, reach, kernels, accesses, chain=chain)

    def _expand(self, word: Expand, software: OperatorProfile, reach: Reach) -> Demand:
        accesses = (
            self._stream(word.source.bytes),
            self._stream(word.rows.lookups * word.gradient_bytes, write=True),
        )
        return self._kernels(word, reach, _sets(software, word.tables), accesses)

    def _sort(self, word: Sort, software: OperatorProfile, reach: Reach) -> Demand:
        sets = _sets(software, word.tables)
        return self._kernels(
            word,
            reach,
            2 * sets,
            sort_pairs=word.rows.lookups,
            sort_passes=math.ceil(key_bits(word.key_rows // sets) / RADIX_BITS),
            sorts=sets,
        )

    def _update(self, word: Update, software: OperatorProfile, reach: Reach) -> Demand:
        """Sums the gradients of equal ids on the way; pooled gradients are found in L2 after the
        first read of each."""
        rows, store = word.rows, word.writes
        vectors = word.source.bytes // word.gradient_bytes
        again = max(0.0, 1.0 - vectors / rows.lookups) if rows.lookups else 0.0
        hits = 0.0 if word.expanded else again
        gradients = Access(self.hbm.place, rows.lookups, word.gradient_bytes, hit_share=hits)
        pieces = store.pieces(rows)
        update = tuple(
            Access(store.memory, rows.rows, size, write=write, pieces=pieces)
            for size in (store.row_bytes, store.state_bytes)
            if size
            for write in (False, True)
        )
        lists = self._stream(rows.lookups * (ID_BYTES + POSITION_BYTES))
        accesses = (lists, gradients, *update)
        kernels = _sets(software, store.tables)
        return self._kernels(word, reach, kernels, accesses, chain=UPDATE_CHAIN)

    def _gather(self, word: Gather, software: OperatorProfile, reach: Reach) -> Demand:
        del software
        rows, store, size = word.rows.rows, word.reads, word.reads.entry_bytes
        accesses = (
            Access(store.memory, rows, size, pieces=store.pieces(word.rows)),
            Access(word.into.memory, rows, size, write=True, random=False),
        )
        return self._kernels(word, reach, 1 if rows else 0, accesses)

    def _scatter(self, word: Scatter, software: OperatorProfile, reach: Reach) -> Demand:
        del software
        rows, store, size = word.rows.rows, word.writes, word.writes.entry_bytes
        accesses = (
            Access(word.source.memory, rows, size, random=False),
            Access(store.memory, rows, size, write=True, pieces=store.pieces(word.rows)),
        )
        return self._kernels(word, reach, 1 if rows else 0, accesses)

    def _plan(self, word: Plan, software: OperatorProfile, reach: Reach) -> Demand:
        """Kernels: mark and look up; compact misses; scan ages; choose victims; update maps.
        Probes: a lookup reads its Hit-Map entry and stamps its slot; a miss writes its entry,
        erases the victim's, and sets owner and age of the slot. The age of every slot is read once.
        """
        del software
        accesses = (
            self._stream(word.lookups * ID_BYTES),
            self._stream(word.slots * POSITION_BYTES),
            self._stream(word.unique * ID_BYTES, write=True),
        )
        probes = 2 * word.lookups + 4 * word.missed
        return self._kernels(word, reach, 5, accesses, probes=probes)

    def _split(self, word: Split, software: OperatorProfile, reach: Reach) -> Demand:
        del software
        ids = word.lookups * ID_BYTES
        accesses = (self._stream(ids), self._stream(ids, write=True))
        return self._kernels(word, reach, 2, accesses, probes=word.lookups)

    def _add(self, word: Add, software: OperatorProfile, reach: Reach) -> Demand:
        del software
        accesses = (
            self._stream(sum(source.bytes for source in word.sources)),
            self._stream(word.into.bytes, write=True),
        )
        return self._kernels(word, reach, 1, accesses)

    def _dense(self, word: Dense, software: OperatorProfile, reach: Reach) -> Demand:
        """Launched eagerly the host is in the way: one process launches for all GPUs in turn."""
        launched_in_turn = word.ranks if software.gpu.host_processes == "one" else 1
        dispatch = 0
        if software.gpu.mlp == "eager":
            dispatch = word.kernels * launched_in_turn * software.gpu.kernel_dispatch
        activations, weights = word.activation_bytes, word.weight_bytes
        accesses = (
            self._stream(2 * activations + 3 * weights),
            self._stream(2 * activations + 2 * weights, write=True),
        )
        return self._kernels(
            word,
            reach,
            word.kernels,
            accesses,
            flops=word.flops,
            batched_flops=word.batched_flops,
            precision=word.precision,
            dispatch_ps=dispatch,
        )

    def _wait(self, word: Wait, software: OperatorProfile, reach: Reach) -> Demand:
        del software, reach
        return Demand(name=word.name, latency_ps=self.part.synchronize)

    def _stream(self, size: int, *, write: bool = False) -> Access:
        """Bytes of its own memory in order."""
        return Access(self.hbm.place, 1, size, write=write, random=False)

    # what kernels cost

    def _kernels(
        self,
        word: Operation,
        reach: Reach,
        kernels: int,
        accesses: tuple[Access, ...] = (),
        **terms: object,
    ) -> Demand:
        work = GpuKernels(word.name, self.name, kernels, accesses, **terms)  # type: ignore[arg-type]
        return self._priced(work, None, reach)

    def _priced(self, work: GpuKernels, software: object, reach: Reach) -> Demand:
        del software
        gpu = self.part
        services = self._memories(work, reach)
        through_l2 = sum(_whole_sectors(a, gpu.sector, hits=True).bytes for a in work.accesses)
        l2_ps = through_l2 * PS_PER_S / gpu.l2_bandwidth
        busy_ps = self._arithmetic_ps(work) + work.probes * PS_PER_S / gpu.random_access_rate
        busy_ps += work.sort_pairs * work.sort_passes * PS_PER_S / gpu.sort_rate
        products = self._products(work)
        kernel_ps = gpu.kernel_latency if products is None else products.kernel_latency
        latency_ps = work.kernels * kernel_ps
        latency_ps += work.sorts * work.sort_passes * gpu.sort_pass_latency
        chain_ps = work.chain * (gpu.dependent_access or 0)
        minimum_ps = max(l2_ps, busy_ps, chain_ps, work.dispatch_ps - latency_ps)
        services[self._sms] = Service(read_ps=busy_ps)
        return Demand(
            name=work.name,
            services=services,
            latency_ps=latency_ps,
            minimum_ps=round(minimum_ps),
        )

    def _memories(self, work: GpuKernels, reach: Reach) -> dict[str, Service]:
        """Services of its own memory (radix passes included) and of any other that it reads."""
        streams = [_whole_sectors(access, self.part.sector) for access in work.accesses]
        own = self.hbm.place
        hbm = self.hbm.service([s for s in streams if s.memory == own])
        sort_bytes = 2 * SORT_PAIR_BYTES * work.sort_pairs * work.sort_passes
        if sort_bytes:
            hbm += self.hbm.service([self._stream(sort_bytes)])
        services = {own: hbm}
        for place in dict.fromkeys(s.memory for s in streams if s.memory != own):
            services |= reach(place).services([s for s in streams if s.memory == place])
        return services

    def _products(self, work: GpuKernels) -> ProductRates | None:
        """Measured rates for the products of `work`, where it has any and they are known."""
        rates = getattr(self.part.products, work.precision) if work.flops else None
        assert rates is None or isinstance(rates, ProductRates)
        return rates

    def _arithmetic_ps(self, work: GpuKernels) -> float:
        if not work.flops:
            return 0.0
        peaks = self.part.peak
        peak = getattr(peaks, work.precision) or peaks.fp32
        products = self._products(work)
        if products is None:
            return float(work.flops * PS_PER_S / (peak * self.part.gemm_efficiency))
        layers_s = (work.flops - work.batched_flops) / (peak * products.efficiency)
        return float((layers_s + work.batched_flops / products.batched) * PS_PER_S)


def _sets(software: OperatorProfile, tables: int) -> int:
    """Kernels of each kind: one set for all tables, or one a table."""
    return tables if software.gpu.kernels_per_table else 1


def _whole_sectors(access: Access, sector: int, *, hits: bool = False) -> Access:
    """A GPU access in whole sectors: what reaches memory, or (`hits`) all that passes L2."""
    size = -(-access.size // sector) * sector if access.random else access.size
    count = access.count if hits else round(access.count * (1.0 - access.hit_share))
    return Access(access.memory, count, size, access.write, access.random, pieces=access.pieces)
