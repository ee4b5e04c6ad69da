"""A graphics processor.

Modelled. A kernel: `kernel_latency`, then the longest of: HBM at what it sustains for the stream
(rows in whole sectors, hits in L2 left out) or another memory with the links to it (zero-copy: a
request for each line of a row or what the row has of it), L2 bandwidth for all lines, instructions
of the software for each line, waits of as many warps as registers let it hold (where the software
says so), and the chain of dependent accesses of one thread, to which the run of a hot row's
gradients belongs where one warp sums it (few SMs are held meanwhile); radix passes, Hit-Map probes,
matrix products and the pairs that a dot interaction picks come after the streams of their
operation, for they are kernels of their own. Matrix products run at the rates of `products`. A
kernel holds as many of the SMs as its threads fill, for as long as it would run alone: kernels of
several streams that each fill the GPU take turns. The host submits a kernel in `launch` and what
the software adds to it.

Random rows come out unevenly spread over the channels of HBM (`_unevenness`).

Approximated: L2 hits are given by share, not by set; power is proportional to the greater of
arithmetic and memory activity, and the board's power includes its HBM; a kernel's blocks are taken
to be spread evenly. Ignored: activations that L2 still holds, products whose rows are no multiples
of 16 B (their loads are slower), registers and shared memory as limits of occupancy but for
`gpu_pool.resident_warps`, clock changes under load, copy engines (copies of one direction share the
link as they would share an engine).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, ClassVar, Literal

from simulator.columns import by_element, least, most
from simulator.config.machine import Part
from simulator.config.model import ModelConfig
from simulator.config.operators import OperatorProfile
from simulator.config.sections import RunConfig
from simulator.config.types import (
    AccessRate,
    Bytes,
    BytesPerSecond,
    FlopPerSecond,
    Frozen,
    Picoseconds,
    Positive,
    Reached,
    Watts,
)
from simulator.errors import Problem
from simulator.hardware.access import Access
from simulator.hardware.demand import Demand, Resource, ResourceUse, Service
from simulator.hardware.devices.base import Processor, Reach, Setup, dynamic_j
from simulator.hardware.devices.bounds import LineBytes
from simulator.hardware.devices.dram import Dram
from simulator.hardware.devices.gpu_words import KERNELS as TRAINING_KERNELS
from simulator.hardware.devices.gpu_words import WARP, Board, GpuKernels
from simulator.hardware.devices.noise_words import NOISE_KERNELS
from simulator.hardware.devices.pool_words import pooled
from simulator.hardware.devices.update_words import UPDATE_KERNELS, adds_atomically
from simulator.hardware.memory import Memory
from simulator.hardware.program import Operation, Pool, Wait
from simulator.units import PS_PER_S

__all__ = ["Gpu", "GpuDevice", "GpuKernels", "Precisions", "ProductRates", "Products"]

KERNELS: Mapping[type[Operation], Callable[[Any, OperatorProfile, Board], GpuKernels]] = {
    **TRAINING_KERNELS,
    **UPDATE_KERNELS,
    **NOISE_KERNELS,
    Pool: pooled,
}
"""How each word becomes kernels."""
SORT_PAIR_BYTES = 8
"""Key and position, 4 bytes each."""


class Precisions(Frozen):
    """Peak arithmetic rate of the GPU's matrix multiplications by input precision."""

    fp32: FlopPerSecond
    tf32: FlopPerSecond | None = None
    fp16: FlopPerSecond | None = None
    bf16: FlopPerSecond | None = None


