"""Operators on a CPU, mechanism by mechanism, against arithmetic on paper."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import pytest
from benches import (
    DIM,
    DRAM,
    LOOKUPS,
    PAPER,
    POOLED,
    ROWS,
    TUNED,
    UNIQUE,
    XEON,
    bench,
    buffer,
    pool,
    price,
    store,
    update,
)
from machines import CPU, GB, changed, host, server, socket, topology

from simulator.config.catalogue import load_named
from simulator.config.operators import CpuOperator, OperatorProfile
from simulator.hardware.access import Access
from simulator.hardware.demand import Demand
from simulator.hardware.devices.cpu import CpuPass
from simulator.hardware.program import Accumulate, Expand, Gather, Operation, Scatter, Sort
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


def dram_ps(machine: Topology, work: CpuPass) -> float:
    return price(machine, work).services[DRAM].ps


# the path between cores and DRAM


def test_the_path_to_dram_binds_where_it_is_slower_than_dram() -> None:
    work = on_cpu([READ])
    assert dram_ps(bench(cpu={"memory_path": path()}), work) == pytest.approx(AT_100_GB)
    assert dram_ps(bench(cpu={"memory_path": None}), work) == pytest.approx(ALONE)
    wide = path(random_read=5000 * GB)
    assert dram_ps(bench(cpu={"memory_path": wide}), work) == pytest.approx(ALONE)


def test_each_random_row_costs_the_path_its_translation() -> None:
    machine = bench(cpu={"memory_path": path(random_piece=1000)})
    assert dram_ps(machine, on_cpu([READ])) == pytest.approx(AT_100_GB + 1_000_000 * 1000)
    in_order = dataclasses.replace(READ, random=False)
    assert dram_ps(machine, on_cpu([in_order])) == pytest.approx(AT_100_GB)


@pytest.mark.parametrize(("duplex", "times"), [(0.0, 2.0), (0.5, 1.5), (1.0, 1.0)])
def test_reads_and_writes_share_the_path_as_duplex_says(duplex: float, times: float) -> None:
    machine = bench(cpu={"memory_path": path(duplex=duplex)})
    both = on_cpu([READ, WRITE], nontemporal=True)
    assert dram_ps(machine, both) == pytest.approx(times * AT_100_GB)


def test_evicted_lines_and_streaming_stores_have_rates_of_their_own() -> None:
    machine = bench(cpu={"memory_path": path(write_back=50 * GB)})
    in_place = dataclasses.replace(WRITE, random=True, in_place=True)
    assert dram_ps(machine, on_cpu([in_place])) == pytest.approx(2 * AT_100_GB)
    assert dram_ps(machine, on_cpu([WRITE], nontemporal=True)) == pytest.approx(AT_100_GB)


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
    assert price(machine, on_cpu([])).minimum_ps == 0


# threads of a CPU that wait for lines


THREADS_ALONE = {"memory_path": None}


def test_a_core_waits_for_lines_by_littles_law() -> None:
    """8 lines a row, 16 of them outstanding, 110 ns each: 55 ns a row, on 16 threads."""
    demand = price(bench(cpu=THREADS_ALONE), on_cpu([READ]))
    assert demand.minimum_ps == pytest.approx(1_000_000 * 55_000 / 16)
    assert demand.services["cpu.cores"].ps == pytest.approx(1_000_000 * 55_000 / 16)
    assert demand.services["cpu.threads"].ps == pytest.approx(demand.minimum_ps), "all of them"


@pytest.mark.parametrize("overlap", [0.25, 0.5, 1.0])
def test_code_that_keeps_fewer_misses_outstanding_waits_longer(overlap: float) -> None:
    demand = price(bench(cpu=THREADS_ALONE), on_cpu([READ], overlap=overlap))
    assert demand.minimum_ps == pytest.approx(1_000_000 * 55_000 / 16 / overlap)


def test_instructions_of_a_row_are_beside_its_waiting() -> None:
    work = on_cpu([READ], count=1_000_000, row_time="20 ns")
    assert price(bench(cpu=THREADS_ALONE), work).minimum_ps == pytest.approx(75_000 * 1e6 / 16)


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


@pytest.mark.parametrize(("pools", "used"), [(1, 16), (2, 8), (3, 5), (32, 1)])
def test_pools_divide_the_threads(pools: int, used: int) -> None:
    machine = bench(cpu=THREADS_ALONE, pools=pools)
    demand = price(machine, on_cpu([READ]))
    assert demand.minimum_ps == pytest.approx(1_000_000 * 55_000 / used)
    assert machine.resources["cpu.threads"].one_requester == (pools == 1)


def test_rows_in_order_arrive_by_prefetch() -> None:
    machine = bench(1, cpu={"memory_path": None, "sequential_bandwidth": 10 * GB})
    stream = Access(DRAM, 1, 512_000_000, random=False)
    assert price(machine, on_cpu([stream])).minimum_ps == pytest.approx(10 * AT_100_GB)


def test_without_a_rate_in_order_lines_are_waited_for_as_any() -> None:
    machine = bench(1, cpu={"memory_path": None, "sequential_bandwidth": None})
    stream = dataclasses.replace(READ, random=False)
    expected = price(machine, on_cpu([READ])).minimum_ps
    assert price(machine, on_cpu([stream])).minimum_ps == expected


def test_hits_of_the_last_level_wait_less_and_leave_dram_alone() -> None:
    """Half of the lines at 29.05 ns, half at 110 ns: 34.7625 ns a row."""
    half = dataclasses.replace(READ, hit_share=0.5)
    demand = price(bench(1, cpu=THREADS_ALONE), on_cpu([half]))
    assert demand.services[DRAM].bytes == READ.bytes // 2
    waiting = 8 / 16 * (29_050 + 110_000) / 2
    assert demand.minimum_ps == pytest.approx(1_000_000 * waiting)


def test_streaming_stores_drain_at_the_rate_of_a_core() -> None:
    machine = bench(1, cpu={"memory_path": None, "nontemporal_bandwidth": 20 * GB})
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


def test_fresh_pages_fault_one_after_the_other_whatever_the_threads() -> None:
    """512 MB are 125,000 pages of 4 KiB at 0.25 us each."""
    few, many = (
        price(bench(n, cpu=THREADS_ALONE), on_cpu([WRITE], nontemporal=True, fresh_output=True))
        for n in (1, 16)
    )
    faults = 125_000 * 250_000
    stores = WRITE.bytes / XEON.nontemporal_bandwidth * 1e12
    assert few.minimum_ps == pytest.approx(stores + faults)
    assert many.minimum_ps == pytest.approx(stores / 16 + faults)
    reread = price(bench(1, cpu=THREADS_ALONE), on_cpu([READ], fresh_output=True))
    assert reread.minimum_ps == pytest.approx(55_000 * 1e6), "reads touch no fresh page"


def test_what_the_cache_holds_of_a_staging_buffer_is_not_read_from_dram() -> None:
    staged = dataclasses.replace(WRITE, write=False, staged=True)
    machine = bench(cpu={"memory_path": path(), "staging_hits": 0.75})
    assert dram_ps(machine, on_cpu([staged])) == pytest.approx(0.25 * AT_100_GB)
    plain = dataclasses.replace(staged, staged=False)
    assert dram_ps(machine, on_cpu([plain])) == pytest.approx(AT_100_GB)


def test_a_memory_behind_a_link_costs_its_loads_and_makes_waits_longer() -> None:
    """90 ns and 150 ns more, 10 lines outstanding: 8 / 10 * 240 ns a row."""
    link = changed("pcie3_x16", load_latency=150_000)
    machine = topology(
        host(cpu=CPU, far="ddr4_2400", bridge=socket(link, join=("cpu", "far"))), threads=1
    )
    far = Access("far.dram", 1000, 512)
    demand = price(machine, on_cpu([far]))
    assert demand.minimum_ps == pytest.approx(1000 * 8 / 10 * 240_000)
    assert demand.services["bridge.up"].bytes == demand.services["far.dram"].bytes == far.bytes
    near = price(machine, on_cpu([dataclasses.replace(far, memory=DRAM)]))
    assert near.minimum_ps == pytest.approx(1000 * 8 / 10 * 90_000)
    assert set(near.services) == {DRAM, "cpu.cores", "cpu.threads"}


# words


def at_cpu(word: Operation, software: OperatorProfile = PAPER) -> Demand:
    return price(topology(server()), word, software)


def test_gather_reduce_reads_a_row_a_lookup_and_writes_pooled_vectors() -> None:
    """And reads each line of the vectors before it writes it."""
    demand = at_cpu(pool("cpu", DRAM))
    assert demand.services[DRAM].bytes == LOOKUPS * (512 + 8) + 2 * POOLED


def test_lookups_that_hit_are_not_read_from_dram() -> None:
    demand = at_cpu(pool("cpu", DRAM, hit_share=0.25))
    assert demand.services[DRAM].bytes == LOOKUPS * (384 + 8) + 2 * POOLED


def test_expand_writes_a_gradient_for_each_lookup() -> None:
    demand = at_cpu(Expand("expand", "cpu", buffer(DRAM, POOLED), ROWS, DIM, 8))
    assert demand.services[DRAM].bytes == POOLED + 2 * LOOKUPS * 512


@pytest.mark.parametrize(("table_rows", "passes"), [(2**8, 1), (2**16, 2), (2**24 + 1, 4)])
def test_a_radix_sort_on_the_cpu_takes_a_pass_for_each_8_bits(table_rows: int, passes: int) -> None:
    demand = at_cpu(Sort("sort", "cpu", ROWS, 8, table_rows, 10**9), TUNED)
    one = at_cpu(Sort("sort", "cpu", ROWS, 8, 2, 10**9), TUNED)
    row_ps = (demand.services["cpu.cores"].ps - one.services["cpu.cores"].ps) * 20
    assert row_ps == pytest.approx((passes - 1) * LOOKUPS * 2_000), "2 ns a pair and pass"
    assert demand.services[DRAM].bytes == 3 * LOOKUPS * 12, "read, owned, written"


def test_a_comparison_sort_takes_a_level_for_each_doubling_of_a_table() -> None:
    """40,960 lookups a table: 16 levels of 4 ns, table by table on 8 threads."""
    demand = at_cpu(Sort("sort", "cpu", ROWS, 8, 10**7, 10**8))
    waiting = 3 * LOOKUPS * 12 / 64 * 90_000 / 10 / (3 / 2)  # a store waits once for its line
    assert demand.minimum_ps == pytest.approx((16 * LOOKUPS * 4_000 + waiting) / 8)


def test_accumulate_reads_gradients_and_writes_one_for_each_unique_row() -> None:
    expanded = Accumulate("accumulate", "cpu", buffer(DRAM, POOLED), ROWS, DIM, True, 8)
    written = 2 * UNIQUE * 512
    assert at_cpu(expanded).services[DRAM].bytes == LOOKUPS * 512 + written
    pooled = dataclasses.replace(expanded, expanded=False)
    assert at_cpu(pooled).services[DRAM].bytes == POOLED + written, "the others stay cached"


def test_scatter_reads_and_writes_each_unique_row_once() -> None:
    demand = at_cpu(update("cpu", DRAM, expanded=True))
    assert demand.services[DRAM].bytes == UNIQUE * 512 + 2 * UNIQUE * 512


def test_a_fused_update_reads_the_pooled_gradients_itself() -> None:
    demand = at_cpu(update("cpu", DRAM, coalesce=True), TUNED)
    assert demand.services[DRAM].bytes == POOLED + 2 * UNIQUE * 512


@pytest.mark.parametrize("state", [0, 4, 512])
def test_optimizer_state_is_read_and_written_beside_its_row(state: int) -> None:
    lines = -(-state // 64) * 64
    demand = at_cpu(update("cpu", DRAM, state, expanded=True))
    assert demand.services[DRAM].bytes == UNIQUE * 512 + 2 * UNIQUE * (512 + lines)


@pytest.mark.parametrize("state", [0, 512])
def test_optimizer_state_travels_with_its_row(state: int) -> None:
    rows, staged = store(DRAM, state), buffer(DRAM, UNIQUE * (512 + state))
    size = UNIQUE * (512 + state)
    gather, scatter = (
        Gather("g", "cpu", rows, ROWS, staged),
        Scatter("s", "cpu", staged, rows, ROWS),
    )
    assert at_cpu(gather).services[DRAM].bytes == 3 * size, "plain stores own their lines"
    assert at_cpu(gather, TUNED).services[DRAM].bytes == 2 * size, "streaming ones do not"
    assert at_cpu(scatter).services[DRAM].bytes == 3 * size
    assert at_cpu(scatter, TUNED).services[DRAM].bytes == 2 * size


@pytest.mark.parametrize(
    ("profile", "passes"),
    [
        ("paper", ("expand", "sort", "accumulate", "scatter")),
        ("stock", ("expand", "sort", "accumulate", "scatter")),
        ("tuned", ("sort", "accumulate")),
    ],
)
def test_the_backward_of_a_cpu_has_the_passes_of_its_software(
    profile: str, passes: tuple[str, ...]
) -> None:
    cpu = topology(server()).processor("cpu")
    names = tuple(name for _, name in cpu.training_passes(load_named("operators", profile)))
    assert names == passes


@pytest.mark.parametrize(("at", "rows"), [("cpu", 97_656), ("gpu", 11_718)])
def test_rows_that_a_processors_own_cache_holds(at: str, rows: int) -> None:
    """50 MB of last level and 6 MB of L2, rows of 512 B."""
    assert topology(server()).processor(at).cached_rows(512) == rows
