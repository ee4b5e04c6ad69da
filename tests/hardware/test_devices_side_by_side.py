"""Operations of a whole machine at once: kernels, copies, and work of the CPU beside each other."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import pytest
from benches import DRAM, HBM, bench, buffer, price
from machines import GB, Flat, changed, host, socket, topology
from test_cpu_prices import operator
from test_machine import machine_after

from simulator.hardware.access import Access
from simulator.hardware.demand import Demand, loaded_latency
from simulator.hardware.devices.cpu import CpuPass
from simulator.hardware.devices.gpu import GpuKernels
from simulator.hardware.program import Move
from simulator.hardware.topology import Topology

MB = 10**6


def kernel(size: int, threads: int | None = None) -> GpuKernels:
    """A kernel over `size` bytes of HBM, 1 ps a byte."""
    return GpuKernels("x", "gpu", 1, (Access(HBM, 1, size, random=False),), threads=threads)


def ends(machine: Topology, demands: Sequence[Demand]) -> list[int]:
    """Ends of operations that begin at once, their latency left out."""
    begun = [dataclasses.replace(demand, latency_ps=0) for demand in demands]
    return machine_after(begun, resources=machine.resources)[1]


FULL = 132 * 2048
"""Threads that an H200 holds."""


# kernels


@pytest.mark.parametrize("threads", [None, FULL, 3 * FULL])
def test_kernels_that_each_fill_the_gpu_take_the_sum_of_their_times(threads: int | None) -> None:
    """Whatever else has room: half of HBM is free under chains of dependent accesses."""
    machine = bench(gpu={"dependent_access": 100 * MB})
    chain = price(machine, dataclasses.replace(kernel(50 * MB, threads), chain=1))
    assert ends(machine, [chain] * 2) == [200 * MB] * 2
    assert ends(machine, [chain]) == [100 * MB]


def test_a_small_kernel_beside_a_large_one_holds_nobody_up() -> None:
    """Chains of 100 us on half and a quarter of the SMs, and a tenth of HBM each."""
    machine = bench(gpu={"dependent_access": 100 * MB})
    small = [
        price(machine, dataclasses.replace(kernel(10 * MB, FULL // part), chain=1))
        for part in (2, 4)
    ]
    assert ends(machine, small) == [100 * MB] * 2


def test_kernels_that_need_more_than_there_is_share_it() -> None:
    """Three quarters of the SMs each: 1.5 times as long."""
    machine = bench(gpu={"dependent_access": 100 * MB})
    word = dataclasses.replace(kernel(0, 3 * FULL // 4), chain=1)
    assert ends(machine, [price(machine, word)] * 2) == [150 * MB] * 2


def test_small_kernels_share_hbm_and_l2() -> None:
    """Few threads, but each reads as fast as HBM gives, and L2 at five times that."""
    machine = bench(gpu={"l2_bandwidth": 5000 * GB})
    assert ends(machine, [price(machine, kernel(100 * MB, 32))] * 2) == [200 * MB] * 2
    cached = dataclasses.replace(kernel(0, 32), accesses=(Access(HBM, MB, 512, hit_share=1.0),))
    demand = price(machine, cached)
    one, two = ends(machine, [demand])[0], ends(machine, [demand] * 2)
    assert one == pytest.approx(512 * MB / 5, abs=2)
    assert two == [pytest.approx(2 * one, abs=4)] * 2


# copies beside work of the CPU


def server(rate: int, **link: int | float) -> Topology:
    """The H200 server, its DRAM at `rate`; the paths to DRAM out of the way; a link
    of 4 % flow control and 136 reads of 512 B outstanding for 1.1 us each."""
    keys = {"flow_control": 0.04, "outstanding_reads": 136, "read_latency": 1_100_000} | link
    cpu = changed("h200_vm_xeon")
    wide = dict.fromkeys(("random_read", "sequential_read", "write", "write_back"), 10**6 * GB)
    path = cpu.memory_path.model_copy(update={**wide, "random_piece": 0, "sharpness": 1e6})
    copies = cpu.device_path.model_copy(update={"read": 10**6 * GB, "write": 10**6 * GB})
    return topology(
        host(
            cpu=cpu.model_copy(update={"memory_path": path, "device_path": copies}),
            gpu=changed("h200_sxm5_141gb"),
            pcie=socket(changed("h200_vm_pcie5_x16", **keys), join=("cpu", "gpu")),
        ),
        rates={cpu.memory.name: Flat(rate)},
    )


def copy(machine: Topology, down: bool, size: int) -> Demand:
    source, target = (DRAM, HBM) if down else (HBM, DRAM)
    return price(machine, Move("copy", source, buffer(source, size), target))


def reads(machine: Topology, rows: int) -> Demand:
    """Rows that 16 threads wait for, 55 ns each: 148.9 GB/s."""
    access = Access(DRAM, rows, 512)
    return price(machine, CpuPass("x", "cpu", operator(), (access,), 0, 1))


CPU_RATE = 512 * 16 / 55e-9
"""Bytes per second that 16 threads wait for."""


def test_threads_beside_a_posted_copy_slow_by_the_latency_of_its_load() -> None:
    """A copy up writes DRAM at what the link carries and is held up by nobody."""
    machine = server(400 * GB)
    up, rows = copy(machine, False, GB), reads(machine, MB)
    link_rate = 63.015e9 * 256 / 280 * (1 - 0.04)
    alone = GB / link_rate * 1e12
    speed = 1 / loaded_latency(link_rate / 400e9)
    work = MB * 55_000 / 16
    assert work / speed < alone, "the rows end first"
    assert ends(machine, [up, rows]) == [
        pytest.approx(alone, abs=2),
        pytest.approx(work / speed, rel=1e-6),
    ]


def test_a_copy_down_beside_threads_slows_where_its_requests_do_not_suffice() -> None:
    """Each is slower by the load of the other: speeds that agree, found by repeated use of both."""
    machine = server(300 * GB)
    down, rows = copy(machine, True, GB // 10), reads(machine, 10 * MB)
    (slack,) = down.loaded.values()
    link_rate = 63.015e9 * 256 / 276 * (1 - 0.04)
    assert slack == pytest.approx(136 * 512 / 1.1e-6 / link_rate)
    copied = read = 1.0
    for _ in range(100):
        copied = min(1.0, slack / loaded_latency(read * CPU_RATE / 300e9))
        read = min(1.0, 1.0 / loaded_latency(copied * link_rate / 300e9))
    assert copied < 0.95
    end, _ = ends(machine, [down, rows])
    assert end == pytest.approx(GB / 10 / (link_rate * copied) * 1e12, rel=5e-3)


def test_a_copy_down_with_requests_to_spare_hides_the_latency() -> None:
    machine = server(300 * GB, outstanding_reads=1000)
    down, rows = copy(machine, True, GB // 10), reads(machine, 10 * MB)
    assert ends(machine, [down, rows])[0] == pytest.approx(ends(machine, [down])[0], abs=2)


def test_copies_of_hbm_wait_for_no_load_of_kernels() -> None:
    """HBM of 1000 GB/s that a kernel fills: a copy up is posted and shares it by max and min."""
    machine = bench()
    up, busy = copy(machine, False, GB // 100), price(machine, kernel(GB))
    assert (up.loaded, busy.loaded) == ({}, {})
    share = up.services[HBM].ps / up.alone_ps(machine.resources)
    expected = up.alone_ps(machine.resources) * (1 + share)
    assert ends(machine, [up, busy])[0] == pytest.approx(expected, rel=1e-6)