class ProductRates(Frozen):
    """The MLPs' matrix products in one precision, as the sizes of their layers allow."""

    efficiency: Reached
    """Share of the peak that the products of layers reach."""
    kernel_latency: Picoseconds
    """Mean time of one kernel of a captured training step with next to nothing to do: start,
    drain, and the steps of a product that follow each other whatever the batch size."""
    batched: FlopPerSecond
    """Rate of the batched products of a few vectors (the dot interaction), in FLOP of the tiles
    that they are computed in."""
    selection: AccessRate
    """Pairs of vectors a second whose product is picked from the batched products, and whose
    gradient is put back."""


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
    sms: Positive
    """Streaming multiprocessors."""
    threads_per_sm: Positive
    """Threads that one of them holds at once."""
    launch: Picoseconds
    """Host time that the driver takes to submit one kernel, copy or captured graph."""
    synchronize: Picoseconds
    """Host time from the end of a stream's last work to the return of a wait for it."""
    kernel_latency: Picoseconds
    """Start and drain of one kernel: its duration when it has nothing to do."""
    dependent_access: Picoseconds
    """An access of one thread to HBM that waits for the one before it (index, then row)."""
    l2_access: Picoseconds = "225 ns"  # type: ignore[assignment]
    """The same where L2 has it."""
    l2_cache: Bytes
    l2_bandwidth: BytesPerSecond
    """Bytes per second that pass L2, in whole lines."""
    l2_line: LineBytes
    """What one tag of L2 covers: pieces of it take as long as the whole."""
    sector: LineBytes
    """Smallest piece that L2 fetches from memory."""
    sort_rate: AccessRate
    """(key, position) pairs per second and radix pass of 8 bits, of a large sort."""
    sort_pass_latency: Picoseconds
    """One radix pass with nothing to sort."""
    random_access_rate: AccessRate
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


