"""A graphics processor.

Modelled. A kernel: `kernel_latency`, then the longest of: HBM at what it sustains for the stream
(rows in whole sectors, hits in L2 left out) or another memory with the links to it, L2 bandwidth
for all lines, instructions of the software for each line, arithmetic, and the chain of dependent
accesses of one thread; radix passes and Hit-Map probes come after the streams of their operation,
for they are kernels of their own. Matrix products run at the rates of `products`. A
kernel holds as many of the SMs as its threads fill, for as long as it would run alone: kernels of
several streams that each fill the GPU take turns. The host submits a kernel in `launch` and what
the software adds to it.

Random rows come out unevenly spread over the channels of HBM (`_unevenness`).

Approximated: L2 hits are given by share, not by set; power is proportional to the greater of
arithmetic and memory activity, and the board's power includes its HBM; a kernel's blocks are taken
to be spread evenly. Ignored: registers and shared memory as limits of occupancy, clock changes
under load, copy engines (copies of one direction share the link as they would share an engine).
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
    POSITION_BYTES,
    RADIX_BITS,
    Add,
    Buffer,
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

WARP = 32
"""Threads that work on one row or bag."""
SORT_ITEMS = 16
"""Pairs of one thread of a radix sort (CUB)."""
STREAM_BYTES = 16
"""Bytes of one thread of a kernel that passes over a buffer."""

Fraction = Annotated[float, Field(ge=0, le=1)]
PositiveInt = Annotated[int, Field(gt=0)]


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
    """`ProductRates` of each precision that the GPU offers."""

    fp32: ProductRates | None = None
    tf32: ProductRates | None = None
    fp16: ProductRates | None = None
    bf16: ProductRates | None = None


class Gpu(Part):
    """One GPU."""

    links: ClassVar[bool | None] = False
    kind: Literal["gpu"]
    reported_as: tuple[str, ...] = ()
    """What its driver calls it (`torch.cuda.get_device_properties(0).name`): how a calibration
    recognises a measured machine."""
    peak: Precisions
    products: Products
    """The MLPs' matrix products."""
    sms: PositiveInt
    """Streaming multiprocessors."""
    threads_per_sm: PositiveInt
    """Threads that one of them holds at once."""
    launch: Picoseconds
    """Host time that the driver takes to submit one kernel, copy or captured graph."""
    synchronize: Picoseconds
    """Host time from the end of a stream's last work to the return of a wait for it."""
    kernel_latency: Picoseconds
    """Start and drain of one kernel: its duration when it has nothing to do."""
    dependent_access: Picoseconds
    """An access of one thread to HBM that waits for the one before it (index, then row)."""
    l2_cache: Bytes
    l2_bandwidth: BytesPerSecond
    """Bytes per second that pass L2, in whole lines."""
    l2_line: Bytes
    """What one tag of L2 covers: pieces of it take as long as the whole."""
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
        rates = self.products.model_dump()
        peaks = {k: v for k, v in self.peak.model_dump().items() if rates[k] is not None}
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
    threads: int | None = None
    """Threads of its largest kernel; None: as many as the GPU holds."""
    choosing_ps: int = 0
    """Time in which it does nothing else: how Plan chooses its victims."""
    line_time: int = 0
    """Picoseconds that a multiprocessor spends on instructions for each line of L2."""
    submissions: int | None = None
    """What the host submits: each kernel (None), or fewer where they are captured."""
    submission_ps: int | None = None
    """Host time of one; None: of a kernel of the embedding operators."""


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
        self._sms, self._l2 = f"{self.name}.sm", f"{self.name}.cache"
        self._host = f"{self.name}.launch"

    @property
    def memories(self) -> tuple[Memory, ...]:
        return (self.hbm,)

    @property
    def resources(self) -> tuple[Resource, ...]:
        return (
            self.hbm.resource,
            Resource(self._sms, self.name, "gpu"),
            Resource(self._l2, self.name, "l2"),
            Resource(self._host, self.name, "host"),
        )

    def submission(self, software: OperatorProfile) -> tuple[str, int]:
        return self._host, self.part.launch + software.gpu.submission

    keeps_rows: ClassVar[bool] = False
    """Activations, gradients and updates of a mini-batch pass L2 between two lookups: it starts
    without rows."""

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
            self._stream(rows.lookups * software.id_bytes),
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
        bags = word.into.bytes // store.row_bytes
        return self._kernels(
            word,
            software,
            reach,
            kernels,
            accesses,
            chain=chain,
            threads=bags * WARP,
            line_time=software.gpu.pool_line_time,
        )

    def _expand(self, word: Expand, software: OperatorProfile, reach: Reach) -> Demand:
        accesses = (
            self._stream(word.source.bytes),
            self._stream(word.rows.lookups * word.gradient_bytes, write=True),
        )
        threads = word.rows.lookups * WARP
        return self._kernels(
            word, software, reach, _sets(software, word.tables), accesses, threads=threads
        )

    def _sort(self, word: Sort, software: OperatorProfile, reach: Reach) -> Demand:
        """A histogram of all digits and their prefix sums, then a kernel a radix pass."""
        sets, pairs = _sets(software, word.tables), word.rows.lookups
        passes = math.ceil(key_bits(word.key_rows // sets) / RADIX_BITS)
        return self._kernels(
            word,
            software,
            reach,
            2 * sets,
            sort_pairs=pairs,
            sort_passes=passes,
            sorts=sets,
            threads=pairs // sets // SORT_ITEMS,
            submissions=(2 + passes) * sets,
        )

    def _update(self, word: Update, software: OperatorProfile, reach: Reach) -> Demand:
        """Sums the gradients of equal ids on the way; pooled gradients are found in L2 after the
        first read of each, as far as L2 holds them all."""
        rows, store, vectors = word.rows, word.writes, word.source.bytes
        again = max(0.0, 1.0 - vectors / word.gradient_bytes / max(1, rows.lookups))
        held = min(1.0, self.part.l2_cache / vectors) if vectors else 0.0
        hits = 0.0 if word.expanded else again * held
        gradients = Access(
            self.hbm.place, rows.lookups, word.gradient_bytes, hit_share=hits, buffer=True
        )
        pieces = store.pieces(rows)
        update = tuple(
            Access(store.memory, rows.rows, size, write=write, pieces=pieces)
            for size in (store.row_bytes, store.state_bytes)
            if size
            for write in (False, True)
        )
        lists = self._stream(rows.lookups * (software.id_bytes + POSITION_BYTES))
        accesses = (lists, gradients, *update)
        kernels = _sets(software, store.tables)
        return self._kernels(
            word,
            software,
            reach,
            kernels,
            accesses,
            chain=UPDATE_CHAIN,
            threads=rows.rows * WARP,
            line_time=software.gpu.update_line_time,
        )

    def _gather(self, word: Gather, software: OperatorProfile, reach: Reach) -> Demand:
        rows, store, size = word.rows.rows, word.reads, word.reads.entry_bytes
        accesses = (
            Access(store.memory, rows, size, pieces=store.pieces(word.rows)),
            Access(word.into.memory, rows, size, write=True, random=False),
        )
        return self._kernels(word, software, reach, 1 if rows else 0, accesses, threads=rows * WARP)

    def _scatter(self, word: Scatter, software: OperatorProfile, reach: Reach) -> Demand:
        rows, store, size = word.rows.rows, word.writes, word.writes.entry_bytes
        accesses = (
            Access(word.source.memory, rows, size, random=False),
            Access(store.memory, rows, size, write=True, pieces=store.pieces(word.rows)),
        )
        return self._kernels(word, software, reach, 1 if rows else 0, accesses, threads=rows * WARP)

    def _plan(self, word: Plan, software: OperatorProfile, reach: Reach) -> Demand:
        """Kernels: mark and look up; compact misses; scan ages; choose victims; update maps.

        Two scans over the ages of all slots (how many are idle; which are the victims), then
        probes of what is larger than L2: a lookup reads its Hit-Map entry; a miss writes its own
        and erases the victim's, each a read of the sector and a write. Ages of slots, 4 B each,
        are taken to be in L2 when they are stamped.
        """
        accesses = (
            self._stream(word.lookups * software.id_bytes),
            self._stream(2 * word.slots * POSITION_BYTES),
            self._stream(word.unique * software.id_bytes, write=True),
            *_lists(word.lists),
        )
        probes = word.lookups + 4 * word.missed
        return self._kernels(
            word,
            software,
            reach,
            5,
            accesses,
            probes=probes,
            choosing_ps=word.slots * software.gpu.plan_slot_time,
            threads=max(word.lookups, word.slots),
        )

    def _split(self, word: Split, software: OperatorProfile, reach: Reach) -> Demand:
        ids = word.lookups * software.id_bytes
        accesses = (self._stream(ids), self._stream(ids, write=True), *_lists(word.lists))
        lookups = word.lookups
        return self._kernels(word, software, reach, 2, accesses, probes=lookups, threads=lookups)

    def _add(self, word: Add, software: OperatorProfile, reach: Reach) -> Demand:
        accesses = (
            self._stream(sum(source.bytes for source in word.sources)),
            self._stream(word.into.bytes, write=True),
        )
        threads = word.into.bytes // STREAM_BYTES
        return self._kernels(word, software, reach, 1, accesses, threads=threads)

    def _dense(self, word: Dense, software: OperatorProfile, reach: Reach) -> Demand:
        """One captured graph, or kernels that the framework dispatches one by one."""
        eager = software.gpu.mlp == "eager"
        activations, weights = word.activation_bytes, word.weight_bytes
        accesses = (
            self._stream(2 * activations + 3 * weights),
            self._stream(2 * activations + 2 * weights, write=True),
        )
        return self._kernels(
            word,
            software,
            reach,
            word.kernels,
            accesses,
            flops=word.flops,
            batched_flops=word.batched_flops,
            precision=word.precision,
            submissions=word.kernels if eager else 1,
            submission_ps=software.gpu.kernel_dispatch if eager else None,
        )

    def _wait(self, word: Wait, software: OperatorProfile, reach: Reach) -> Demand:
        del software, reach
        wait = self.part.synchronize
        return Demand(name=word.name, host=self._host, host_ps=wait, blocks=True)

    def _stream(self, size: int, *, write: bool = False) -> Access:
        """Bytes of its own memory in order."""
        return Access(self.hbm.place, 1, size, write=write, random=False)

    # what kernels cost

    def _kernels(
        self,
        word: Operation,
        software: OperatorProfile,
        reach: Reach,
        kernels: int,
        accesses: tuple[Access, ...] = (),
        **terms: object,
    ) -> Demand:
        work = GpuKernels(word.name, self.name, kernels, accesses, **terms)  # type: ignore[arg-type]
        return self._priced(work, software, reach)

    def _priced(self, work: GpuKernels, software: OperatorProfile, reach: Reach) -> Demand:
        if not work.kernels:
            return Demand(name=work.name)
        gpu, services = self.part, self._memories(work, reach)
        through_l2 = self._through_l2(work)
        l2_ps = through_l2 * PS_PER_S / gpu.l2_bandwidth
        issue_ps = through_l2 / gpu.l2_line * work.line_time / gpu.sms
        products = self._products(work)
        kernel_ps = gpu.kernel_latency if products is None else products.kernel_latency
        gaps_ps = (work.kernels - 1) * kernel_ps
        gaps_ps += work.sorts * work.sort_passes * gpu.sort_pass_latency
        arithmetic_ps = self._arithmetic_ps(work, products)
        away_ps = [s.ps for name, s in services.items() if name != self.hbm.place]
        memory_ps = max([self.hbm.alone_ps(services[self.hbm.place]), *away_ps])
        passes_ps = work.choosing_ps + work.probes * PS_PER_S / gpu.random_access_rate
        passes_ps += work.sort_pairs * work.sort_passes * PS_PER_S / gpu.sort_rate
        chain_ps = work.chain * gpu.dependent_access
        streams_ps = max(memory_ps, l2_ps, arithmetic_ps, issue_ps, chain_ps)
        alone_ps = gaps_ps + streams_ps + passes_ps
        services[self._l2] = Service(read_ps=l2_ps)
        services[self._sms] = Service(read_ps=self._occupancy(work) * alone_ps)
        each = gpu.launch + software.gpu.submission
        each = each if work.submission_ps is None else work.submission_ps
        submissions = work.kernels if work.submissions is None else work.submissions
        return Demand(
            name=work.name,
            services=services,
            latency_ps=kernel_ps,
            minimum_ps=round(alone_ps),
            host=self._host,
            submit_ps=each,
            submit_more_ps=(submissions - 1) * each,
        )

    def _occupancy(self, work: GpuKernels) -> float:
        """Share of the SMs that its threads fill."""
        resident = self.part.sms * self.part.threads_per_sm
        return 1.0 if work.threads is None else min(1.0, work.threads / resident)

    def _through_l2(self, work: GpuKernels) -> int:
        """Bytes of the lines that pass L2, hits included."""
        return sum(_in_pieces(a, self.part.l2_line, hits=True).bytes for a in work.accesses)

    def _memories(self, work: GpuKernels, reach: Reach) -> dict[str, Service]:
        """Services of its own memory (radix passes included) and of any other that it reads."""
        streams = [_in_pieces(access, self.part.sector) for access in work.accesses]
        own = self.hbm.place
        rows = [s for s in streams if s.memory == own and s.random]
        hbm = self.hbm.service([s for s in streams if s.memory == own and not s.random])
        if rows:
            hbm += self.hbm.service(rows).scaled(self._unevenness(sum(s.count for s in rows)))
        sort_bytes = 2 * SORT_PAIR_BYTES * work.sort_pairs * work.sort_passes
        if sort_bytes:
            hbm += self.hbm.service([self._stream(sort_bytes)])
        services = {own: hbm}
        for place in dict.fromkeys(s.memory for s in streams if s.memory != own):
            services |= reach(place).services([s for s in streams if s.memory == place])
        return services

    def _unevenness(self, rows: int) -> float:
        """Time of random rows over N pseudo-channels relative to rows that are spread evenly.

        In flight: those of W resident warps, each with one; a closed network of N equal queues is
        busy for W / (W + N - 1) of the time (Jackson networks; exponential service). In the end:
        the fullest of N channels has about sqrt(2 ln N) standard deviations more than the mean of
        rows / N (extremes of a binomial distribution).
        """
        organization = self.part.memory.organization
        channels = organization.channels * organization.pseudo_channels
        if not rows or channels < 2:
            return 1.0
        warps = self.part.sms * self.part.threads_per_sm // WARP
        waiting = 1.0 + (channels - 1) / warps
        return waiting * (1.0 + math.sqrt(2.0 * math.log(channels) * channels / rows))

    def _products(self, work: GpuKernels) -> ProductRates | None:
        """Rates for the products of `work`, where it has any."""
        rates = getattr(self.part.products, work.precision) if work.flops else None
        assert rates is None or isinstance(rates, ProductRates)
        return rates

    def _arithmetic_ps(self, work: GpuKernels, products: ProductRates | None) -> float:
        if products is None:
            return 0.0
        peak = getattr(self.part.peak, work.precision)
        layers_s = (work.flops - work.batched_flops) / (peak * products.efficiency)
        return float((layers_s + work.batched_flops / products.batched) * PS_PER_S)


def _sets(software: OperatorProfile, tables: int) -> int:
    """Kernels of each kind: one set for all tables, or one a table."""
    return tables if software.gpu.kernels_per_table else 1


def _lists(buffer: Buffer | None) -> tuple[Access, ...]:
    """A list that a kernel writes where `buffer` lies, in order."""
    if buffer is None:
        return ()
    return (Access(buffer.memory, 1, buffer.bytes, write=True, random=False),)


def _in_pieces(access: Access, piece: int, *, hits: bool = False) -> Access:
    """A GPU access in whole pieces (sectors, lines): what reaches memory, or (`hits`) all."""
    size = -(-access.size // piece) * piece if access.random else access.size
    count = access.count if hits else round(access.count * (1.0 - access.hit_share))
    return Access(
        access.memory,
        count,
        size,
        access.write,
        access.random,
        pieces=access.pieces,
        buffer=access.buffer,
    )
