"""Kernels on a GPU, mechanism by mechanism, against arithmetic on paper."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import pytest
from benches import (
    DIM,
    DRAM,
    H200,
    HBM,
    LOOKUPS,
    PAPER,
    POOLED,
    ROWS,
    TUNED,
    UNIQUE,
    bench,
    buffer,
    pool,
    price,
    store,
    update,
)
from machines import CPU, GPU, catalogue_part, changed, host, server, socket, topology

from simulator.config.catalogue import load_named
from simulator.config.operators import OperatorProfile
from simulator.hardware.access import Access
from simulator.hardware.demand import Demand
from simulator.hardware.devices.gpu import POOL_UNROLL, UPDATE_CHAIN, GpuKernels
from simulator.hardware.program import (
    Add,
    Dense,
    Expand,
    Flow,
    Gather,
    Operation,
    Plan,
    Scatter,
    Sort,
    Split,
    Wait,
)


def on_gpu(kernels: int = 1, accesses: Sequence[Access] = (), **terms: Any) -> GpuKernels:
    return GpuKernels("x", "gpu", kernels, tuple(accesses), **terms)


# kernels


def test_a_kernel_with_nothing_to_do_takes_its_start_and_drain() -> None:
    demand = price(bench(), on_gpu(3))
    assert demand.latency_ps == 3 * H200.kernel_latency
    assert demand.minimum_ps == 0


def test_products_have_measured_rates_by_precision() -> None:
    work = on_gpu(10, flops=3 * 10**9, batched_flops=10**9)
    rates = H200.products.fp32
    seconds = 2e9 / (H200.peak.fp32 * rates.efficiency) + 1e9 / rates.batched
    demand = price(bench(), work)
    assert demand.services["gpu.sm"].ps == pytest.approx(seconds * 1e12)
    assert demand.latency_ps == 10 * rates.kernel_latency
    half = dataclasses.replace(work, precision="bf16")
    assert price(bench(), half).latency_ps == 10 * H200.kernel_latency


def test_products_that_were_not_measured_run_at_a_share_of_the_peak() -> None:
    """3 TFLOP at 989 TFLOP/s x 0.7654, batched or not."""
    demand = price(bench(), on_gpu(1, flops=3 * 10**12, batched_flops=10**12, precision="bf16"))
    assert demand.services["gpu.sm"].ps == pytest.approx(3e12 / (989e12 * 0.7654) * 1e12)


def test_a_chain_of_dependent_accesses_bounds_a_small_kernel() -> None:
    machine = bench(gpu={"dependent_access": 500_000})
    assert price(machine, on_gpu(chain=7)).minimum_ps == 3_500_000
    unknown = bench(gpu={"dependent_access": None})
    assert price(unknown, on_gpu(chain=7)).minimum_ps == 0


@pytest.mark.parametrize(("size", "sectors"), [(4, 1), (32, 1), (33, 2), (512, 16), (100, 4)])
def test_a_row_takes_whole_sectors(size: int, sectors: int) -> None:
    demand = price(bench(), on_gpu(1, [Access(HBM, 1000, size)]))
    assert demand.services[HBM].bytes == 1000 * sectors * 32


def test_hits_of_l2_leave_hbm_alone_and_pass_l2() -> None:
    rows = Access(HBM, 1_000_000, 512, hit_share=0.75)
    demand = price(bench(), on_gpu(1, [rows]))
    assert demand.services[HBM].bytes == rows.bytes // 4
    l2_ps = rows.bytes / H200.l2_bandwidth * 1e12
    assert demand.minimum_ps == round(l2_ps)


def test_a_sort_takes_its_rate_its_passes_and_their_traffic() -> None:
    """10^6 pairs of 8 B, four passes that read and write them all."""
    work = on_gpu(2, sort_pairs=10**6, sort_passes=4)
    demand = price(bench(), work)
    assert demand.services["gpu.sm"].ps == pytest.approx(4e6 / 153.8e9 * 1e12)
    assert demand.services[HBM].bytes == 4 * 2 * 8 * 10**6
    start = 2 * H200.kernel_latency
    assert demand.latency_ps == start + 4 * H200.sort_pass_latency
    tables = price(bench(), dataclasses.replace(work, sorts=8))
    assert tables.latency_ps == start + 8 * 4 * H200.sort_pass_latency


def test_probes_run_at_the_rate_of_independent_accesses() -> None:
    demand = price(bench(), on_gpu(1, probes=10**6))
    assert demand.services["gpu.sm"].ps == pytest.approx(1e6 / 18.29e9 * 1e12)
    assert demand.minimum_ps == round(1e6 / 18.29e9 * 1e12)


def test_kernels_cannot_go_faster_than_they_are_launched() -> None:
    """Their own starts count: 100 us of launches less 5.529 us."""
    work = on_gpu(1, dispatch_ps=100_000_000)
    assert price(bench(), work).minimum_ps == 100_000_000 - 5_529_000


# words


def at_gpu(word: Operation, software: OperatorProfile = TUNED) -> Demand:
    return price(topology(server()), word, software)


KERNEL = catalogue_part(GPU).kernel_latency


def test_a_pooled_gather_on_the_gpu_reads_ids_and_rows_and_writes_vectors() -> None:
    demand = at_gpu(pool("gpu", HBM))
    assert demand.services[HBM].bytes == LOOKUPS * (512 + 8) + POOLED


@pytest.mark.parametrize(("profile", "sets"), [("paper", 8), ("stock", 8), ("tuned", 1)])
def test_kernels_of_one_set_a_table_or_one_for_all(profile: str, sets: int) -> None:
    software = load_named("operators", profile)
    assert at_gpu(pool("gpu", HBM), software).latency_ps == sets * KERNEL
    assert at_gpu(update("gpu", HBM), software).latency_ps == sets * KERNEL


def test_the_longest_sample_bounds_a_pooled_gather() -> None:
    """Offsets, ids, then 20 rows four at a time; an update: segment, positions, gradients, row."""
    machine = bench(gpu={"dependent_access": 10**12})
    assert price(machine, pool("gpu", HBM)).minimum_ps == (2 + 20 // POOL_UNROLL) * 10**12
    assert price(machine, update("gpu", HBM)).minimum_ps == UPDATE_CHAIN * 10**12


@pytest.mark.parametrize(("key_rows", "passes"), [(2**24, 3), (2**24 + 1, 4), (2, 1)])
def test_a_radix_sort_on_the_gpu_takes_a_pass_for_each_8_bits_of_the_key(
    key_rows: int, passes: int
) -> None:
    demand = at_gpu(Sort("sort", "gpu", ROWS, 8, 2, key_rows))
    assert demand.services[HBM].bytes == 2 * 8 * LOOKUPS * passes


def test_sorts_table_by_table_have_narrower_keys() -> None:
    """2^24 slots of eight tables: keys of 21 bits in place of 24, three passes of each table."""
    demand = at_gpu(Sort("sort", "gpu", ROWS, 8, 2, 2**24), PAPER)
    gpu = catalogue_part(GPU)
    sorting = 8 * 3 * gpu.sort_pass_latency
    assert demand.latency_ps == 2 * 8 * KERNEL + sorting


def test_pooled_gradients_are_read_from_memory_once() -> None:
    """Each of 16,384 vectors once; lists of ids and positions; rows read and written."""
    demand = at_gpu(update("gpu", HBM))
    assert demand.services[HBM].bytes == pytest.approx(
        POOLED + LOOKUPS * 12 + 2 * UNIQUE * 512, abs=512
    )


def test_expanded_gradients_are_read_one_by_one() -> None:
    demand = at_gpu(update("gpu", HBM, expanded=True))
    assert demand.services[HBM].bytes == LOOKUPS * (512 + 12) + 2 * UNIQUE * 512
    expand = at_gpu(Expand("expand", "gpu", buffer(HBM, POOLED), ROWS, DIM, 8))
    assert expand.services[HBM].bytes == POOLED + LOOKUPS * 512


@pytest.mark.parametrize(("state", "sectors"), [(0, 0), (4, 1), (512, 16)])
def test_optimizer_state_of_the_gpu_takes_sectors_of_its_own(state: int, sectors: int) -> None:
    with_state = at_gpu(update("gpu", HBM, state)).services[HBM].bytes
    without = at_gpu(update("gpu", HBM)).services[HBM].bytes
    assert with_state - without == 2 * UNIQUE * sectors * 32


def test_rows_are_copied_between_slots_and_staging_buffers() -> None:
    rows, staged = store(HBM, 4, slotted=True), buffer(HBM, UNIQUE * 516)
    copied = UNIQUE * (544 + 516)  # rows in whole sectors, the buffer in order
    for word in (Gather("g", "gpu", rows, ROWS, staged), Scatter("s", "gpu", staged, rows, ROWS)):
        assert at_gpu(word).services[HBM].bytes == copied
        assert at_gpu(word).latency_ps == KERNEL


def test_nothing_to_move_starts_no_kernel() -> None:
    rows, staged = store(HBM, slotted=True), buffer(HBM, 0)
    nothing = Flow()
    gather = Gather("g", "gpu", rows, nothing, staged)
    scatter = Scatter("s", "gpu", staged, rows, nothing)
    assert at_gpu(gather).latency_ps == at_gpu(scatter).latency_ps == 0


def test_plan_probes_the_hit_map_twice_a_lookup_and_four_times_a_miss() -> None:
    demand = at_gpu(Plan("plan", "gpu", LOOKUPS, 2000, 100, 10**6))
    assert demand.services["gpu.sm"].ps == pytest.approx((2 * LOOKUPS + 400) / 4e9 * 1e12)
    assert demand.services[HBM].bytes == LOOKUPS * 8 + 10**6 * 4 + 2000 * 8
    assert demand.latency_ps == 5 * KERNEL


def test_split_reads_and_writes_the_ids_and_probes_each() -> None:
    demand = at_gpu(Split("split", "gpu", LOOKUPS))
    assert demand.services[HBM].bytes == 2 * LOOKUPS * 8
    assert demand.services["gpu.sm"].ps == pytest.approx(LOOKUPS / 4e9 * 1e12)


def test_add_reads_every_source_and_writes_one() -> None:
    sums = buffer(HBM, POOLED)
    assert at_gpu(Add("add", "gpu", (sums, sums), sums)).services[HBM].bytes == 3 * POOLED


DENSE = Dense("mlp", "gpu", 10**10, 10**8, "fp32", 64, 10**7, 10**6)


def test_a_training_step_writes_and_reads_activations_and_weights() -> None:
    """Activations twice each way; weights read by three products, written as gradient and new."""
    demand = at_gpu(DENSE)
    assert demand.services[HBM].bytes == (2 + 2) * 10**7 + (3 + 2) * 10**6
    assert demand.services["gpu.sm"].ps == pytest.approx(1e10 / (15.7e12 * 0.75) * 1e12)
    assert demand.latency_ps == 64 * KERNEL


@pytest.mark.parametrize(
    ("profile", "ranks", "dispatch_us"),
    [("tuned", 1, 0), ("tuned", 8, 0), ("paper", 1, 64 * 29), ("paper", 8, 8 * 64 * 29)],
)
def test_eager_kernels_are_launched_one_by_one_for_all_gpus(
    profile: str, ranks: int, dispatch_us: int
) -> None:
    demand = at_gpu(dataclasses.replace(DENSE, ranks=ranks), load_named("operators", profile))
    if dispatch_us:
        assert demand.minimum_ps == dispatch_us * 10**6 - 64 * KERNEL
    else:
        assert demand.minimum_ps == round(1e10 / (15.7e12 * 0.75) * 1e12)


def test_a_process_for_each_gpu_launches_its_own() -> None:
    software = PAPER.model_copy(
        update={"gpu": PAPER.gpu.model_copy(update={"host_processes": "one_per_gpu"})}
    )
    eight, one = (at_gpu(dataclasses.replace(DENSE, ranks=n), software) for n in (8, 1))
    assert eight == one


def test_the_host_notices_after_the_time_that_it_takes() -> None:
    demand = at_gpu(Wait("synchronize", "gpu"))
    assert demand == Demand("synchronize", {}, 9_000_000)


def test_a_gpu_that_loads_over_its_link_uses_both_memories() -> None:
    link = changed("nvlink_c2c", load_latency=500_000)
    machine = topology(host(cpu=CPU, gpu=GPU, c2c=socket(link, join=("cpu", "gpu"))))
    demand = price(machine, pool("gpu", DRAM))
    assert demand.services[DRAM].bytes == LOOKUPS * 512
    assert demand.services["c2c.down"].bytes == LOOKUPS * 512
    assert demand.services[HBM].bytes == LOOKUPS * 8 + POOLED