class GpuDevice(Processor):
    """A GPU on its machine; brings its HBM."""

    part: Gpu
    rules: ClassVar[Mapping[type[Operation], str]] = {
        GpuKernels: "_priced",
        **dict.fromkeys(KERNELS, "_price_word"),
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

    def occupied(self, parts: int, ps: float) -> dict[str, Service]:
        return {self._sms: Service(read_ps=ps * min(parts, self.part.sms) / self.part.sms)}

    def submission(self, software: OperatorProfile) -> tuple[str, int]:
        return self._host, self.part.launch + software.gpu.submission

    keeps_rows: ClassVar[bool] = False
    """Activations, gradients and updates of a mini-batch pass L2 between two lookups: it starts
    without rows."""

    def cached_rows(self, row_bytes: int) -> int:
        return self.part.l2_cache // row_bytes

    def pinned_rows(self, software: OperatorProfile) -> int:
        return software.gpu_pool.pinned_rows

    def training_passes(
        self, software: OperatorProfile, optimizer: str = "sgd"
    ) -> tuple[tuple[str, str], ...]:
        names = ["expand"] if software.gpu.expand else []
        names += ["update"] if adds_atomically(software, optimizer) else ["sort", "update"]
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

    def _wait(self, word: Wait, software: OperatorProfile, reach: Reach) -> Demand:
        del software, reach
        wait = self.part.synchronize
        return Demand(name=word.name, host=self._host, host_ps=wait, blocks=True)

    # what kernels cost

    def _price_word(self, word: Operation, software: OperatorProfile, reach: Reach) -> Demand:
        board = Board(self.name, self.hbm.place, self.part.l2_cache)
        return self._priced(KERNELS[type(word)](word, software, board), software, reach)

    def _priced(self, work: GpuKernels, software: OperatorProfile, reach: Reach) -> Demand:
        if not work.kernels:
            return Demand(name=work.name)
        gpu, services = self.part, self._memories(work, reach)
        through_l2 = self._through_l2(work)
        l2_ps = through_l2 * PS_PER_S / gpu.l2_bandwidth
        issue_ps = through_l2 / gpu.l2_line * work.line_time / gpu.sms
        issue_ps += work.instructions_ps / gpu.sms
        products = self._products(work)
        kernel_ps = gpu.kernel_latency if products is None else products.kernel_latency
        gaps_ps = (work.kernels - 1) * kernel_ps
        gaps_ps += work.sorts * work.sort_passes * gpu.sort_pass_latency
        arithmetic_ps = self._arithmetic_ps(work, products)
        away_ps = [s.ps for name, s in services.items() if name != self.hbm.place]
        memory_ps = most(self.hbm.alone_ps(services[self.hbm.place]), *away_ps)
        passes_ps = work.choosing_ps + work.probes * PS_PER_S / gpu.random_access_rate
        passes_ps += work.sort_pairs * work.sort_passes * PS_PER_S / gpu.sort_rate
        chain_ps = work.chain * gpu.dependent_access + self._away_ps(work, reach)
        waiting_ps = most(work.waiting_ps / gpu.sms, self._waiting_ps(work, reach))
        shared_ps = most(memory_ps, l2_ps, issue_ps, chain_ps, waiting_ps)
        busy_ps = gaps_ps + arithmetic_ps + shared_ps + passes_ps
        alone_ps = busy_ps + most(0.0, chain_ps + work.run_ps - shared_ps)
        services[self._l2] = Service(read_ps=l2_ps)
        services[self._sms] = Service(read_ps=self._occupancy(work) * busy_ps)
        host, each = self.submission(software)
        each = each if work.submission_ps is None else work.submission_ps
        submissions = work.kernels if work.submissions is None else work.submissions
        return Demand(
            name=work.name,
            services=services,
            latency_ps=kernel_ps,
            minimum_ps=round(alone_ps),
            host=host,
            submit_ps=each,
            submit_more_ps=(submissions - 1) * each,
            blocks=work.blocks,
        )

    def _occupancy(self, work: GpuKernels) -> float:
        """Share of the SMs that its threads fill."""
        resident = self.part.sms * self._warps(work) * WARP
        filled = 1.0 if work.threads is None else least(1.0, work.threads / resident)
        share: float = least(filled, work.share)
        return share

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
            hbm += self.hbm.service([Access(own, 1, sort_bytes, random=False)])
        services = {own: hbm}
        for place in dict.fromkeys(s.memory for s in streams if s.memory != own):
            away = [self._requested(s) for s in streams if s.memory == place]
            services |= reach(place).services(away)
        return services

    def _requested(self, access: Access) -> Access:
        """An access beyond a link: rows are asked for line by line."""
        if not access.random:
            return access
        lines = -(-access.size // self.part.l2_line)
        return replace(access, request=access.size / lines)

    def _away_ps(self, work: GpuKernels, reach: Reach) -> int:
        """Time of the loads from other memories that one thread makes one after the other."""
        rows = (a for a in work.accesses if a.random and not a.write)
        places = {a.memory for a in rows if a.memory != self.hbm.place and a.bytes}
        away = [reach(place).load_latency_ps for place in places]
        return work.away_chain * max(away, default=0)

    def _warps(self, work: GpuKernels) -> int:
        """Warps of it that a multiprocessor holds at once."""
        room = max(1, self.part.threads_per_sm // WARP)
        return room if work.resident_warps is None else min(room, work.resident_warps)

    def _waiting_ps(self, work: GpuKernels, reach: Reach) -> float:
        """Waits of all warps for rows, so many at a time as the multiprocessors hold."""
        if work.resident_warps is None:
            return 0.0
        rows = [a for a in work.accesses if a.random and not (a.write or a.buffer)]
        each = sum(a.count * self._load_ps(a, reach) for a in rows) * work.waits_per_row
        return each / (self.part.sms * self._warps(work))

    def _load_ps(self, access: Access, reach: Reach) -> float:
        """Mean wait for a row."""
        missed: float = self.part.dependent_access
        if access.memory != self.hbm.place:
            missed += reach(access.memory).load_latency_ps
        hits = access.hit_share
        return hits * self.part.l2_access + (1.0 - hits) * missed

    def _unevenness(self, rows: int) -> float:
        """Time of random rows over N pseudo-channels relative to rows that are spread evenly.

        In flight: those of W resident warps, each with one; a closed network of N equal queues is
        busy for W / (W + N - 1) of the time (Jackson networks; exponential service). In the end:
        the fullest of N channels has about sqrt(2 ln N) standard deviations more than the mean of
        rows / N (extremes of a binomial distribution).
        """
        organization = self.part.memory.organization
        channels = organization.channels * organization.pseudo_channels
        warps = self.part.sms * self.part.threads_per_sm // WARP
        return 1.0 if channels < 2 else _unevenness(rows, channels, warps)

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
        interaction_s = work.batched_flops / products.batched + work.pairs / products.selection
        return float((layers_s + interaction_s) * PS_PER_S)


@by_element
def _unevenness(rows: int, channels: int, warps: int) -> float:
    if not rows:
        return 1.0
    waiting = 1.0 + (channels - 1) / warps
    return waiting * (1.0 + math.sqrt(2.0 * math.log(channels) * channels / rows))


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
        among=access.among,
        distinct=access.distinct,
        ascending=access.ascending,
    )
