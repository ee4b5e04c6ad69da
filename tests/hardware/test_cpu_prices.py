"""Operators on a CPU, mechanism by mechanism, against arithmetic on paper."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import pytest
from benches import (
    DRAM,
    XEON,
    bench,
    buffer,
    price,
)
from machines import CPU, GB, changed, host, socket, topology

from simulator.config.operators import CpuOperator
from simulator.hardware.access import Access
from simulator.hardware.devices.cpu import CpuPass
from simulator.hardware.program import (
    Move,
)
from simulator.hardware.topology import Topology


def operator(**changes: Any) -> CpuOperator:
    keys: dict[str, Any] = {"threads": "all", "row_time": "0 ps", "overlap": 1.0, "source": "test"}
    return CpuOperator(**(keys | changes))


def on_cpu(accesses: Sequence[Access], count: int = 0, tables: int = 1, **changes: Any) -> CpuPass:
    return CpuPass("x", "cpu", operator(**changes), tuple(accesses), count, tables)


def path(**changes: Any) -> Any:
    """Limits between cores and DRAM that are alike, and far below those of DRAM."""
    even = dict.fromkeys(("random_read", "sequential_read", "write", "write_back"), 100 * GB)
    limits = {"random_piece": 0, "duplex": 0.0, "sharpness": 64.0}
    return XEON.memory_path.model_copy(update=even | limits | changes)


READ = Access(DRAM, 1_000_000, 512)
WRITE = Access(DRAM, 1_000_000, 512, write=True, random=False)
AT_100_GB = 1_000_000 * 512 / 100e9 * 1e12
ALONE = AT_100_GB / 10
"""At the 1000 GB/s of the memory."""


def path_ps(machine: Topology, work: CpuPass) -> float:
    return price(machine, work).services["cpu.path"].ps


# the path between cores and DRAM


def test_the_path_to_dram_is_a_bound_of_its_own() -> None:
    """512 MB at its 100 GB/s and at the 1000 GB/s of DRAM: the longer counts."""
    demand = price(bench(cpu={"memory_path": path()}), on_cpu([READ]))
    assert demand.services["cpu.path"].ps == pytest.approx(AT_100_GB)
    assert demand.services[DRAM].ps == pytest.approx(ALONE)
    assert demand.minimum_ps == pytest.approx(AT_100_GB)
    fast = bench(cpu={"memory_path": path(random_read=5000 * GB)})
    assert path_ps(fast, on_cpu([READ])) == pytest.approx(ALONE / 5)


def test_the_path_moves_no_bytes_and_copies_do_not_pass_it() -> None:
    machine = bench()
    assert price(machine, on_cpu([READ])).services["cpu.path"].bytes == 0
    assert not machine.resources["cpu.path"].moves_bytes
    for source, target in ((DRAM, "gpu.hbm"), ("gpu.hbm", DRAM)):
        copy = Move("copy", source, buffer(source, 10**9), target)
        assert "cpu.path" not in price(machine, copy).services


def test_each_random_row_costs_the_path_its_translation() -> None:
    machine = bench(cpu={"memory_path": path(random_piece=1000)})
    assert path_ps(machine, on_cpu([READ])) == pytest.approx(AT_100_GB + 1_000_000 * 1000)
    in_order = dataclasses.replace(READ, random=False)
    assert path_ps(machine, on_cpu([in_order])) == pytest.approx(AT_100_GB)
    half = dataclasses.replace(READ, hit_share=0.5)
    assert path_ps(machine, on_cpu([half])) == pytest.approx((AT_100_GB + 1e9) / 2), "misses"


@pytest.mark.parametrize(("duplex", "times"), [(0.0, 2.0), (0.5, 1.5), (1.0, 1.0)])
def test_reads_and_writes_share_the_path_as_duplex_says(duplex: float, times: float) -> None:
    machine = bench(cpu={"memory_path": path(duplex=duplex)})
    both = on_cpu([READ, WRITE], nontemporal=True)
    assert path_ps(machine, both) == pytest.approx(times * AT_100_GB)


def test_evicted_lines_and_streaming_stores_have_rates_of_their_own() -> None:
    machine = bench(cpu={"memory_path": path(write_back=50 * GB)})
    in_place = dataclasses.replace(WRITE, random=True, in_place=True)
    assert path_ps(machine, on_cpu([in_place])) == pytest.approx(2 * AT_100_GB)
    assert path_ps(machine, on_cpu([WRITE], nontemporal=True)) == pytest.approx(AT_100_GB)


@pytest.mark.parametrize(("sharpness", "times"), [(1.0, 2.0), (2.0, math.sqrt(2)), (64.0, 1.011)])
def test_the_corner_between_threads_and_memory_is_rounded(sharpness: float, times: float) -> None:
    """Threads and memory that would take equally long: (1 + 1)^(1/n) of that."""
    limits = {"memory_path": path(sharpness=sharpness)}
    latency = round(AT_100_GB / (READ.count * 8) * XEON.miss_buffers)
    even = bench(1, cpu=limits | {"memory_latency": latency})
    assert price(even, on_cpu([READ])).minimum_ps == pytest.approx(times * AT_100_GB, rel=1e-3)
    assert price(bench(1, cpu=limits), on_cpu([READ])).minimum_ps >= AT_100_GB


def test_nothing_to_do_is_no_corner() -> None:
    machine = bench(cpu={"memory_path": path(sharpness=2.0)})
    demand = price(machine, on_cpu([]))
    assert (demand.minimum_ps, demand.loaded) == (0, {})
    none = price(machine, on_cpu([Access(DRAM, 0, 512), Access(DRAM, 1, 0, random=False)]))
    assert none.minimum_ps == 0
    assert all(service.ps == 0.0 == service.bytes for service in none.services.values())


# threads of a CPU that wait for lines


WIDE: dict[str, Any] = dict.fromkeys(
    ("random_read", "sequential_read", "write", "write_back"), 10**6 * GB
)
THREADS_ALONE = {"memory_path": path(**WIDE, sharpness=1e6)}
"""The longer of threads and DRAM, the path out of the way."""


def test_a_core_waits_for_lines_by_littles_law() -> None:
    """8 lines a row, 16 of them outstanding, 110 ns each: 55 ns a row, on 16 threads. The load of
    others makes those waits longer, and the host thread goes on when they are done."""
    demand = price(bench(cpu=THREADS_ALONE), on_cpu([READ]))
    assert demand.minimum_ps == pytest.approx(1_000_000 * 55_000 / 16)
    assert demand.services["cpu.cores"].ps == pytest.approx(1_000_000 * 55_000 / 16)
    assert demand.services["cpu.threads"].ps == pytest.approx(demand.minimum_ps), "all of them"
    assert (demand.loaded, demand.blocks, demand.host) == (
        {DRAM: 1.0, "cpu.device_path": 1.0},
        True,
        "",
    )


@pytest.mark.parametrize("overlap", [0.25, 0.5, 1.0])
def test_code_that_keeps_fewer_misses_outstanding_waits_longer(overlap: float) -> None:
    demand = price(bench(cpu=THREADS_ALONE), on_cpu([READ], overlap=overlap))
    assert demand.minimum_ps == pytest.approx(1_000_000 * 55_000 / 16 / overlap)


def test_instructions_of_a_row_are_beside_its_waiting() -> None:
    work = on_cpu([READ], count=1_000_000, row_time="20 ns")
    assert price(bench(cpu=THREADS_ALONE), work).minimum_ps == pytest.approx(75_000 * 1e6 / 16)
    wide = dataclasses.replace(work, lines=8, operator=operator(row_time="20 ns", line_time="2 ns"))
    assert wide.busy_ps == 1_000_000 * 36_000, "20 ns and 8 lines of 2 ns"
    assert price(bench(cpu=THREADS_ALONE), wide).minimum_ps == pytest.approx(91_000 * 1e6 / 16)


def test_marked_ids_cost_one_thread_their_time() -> None:
    """1,000 rows of 20 ns and 5 us of skipping, on 16 threads; no access to memory."""
    work = dataclasses.replace(on_cpu([], count=1_000, row_time="20 ns"), skip_ps=5e6)
    demand = price(bench(cpu=THREADS_ALONE), work)
    assert demand.minimum_ps == round(25e6 / 16)
    assert demand.services["cpu.cores"].ps == 25e6 / 16


@pytest.mark.parametrize(
    ("threads", "tables", "available", "used"),
    [
        ("all", 1, None, 16),
        ("all", 1, 4, 4),
        ("all", 1, 99, 16),
        ("tables", 3, None, 3),
        ("tables", 40, None, 16),
        ("tables", 40, 8, 8),
        ("one", 40, None, 1),
    ],
)
def test_threads_of_an_operator(
    threads: str, tables: int, available: int | None, used: int
) -> None:
    work = on_cpu([READ], tables=tables, threads=threads)
    demand = price(bench(available, cpu=THREADS_ALONE), work)
    assert demand.minimum_ps == pytest.approx(1_000_000 * 55_000 / used)
    there = min(16, available or 16)
    assert demand.services["cpu.threads"].ps == pytest.approx(demand.minimum_ps * used / there)
    start = XEON.thread_start
    assert demand.latency_ps == (start if used > 1 else 0), "one thread is there already"
    twice = price(bench(available, cpu=THREADS_ALONE), dataclasses.replace(work, regions=2))
    assert twice.latency_ps == 2 * demand.latency_ps


@pytest.mark.parametrize(("pools", "used"), [(1, 16), (2, 8), (3, 5), (32, 1)])
def test_pools_divide_the_threads(pools: int, used: int) -> None:
    machine = bench(cpu=THREADS_ALONE, pools=pools)
    demand = price(machine, on_cpu([READ]))
    assert demand.minimum_ps == pytest.approx(1_000_000 * 55_000 / used)
    assert machine.resources["cpu.threads"].one_requester == (pools == 1)


def test_rows_in_order_arrive_by_prefetch() -> None:
    machine = bench(1, cpu=THREADS_ALONE | {"sequential_bandwidth": 10 * GB})
    stream = Access(DRAM, 1, 512_000_000, random=False)
    assert price(machine, on_cpu([stream])).minimum_ps == pytest.approx(10 * AT_100_GB)


def test_hits_of_the_last_level_wait_less_and_leave_dram_alone() -> None:
    """Half of the lines at 30 ns, half at 110 ns, 8 a row, 16 outstanding: 35 ns a row."""
    half = dataclasses.replace(READ, hit_share=0.5)
    machine = bench(1, cpu=THREADS_ALONE | {"last_level_latency": 30_000})
    demand = price(machine, on_cpu([half]))
    assert demand.services[DRAM].bytes == READ.bytes // 2
    assert demand.minimum_ps == pytest.approx(1_000_000 * 35_000)


def test_streaming_stores_drain_at_the_rate_of_a_core() -> None:
    machine = bench(1, cpu=THREADS_ALONE | {"nontemporal_bandwidth": 20 * GB})
    demand = price(machine, on_cpu([WRITE], nontemporal=True))
    assert demand.minimum_ps == pytest.approx(5 * AT_100_GB)


@pytest.mark.parametrize(
    ("access", "nontemporal", "times"),
    [
        (WRITE, False, 2),
        (WRITE, True, 1),
        (dataclasses.replace(WRITE, random=True, in_place=True), False, 1),
        (READ, False, 1),
    ],
)
def test_stores_read_their_line_first_unless_they_own_or_stream_it(
    access: Access, nontemporal: bool, times: int
) -> None:
    demand = price(bench(), on_cpu([access], nontemporal=nontemporal))
    assert demand.services[DRAM].bytes == times * access.bytes


def test_small_pieces_in_order_share_lines() -> None:
    machine = bench(cpu=THREADS_ALONE)
    ids = Access(DRAM, 1_000_000, 8, random=False)
    assert price(machine, on_cpu([ids])).services[DRAM].bytes == 8_000_000
    scattered = Access(DRAM, 1_000_000, 8)
    assert price(machine, on_cpu([scattered])).services[DRAM].bytes == 64_000_000


@pytest.mark.parametrize(("size", "lines"), [(1, 1), (64, 1), (65, 2), (512, 8), (1000, 16)])
def test_a_row_takes_whole_lines(size: int, lines: int) -> None:
    demand = price(bench(), on_cpu([Access(DRAM, 10, size)]))
    assert demand.services[DRAM].bytes == 10 * lines * 64


@pytest.mark.parametrize(
    ("threads", "lock", "us"), [(1, 0.2, 1.0), (16, 0.2, 0.25), (16, 1.0, 1.0)]
)
def test_each_thread_faults_its_own_pages_behind_one_lock(
    threads: int, lock: float, us: float
) -> None:
    """512 MB are 125,000 pages of 4 KiB at 1 us; of 16 threads a page takes 0.2 + 0.8 / 16 us. The
    cores are busy for all of it, whoever holds the lock."""
    machine = bench(threads, cpu=THREADS_ALONE | {"page_fault_lock": lock})
    demand = price(machine, on_cpu([WRITE], nontemporal=True, fresh_output=True))
    stores = WRITE.bytes / XEON.nontemporal_bandwidth * 1e12
    assert demand.minimum_ps == pytest.approx(stores / threads + 125_000 * us * 1e6)
    assert demand.services["cpu.cores"].ps == pytest.approx((stores + 125_000e6) / 16)


def test_reads_touch_no_fresh_page() -> None:
    reread = price(bench(1, cpu=THREADS_ALONE), on_cpu([READ], fresh_output=True))
    assert reread.minimum_ps == pytest.approx(55_000 * 1e6)


def test_a_memory_behind_a_link_costs_its_loads_and_makes_waits_longer() -> None:
    """90 ns and 150 ns more, 10 lines outstanding: 8 / 10 * 240 ns a row."""
    link = changed("pcie3_x16", load_latency=150_000)
    cpu = changed(CPU, memory_path=path(**WIDE, sharpness=1e6))
    machine = topology(
        host(cpu=cpu, far="ddr4_2400", bridge=socket(link, join=("cpu", "far"))), threads=1
    )
    far = Access("far.dram", 1000, 512)
    demand = price(machine, on_cpu([far]))
    assert demand.minimum_ps == pytest.approx(1000 * 8 / 10 * 240_000)
    assert demand.services["bridge.up"].bytes == demand.services["far.dram"].bytes == far.bytes
    near = price(machine, on_cpu([dataclasses.replace(far, memory=DRAM)]))
    assert near.minimum_ps == pytest.approx(1000 * 8 / 10 * 90_000)
    assert set(near.services) == {DRAM, "cpu.path", "cpu.cores", "cpu.threads"}
    assert DRAM not in demand.services
    assert demand.services["cpu.path"] == near.services["cpu.path"], "loads pass it all the same"
    assert demand.loaded == {"far.dram": 1.0}
    assert near.loaded == {DRAM: 1.0}
