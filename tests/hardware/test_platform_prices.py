"""Mechanisms that price an operation, one at a time, against arithmetic on paper."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import pytest
from simulator.hardware.platform import Platform, link_bandwidth
from simulator.hardware.work import Access, Copy, CpuWork, GpuWork

from simulator.config.catalogue import load_named
from simulator.config.operators import CpuOperator
from simulator.hardware.demand import turnaround_factor
from simulator.hardware.memory import MemoryPart

GB = 10**9
H200 = load_named("platforms", "h200")


class Flat:
    """A memory that moves every stream at one rate."""

    peak_bandwidth = 1000 * GB
    turnaround = 0.0
    standing_w = 0.0
    sampling_error = 0.0

    def stream_ps(self, access: Access) -> float:
        return access.bytes * 1e12 / self.peak_bandwidth

    def stream_pj(self, access: Access) -> float:
        return 0.0


def platform(threads: int = 16, **parts: dict[str, Any]) -> Platform:
    """The H200 server on flat memories of 1000 GB/s, with changed keys of its parts."""
    config = H200.model_copy(
        update={name: getattr(H200, name).model_copy(update=new) for name, new in parts.items()}
    )
    return Platform(config, MemoryPart(Flat()), MemoryPart(Flat()), threads)


def operator(**changes: Any) -> CpuOperator:
    keys: dict[str, Any] = {"threads": "all", "row_time": "0 ps", "overlap": 1.0, "source": "test"}
    return CpuOperator(**(keys | changes))


def cpu(accesses: Sequence[Access], **changes: Any) -> CpuWork:
    return CpuWork("x", operator(**changes), tuple(accesses), rows=0, tables=1)


def path(**changes: Any) -> Any:
    even = dict.fromkeys(("random_read", "sequential_read", "write", "write_back"), 100 * GB)
    return H200.cpu.memory_path.model_copy(
        update=even | {"random_piece": 0, "duplex": 0.0, "sharpness": 64.0} | changes
    )


READ = Access(1_000_000, 512)
WRITE = Access(1_000_000, 512, write=True, random=False)
AT_100_GB = 1_000_000 * 512 / 100e9 * 1e12


def dram_ps(machine: Platform, work: CpuWork) -> float:
    return machine.price(work).services["cpu_dram"].ps


def test_the_path_to_dram_binds_where_it_is_slower_than_dram() -> None:
    assert dram_ps(platform(cpu={"memory_path": path()}), cpu([READ])) == pytest.approx(AT_100_GB)
    assert dram_ps(platform(cpu={"memory_path": None}), cpu([READ])) == pytest.approx(
        AT_100_GB / 10
    )
    wide = path(random_read=5000 * GB)
    assert dram_ps(platform(cpu={"memory_path": wide}), cpu([READ])) == pytest.approx(
        AT_100_GB / 10
    )


def test_each_random_row_costs_the_path_its_translation() -> None:
    machine = platform(cpu={"memory_path": path(random_piece=1000)})
    assert dram_ps(machine, cpu([READ])) == pytest.approx(AT_100_GB + 1_000_000 * 1000)
    in_order = Access(1_000_000, 512, random=False)
    assert dram_ps(machine, cpu([in_order])) == pytest.approx(AT_100_GB)


@pytest.mark.parametrize(("duplex", "times"), [(0.0, 2.0), (0.5, 1.5), (1.0, 1.0)])
def test_reads_and_writes_share_the_path_as_duplex_says(duplex: float, times: float) -> None:
    machine = platform(cpu={"memory_path": path(duplex=duplex)})
    both = cpu([READ, WRITE], nontemporal=True)
    assert dram_ps(machine, both) == pytest.approx(times * AT_100_GB)


def test_evicted_lines_and_streaming_stores_have_rates_of_their_own() -> None:
    machine = platform(cpu={"memory_path": path(write_back=50 * GB)})
    in_place = dataclasses.replace(WRITE, random=True, in_place=True)
    assert dram_ps(machine, cpu([in_place])) == pytest.approx(2 * AT_100_GB)
    assert dram_ps(machine, cpu([WRITE], nontemporal=True)) == pytest.approx(AT_100_GB)


@pytest.mark.parametrize(("sharpness", "times"), [(1.0, 2.0), (2.0, math.sqrt(2)), (64.0, 1.011)])
def test_the_corner_between_threads_and_memory_is_rounded(sharpness: float, times: float) -> None:
    config = {"memory_path": path(sharpness=sharpness)}
    machine = platform(threads=1, cpu=config)
    lines = READ.count * 8
    latency = round(AT_100_GB / lines * H200.cpu.miss_buffers)
    even = platform(threads=1, cpu=config | {"memory_latency": latency})
    assert even.price(cpu([READ])).minimum_ps == pytest.approx(times * AT_100_GB, rel=1e-3)
    assert machine.price(cpu([READ])).minimum_ps >= AT_100_GB


def test_rows_in_order_arrive_by_prefetch() -> None:
    machine = platform(1, cpu={"memory_path": None, "sequential_bandwidth": 10 * GB})
    stream = Access(1, 512_000_000, random=False)
    assert machine.price(cpu([stream])).minimum_ps == pytest.approx(10 * AT_100_GB)


def test_small_pieces_in_order_share_lines() -> None:
    machine = platform(cpu={"memory_path": None})
    ids = cpu([Access(1_000_000, 8, random=False)])
    assert machine.price(ids).services["cpu_dram"].bytes == 8_000_000
    scattered = cpu([Access(1_000_000, 8)])
    assert machine.price(scattered).services["cpu_dram"].bytes == 64_000_000


def test_what_the_cache_holds_of_a_staging_buffer_is_not_read_from_dram() -> None:
    staged = dataclasses.replace(WRITE, write=False, staged=True)
    machine = platform(cpu={"memory_path": path(), "staging_hits": 0.75})
    assert dram_ps(machine, cpu([staged])) == pytest.approx(0.25 * AT_100_GB)
    plain = dataclasses.replace(staged, staged=False)
    assert dram_ps(machine, cpu([plain])) == pytest.approx(AT_100_GB)


def test_products_have_measured_rates_by_precision() -> None:
    machine = platform()
    work = GpuWork("mlp", kernels=10, flops=3 * 10**9, batched_flops=10**9)
    rates = H200.gpu.products.fp32
    seconds = 2e9 / (H200.gpu.peak.fp32 * rates.efficiency) + 1e9 / rates.batched
    demand = machine.price(work)
    assert demand.services["gpu"].ps == pytest.approx(seconds * 1e12)
    assert demand.latency_ps == 10 * rates.kernel_latency
    half = dataclasses.replace(work, precision="bf16")
    assert machine.price(half).latency_ps == 10 * H200.gpu.kernel_latency


def test_a_chain_of_dependent_accesses_bounds_a_small_kernel() -> None:
    machine = platform(gpu={"dependent_access": 500_000})
    assert machine.price(GpuWork("pool", kernels=1, chain=7)).minimum_ps == 3_500_000
    unknown = platform(gpu={"dependent_access": None})
    assert unknown.price(GpuWork("pool", kernels=1, chain=7)).minimum_ps == 0


def test_copies_cost_memories_what_interference_says() -> None:
    size = 10**9
    interference = H200.link.interference.model_copy(
        update={"dram_read": 0.5, "dram_write": 2.0, "hbm_read": 1.0, "hbm_write": 4.0}
    )
    machine = platform(link={"interference": interference})
    up, down = (machine.price(Copy("x", way, size)).services for way in (True, False))
    alone = size * 1e12 / Flat.peak_bandwidth
    assert up["cpu_dram"].ps == pytest.approx(0.5 * alone)
    assert up["hbm"].ps == pytest.approx(4.0 * alone)
    assert down["cpu_dram"].ps == pytest.approx(2.0 * alone)
    assert down["hbm"].ps == pytest.approx(alone)
    assert down["cpu_dram"].bytes == size


def test_acknowledgements_load_the_opposite_direction() -> None:
    machine = platform(link={"acknowledgements": 0.1})
    services = machine.price(Copy("x", False, 10**9)).services
    raw = H200.link.raw_bandwidth
    assert services["pcie_h2d"].ps == pytest.approx(0.1 * 10**9 / raw * 1e12)
    assert services["pcie_d2h"].ps == pytest.approx(10**9 / link_bandwidth(H200.link) * 1e12)


def test_turnaround_is_worst_for_an_even_mix() -> None:
    assert turnaround_factor(0.3, 1.0, 1.0) == pytest.approx(1.3)
    assert turnaround_factor(0.3, 1.0, 0.0) == 1.0
    assert turnaround_factor(0.3, 3.0, 1.0) == pytest.approx(1.225)
