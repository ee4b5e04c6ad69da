"""Kernels on a GPU, mechanism by mechanism, against arithmetic on paper."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import pytest
from benches import (
    H200,
    HBM,
    PAPER,
    bench,
    price,
)
from machines import FLAT_RATE, GPU, catalogue_part, host, topology

from simulator.config.catalogue import load_named
from simulator.hardware.access import Access
from simulator.hardware.demand import Demand
from simulator.hardware.devices.gpu import GpuKernels

HOST = "gpu.launch"
"""The host thread that submits to the GPU."""


def on_gpu(kernels: int = 1, accesses: Sequence[Access] = (), **terms: Any) -> GpuKernels:
    return GpuKernels("x", "gpu", kernels, tuple(accesses), **terms)


START = H200.kernel_latency


# kernels


def test_a_kernel_with_nothing_to_do_takes_its_start_and_drain() -> None:
    """The first is latency; gaps between the next ones are time of the operation."""
    demand = price(bench(), on_gpu(3))
    assert (demand.latency_ps, demand.minimum_ps) == (START, 2 * START)
    one = price(bench(), on_gpu(1))
    assert (one.latency_ps, one.minimum_ps) == (START, 0)
    assert all(service.ps == 0.0 for service in one.services.values())


@pytest.mark.parametrize("precision", ["fp32", "tf32", "fp16", "bf16"])
def test_products_have_rates_by_precision(precision: str) -> None:
    work = on_gpu(10, flops=3 * 10**9, batched_flops=10**9, pairs=10**5, precision=precision)
    rates, peak = getattr(H200.products, precision), getattr(H200.peak, precision)
    seconds = 2e9 / (peak * rates.efficiency) + 1e9 / rates.batched + 1e5 / rates.selection
    demand = price(bench(), work)
    assert demand.latency_ps == rates.kernel_latency
    expected = 9 * rates.kernel_latency + seconds * 1e12
    assert demand.minimum_ps == pytest.approx(expected)
    assert demand.services["gpu.sm"].ps == pytest.approx(expected), "they fill all of the SMs"


def test_products_come_after_the_kernels_that_stream() -> None:
    stream = [Access(HBM, 1, 10**8, random=False)]
    products = price(bench(), on_gpu(2, flops=10**10)).minimum_ps
    streams = price(bench(), on_gpu(2, stream)).minimum_ps - START
    both = price(bench(), on_gpu(2, stream, flops=10**10))
    assert both.minimum_ps == pytest.approx(products + streams, abs=2)


def test_an_unknown_precision_is_a_misfit_that_lists_the_others() -> None:
    model = load_named("models", "default").model_copy(update={"mlp_precision": "bf16"})
    (problem,) = catalogue_part(GPU).misfits(None, model)
    assert problem.message == "is 'bf16': NVIDIA V100 SXM2 offers fp32, fp16"
    assert H200.misfits(None, model) == []


def test_a_chain_of_dependent_accesses_bounds_a_small_kernel() -> None:
    machine = bench(gpu={"dependent_access": 500_000})
    assert price(machine, on_gpu(chain=7)).minimum_ps == 3_500_000
    assert price(machine, on_gpu(3, chain=7)).minimum_ps == 2 * START + 3_500_000


@pytest.mark.parametrize(("size", "sectors"), [(4, 1), (32, 1), (33, 2), (512, 16), (100, 4)])
def test_a_row_takes_whole_sectors(size: int, sectors: int) -> None:
    demand = price(bench(), on_gpu(1, [Access(HBM, 1000, size)]))
    assert demand.services[HBM].bytes == 1000 * sectors * 32


def test_hits_of_l2_leave_hbm_alone_and_pass_l2() -> None:
    rows = Access(HBM, 1_000_000, 512, hit_share=0.75)
    demand = price(bench(gpu={"l2_bandwidth": 2 * FLAT_RATE}), on_gpu(1, [rows]))
    assert demand.services[HBM].bytes == rows.bytes // 4
    assert demand.services["gpu.cache"].ps == pytest.approx(256e6), "512 MB at 2000 GB/s, in ps"
    assert demand.minimum_ps == 256_000_000
    assert demand.services["gpu.cache"].bytes == 0


@pytest.mark.parametrize(("size", "lines"), [(4, 1), (128, 1), (129, 2), (512, 4), (0, 0)])
def test_a_row_passes_l2_in_whole_lines(size: int, lines: int) -> None:
    """128 B each, though memory gives sectors of 32 B."""
    machine = bench(gpu={"l2_bandwidth": 2 * FLAT_RATE})
    demand = price(machine, on_gpu(1, [Access(HBM, 1000, size)]))
    assert demand.services["gpu.cache"].ps == pytest.approx(1000 * lines * 128 / 2)


def test_instructions_of_lines_bound_a_kernel_on_all_multiprocessors() -> None:
    """1,000,000 rows of 4 lines, 8 ns each, on 132 of them: 242 us, less than HBM at 512 us."""
    rows = [Access(HBM, 1_000_000, 512)]
    slow = price(bench(), on_gpu(1, rows, line_time=8_000))
    assert slow.minimum_ps == 512_000_000
    slower = price(bench(), on_gpu(1, rows, line_time=80_000))
    assert slower.minimum_ps == round(4e6 * 80_000 / 132)


@pytest.mark.parametrize(
    ("threads", "share"), [(None, 1.0), (132 * 2048, 1.0), (10**7, 1.0), (132 * 512, 0.25), (0, 0)]
)
def test_a_kernel_holds_the_multiprocessors_that_its_threads_fill(
    threads: int | None, share: float
) -> None:
    demand = price(bench(), on_gpu(2, [Access(HBM, 1000, 512)], threads=threads))
    assert demand.minimum_ps == START + 512_000
    assert demand.services["gpu.sm"].ps == pytest.approx(share * demand.minimum_ps)


def test_a_sort_takes_its_rate_its_passes_and_their_traffic() -> None:
    """10^6 pairs of 8 B, four passes that read and write them all: 64 us of HBM, then the passes
    of the sort at 100 pairs a nanosecond: 40 us, and what each takes with nothing to sort."""
    work, machine = on_gpu(2, sort_pairs=10**6, sort_passes=4), bench(gpu={"sort_rate": 100e9})
    demand = price(machine, work)
    assert demand.services[HBM].bytes == 4 * 2 * 8 * 10**6
    alone = START + 4 * H200.sort_pass_latency + 64e6 + 40e6
    assert demand.minimum_ps == pytest.approx(alone)
    assert demand.latency_ps == START
    tables = price(machine, dataclasses.replace(work, sorts=8))
    assert tables.minimum_ps == pytest.approx(alone + 7 * 4 * H200.sort_pass_latency)


def test_probes_come_after_the_streams_of_their_operation() -> None:
    """100 us, then a million at 20 a nanosecond: 50 us."""
    streams = [Access(HBM, 1, 10**8, random=False)]
    machine = bench(gpu={"random_access_rate": 20e9})
    assert price(machine, on_gpu(1, streams, probes=10**6)).minimum_ps == 150_000_000


# submissions


def test_each_kernel_is_submitted_by_the_host_thread() -> None:
    """4 us of the driver each, and 6 us that the software adds; the first before it starts."""
    machine = bench(gpu={"launch": 4_000_000})
    demand = price(machine, on_gpu(3))
    assert (demand.host, demand.submit_ps, demand.submit_more_ps) == (HOST, 4_000_000, 8_000_000)
    slow = price(machine, on_gpu(3), PAPER)
    assert (slow.submit_ps, slow.submit_more_ps) == (10_000_000, 20_000_000)
    assert (demand.blocks, demand.host_ps) == (False, 0)


def test_captured_kernels_are_one_submission() -> None:
    demand = price(bench(), on_gpu(64, submissions=1))
    assert (demand.submit_ps, demand.submit_more_ps) == (H200.launch, 0)
    eager = price(bench(), on_gpu(64, submission_ps=29_000_000))
    assert (eager.submit_ps, eager.submit_more_ps) == (29_000_000, 63 * 29_000_000)


def test_what_is_submitted_is_fetched_behind_the_queue_of_the_link() -> None:
    """256 KiB of copies at what completions leave of the link; copies themselves wait for none."""
    rate = 63.015e9 * 256 / 276 * (1 - 0.04)
    machine = bench(link={"queue": 2**18, "flow_control": 0.04})
    assert price(machine, on_gpu(3)).fetched == {"pcie.down": round(2**18 / rate * 1e12)}
    lone = topology(host(gpu=GPU))
    assert price(lone, on_gpu(3)).fetched == {}, "no link from a host"


def test_no_kernel_is_no_submission() -> None:
    assert price(bench(), on_gpu(0)) == Demand("x")
