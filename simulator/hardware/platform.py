"""Prices work on a machine: from bytes, rows and FLOPs to time on devices.

CPU operator. Memory: its bytes at what DRAM sustains for such a stream, or at what the path
between cores and DRAM carries (`memory_path`), whichever takes longer. Threads: each spends
`row_time` on a row and waits for lines of 64 B; with `miss_buffers` x `overlap` lines outstanding
at `memory_latency` each a core moves 64 B x outstanding / latency (Little's law). In-order reads
come by hardware prefetch. Stores read the line first (read for ownership) unless they are
non-temporal. Fresh pages fault on first touch, one fault at a time (the kernel's address-space
lock), whatever the number of threads. The operator takes the longer of the two, the corner
rounded by `sharpness` (asymptotic bounds of a closed queueing network). Its threads are taken all
the while, whether they compute or wait: operators at once share them.

GPU kernel. `kernel_latency` a kernel, then the longest of: HBM at what it sustains for the
stream (rows in whole sectors, hits in L2 left out), L2 bandwidth for all bytes, arithmetic, radix
passes, Hit-Map probes at the random-access rate, and the chain of dependent accesses of one
thread. Arithmetic runs at the rates of `products` for its precision, else at `gemm_efficiency`
x peak. Kernels that the host launches one by one cannot go faster than it launches them.

Copy. Packets of `max_payload` with `packet_overhead`, less flow control; copies to the GPU are
reads by the GPU, so their read requests load the opposite direction; both memories take part, at
the cost that `interference` gives.

Collective. Bytes at bandwidth x efficiency of the links, after a latency.

Approximated: threads share rows evenly; L2 and LLC hits are given by share, not by set; the
memory streams of one operation are spread evenly over its duration.
Ignored: NUMA, TLB misses, clock changes under load, GPU occupancy limits, pageable copies.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import singledispatchmethod

from simulator.config.operators import CpuOperator
from simulator.config.platform import LinkConfig, PlatformConfig, ProductRates
from simulator.hardware.demand import (
    THREAD_POOL,
    Demand,
    Service,
    StageDemand,
    turnaround_factor,
)
from simulator.hardware.memory import MemoryPart
from simulator.hardware.work import (
    Access,
    Collective,
    Copy,
    CpuWork,
    GpuWork,
    HostWait,
    StageWork,
)
from simulator.units import PS_PER_S

__all__ = ["Platform", "link_bandwidth"]

LINE_BYTES = 64
"""Cache line of every CPU modelled (x86 and Arm Neoverse alike)."""
READ_REQUEST_HEADER_BYTES = 24
"""A PCIe memory read request: STP token 4 (sequence number inside), header of 4 double words 16,
LCRC 4 (PCI Express Base Specification 3.0 and later, sections 2.2 and 4.2)."""
SORT_PAIR_BYTES = 8
"""Key and position, 4 bytes each."""


def link_bandwidth(link: LinkConfig) -> float:
    """Payload bytes per second of one direction alone."""
    share = link.max_payload / (link.max_payload + link.packet_overhead)
    return link.raw_bandwidth * share * (1.0 - link.flow_control)


@dataclass(frozen=True)
class Platform:
    """A configured machine that prices operations; holds no clock."""

    config: PlatformConfig
    cpu_dram: MemoryPart
    hbm: MemoryPart
    cpu_threads: int
    """Threads that operators may use (at most the cores there are)."""

    @property
    def turnaround(self) -> Mapping[str, float]:
        """What alternating reads and writes cost each memory (see `Machine`)."""
        return {"cpu_dram": self.cpu_dram.turnaround, "hbm": self.hbm.turnaround}

    @property
    def peak_bandwidth(self) -> Mapping[str, int]:
        """Bytes per second that each device can move at most, from its data sheet."""
        link = self.config.link.raw_bandwidth
        peaks = {
            "cpu_dram": self.cpu_dram.peak_bandwidth,
            "pcie_h2d": link,
            "pcie_d2h": link,
            "hbm": self.hbm.peak_bandwidth,
        }
        if self.config.nvlink is not None:
            peaks["nvlink"] = self.config.nvlink.bandwidth
        return peaks

    def price_stage(self, work: StageWork) -> StageDemand:
        """All operations of a stage, priced."""
        return StageDemand(
            work.name, tuple(tuple(self.price(one) for one in lane) for lane in work.lanes)
        )

    @singledispatchmethod
    def price(self, work: object) -> Demand:
        """Time on devices that `work` needs on this machine."""
        raise TypeError(f"no price for {type(work).__name__}")

    @price.register
    def _(self, work: CpuWork) -> Demand:
        cpu, operator = self.config.cpu, work.operator
        available = min(self.cpu_threads, cpu.cores)
        threads = {"all": available, "tables": min(available, work.tables), "one": 1}[
            operator.threads
        ]
        accesses = [self._with_staging_hits(access) for access in work.accesses]
        streams = [s for access in accesses for s in _to_memory(access, operator)]
        dram = self._through_path(streams, operator)
        thread_ps = work.rows * operator.row_time + sum(
            self._waiting_ps(access, operator) for access in accesses
        )
        faults_ps = self._page_faults_ps(work)
        alone_ps = round(self._rounded_corner(thread_ps / threads, dram) + faults_ps)
        return Demand(
            name=work.name,
            services={
                "cpu_dram": dram,
                "cpu_cores": Service(read_ps=(thread_ps + faults_ps) / cpu.cores),
                THREAD_POOL: Service(read_ps=alone_ps * threads / cpu.cores),
            },
            latency_ps=cpu.thread_start if threads > 1 else 0,
            minimum_ps=alone_ps,
        )

    def _with_staging_hits(self, access: Access) -> Access:
        hits = self.config.cpu.staging_hits
        return replace(access, hit_share=hits) if access.staged and hits else access

    def _through_path(self, streams: Sequence[Access], operator: CpuOperator) -> Service:
        """DRAM's time for `streams`, stretched to that of the path to it where that is longer."""
        dram, path = self.cpu_dram.service(streams), self.config.cpu.memory_path
        if path is None or not dram.ps:
            return dram
        reads = sum(
            s.bytes / (path.random_read if s.random else path.sequential_read)
            for s in streams
            if not s.write
        )
        pieces = sum(s.count for s in streams if s.random and not s.write)
        reads += pieces * path.random_piece / PS_PER_S
        written = sum(s.bytes for s in streams if s.write)
        writes = written / (path.write if operator.nontemporal else path.write_back)
        longer, shorter = max(reads, writes), min(reads, writes)
        path_ps = (longer + (1.0 - path.duplex) * shorter) * PS_PER_S
        return _times(dram, max(1.0, path_ps / self._with_turnaround_ps(dram)))

    def _with_turnaround_ps(self, dram: Service) -> float:
        """Time of CPU DRAM for the reads and writes of one operation."""
        return dram.ps * turnaround_factor(self.cpu_dram.turnaround, dram.read_ps, dram.write_ps)

    def _rounded_corner(self, thread_ps: float, dram: Service) -> float:
        """Time of an operator that threads and memory bound (see `MemoryPath.sharpness`)."""
        path = self.config.cpu.memory_path
        if path is None:
            return thread_ps
        memory_ps = self._with_turnaround_ps(dram)
        longest = max(thread_ps, memory_ps)
        if not longest:
            return 0.0
        parts = (thread_ps / longest) ** path.sharpness + (memory_ps / longest) ** path.sharpness
        return float(longest * parts ** (1.0 / path.sharpness))

    def _waiting_ps(self, access: Access, operator: CpuOperator) -> float:
        """Time that one thread alone would wait for the lines of `access`."""
        cpu = self.config.cpu
        if access.write and access.in_place:
            return 0.0  # in the core's cache since it was read
        if access.write and operator.nontemporal:
            return access.bytes * PS_PER_S / cpu.nontemporal_bandwidth
        lines = _in_lines(access).bytes // LINE_BYTES
        if not (access.random or access.write) and cpu.sequential_bandwidth is not None:
            missed_ps = access.bytes * PS_PER_S / cpu.sequential_bandwidth
            found_ps = lines * cpu.last_level_latency / cpu.miss_buffers
            return access.hit_share * found_ps + (1.0 - access.hit_share) * missed_ps
        outstanding = cpu.miss_buffers * operator.overlap
        latency = (
            access.hit_share * cpu.last_level_latency
            + (1.0 - access.hit_share) * cpu.memory_latency
        )
        return lines * latency / outstanding

    def _page_faults_ps(self, work: CpuWork) -> float:
        """First touch of every fresh page, one after the other under the address-space lock."""
        if not work.operator.fresh_output:
            return 0.0
        cpu = self.config.cpu
        fresh = sum(access.bytes for access in work.accesses if access.write)
        return fresh / cpu.page * cpu.page_fault

    @price.register
    def _(self, work: GpuWork) -> Demand:
        gpu = self.config.gpu
        streams = [_whole_sectors(access, gpu.sector) for access in work.accesses]
        hbm = self.hbm.service(streams)
        sort_bytes = 2 * SORT_PAIR_BYTES * work.sort_pairs * work.sort_passes
        if sort_bytes:
            sort = self.hbm.service([Access(1, sort_bytes, random=False)])
            hbm = Service(
                hbm.read_ps + sort.read_ps,
                hbm.write_ps,
                hbm.bytes + sort.bytes,
                hbm.energy_pj + sort.energy_pj,
            )
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
        return Demand(
            name=work.name,
            services={"hbm": hbm, "gpu": Service(read_ps=busy_ps)},
            latency_ps=latency_ps,
            minimum_ps=round(minimum_ps),
        )

    def _products(self, work: GpuWork) -> ProductRates | None:
        """Measured rates for the products of `work`, where it has any and they are known."""
        found = getattr(self.config.gpu.products, work.precision) if work.flops else None
        assert found is None or isinstance(found, ProductRates)
        return found

    def _arithmetic_ps(self, work: GpuWork) -> float:
        if not work.flops:
            return 0.0
        peaks = self.config.gpu.peak
        peak = getattr(peaks, work.precision) or peaks.fp32
        products = self._products(work)
        if products is None:
            return float(work.flops * PS_PER_S / (peak * self.config.gpu.gemm_efficiency))
        layers_s = (work.flops - work.batched_flops) / (peak * products.efficiency)
        return float((layers_s + work.batched_flops / products.batched) * PS_PER_S)

    @price.register
    def _(self, work: Copy) -> Demand:
        link = self.config.link
        along_ps = work.bytes * PS_PER_S / link_bandwidth(link)
        requests = work.bytes / link.read_request_size
        against = requests * READ_REQUEST_HEADER_BYTES if work.to_gpu else 0.0
        against += work.bytes * (link.acknowledgements or 0.0)
        against_ps = against * PS_PER_S / link.raw_bandwidth
        along, back = ("pcie_h2d", "pcie_d2h") if work.to_gpu else ("pcie_d2h", "pcie_h2d")
        stream = Access(1, work.bytes, random=False)
        into = Access(1, work.bytes, random=False, write=True)
        dram_cost, hbm_cost = _interference(link, work.to_gpu)
        services = {
            along: Service(read_ps=along_ps, bytes=work.bytes),
            "cpu_dram": _times(self.cpu_dram.service([stream if work.to_gpu else into]), dram_cost),
            "hbm": _times(self.hbm.service([into if work.to_gpu else stream]), hbm_cost),
        }
        if against_ps:
            services[back] = Service(read_ps=against_ps)
        return Demand(name=work.name, services=services, latency_ps=link.latency)

    @price.register
    def _(self, work: Collective) -> Demand:
        links = self.config.nvlink
        if links is None:
            raise ValueError(f"platform {self.config.name!r} has no links between GPUs")
        link_ps = work.bytes * PS_PER_S / (links.bandwidth * links.efficiency)
        return Demand(
            name=work.name,
            services={
                "nvlink": Service(read_ps=link_ps, bytes=work.bytes),
                "hbm": self.hbm.service(
                    [
                        Access(1, work.bytes, random=False),
                        Access(1, work.bytes, random=False, write=True),
                    ]
                ),
            },
            latency_ps=links.latency,
        )

    @price.register
    def _(self, work: HostWait) -> Demand:
        return Demand(name=work.name, latency_ps=self.config.gpu.synchronize)


def _interference(link: LinkConfig, to_gpu: bool) -> tuple[float, float]:
    """Cost of a copied byte to CPU DRAM and to HBM relative to a stream's."""
    cost = link.interference
    if cost is None:
        return 1.0, 1.0
    return (cost.dram_read, cost.hbm_write) if to_gpu else (cost.dram_write, cost.hbm_read)


def _times(service: Service, factor: float) -> Service:
    """`service` with its time (not its bytes or energy) multiplied."""
    return replace(service, read_ps=service.read_ps * factor, write_ps=service.write_ps * factor)


def _in_lines(access: Access) -> Access:
    """A CPU access in whole cache lines: each random piece, or the whole of an in-order stream."""
    if access.random:
        lines = -(-access.size // LINE_BYTES)
        return replace(access, size=lines * LINE_BYTES)
    return replace(access, count=-(-access.bytes // LINE_BYTES), size=LINE_BYTES)


def _to_memory(access: Access, operator: CpuOperator) -> list[Access]:
    """What reaches DRAM of a CPU access: misses only, in whole lines, reads for ownership."""
    whole = _in_lines(access)
    stream = replace(whole, count=round(whole.count * (1.0 - access.hit_share)))
    if not access.write or access.in_place or operator.nontemporal:
        return [stream]
    return [replace(stream, write=False), stream]


def _whole_sectors(access: Access, sector: int, *, hits: bool = False) -> Access:
    """A GPU access in whole sectors: what reaches HBM, or (`hits`) all that passes L2."""
    size = -(-access.size // sector) * sector if access.random else access.size
    count = access.count if hits else round(access.count * (1.0 - access.hit_share))
    return Access(count, size, access.write, access.random, pieces=access.pieces)
