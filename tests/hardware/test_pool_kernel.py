"""Kernels of the pooled gather as their software has written them, against arithmetic on paper."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from benches import DIM, DRAM, H200, HBM, LOOKUPS, POOLED, TUNED, XEON, bench, buffer, pool, price

from simulator.config.operators import CpuOperator, OperatorProfile
from simulator.errors import ConfigError
from simulator.hardware.program import Flow

SMS = H200.sms


def written(**keys: Any) -> OperatorProfile:
    """`tuned` with a pooled gather of its own, without instructions a line."""
    gpu = TUNED.gpu.model_copy(update={"pool_line_time": 0})
    own = TUNED.gpu_pool.model_copy(update=keys)
    return TUNED.model_copy(update={"gpu": gpu, "gpu_pool": own})


def unfused(**keys: Any) -> OperatorProfile:
    own = written(**keys)
    gpu = own.gpu.model_copy(update={"kernels_per_table": True})
    return own.model_copy(update={"gpu": gpu})


SLOW = {"dependent_access": 5_000_000, "l2_access": 2_000_000}


def time_ps(software: OperatorProfile, gpu: dict[str, Any] | None = None, **word: Any) -> int:
    return price(bench(gpu=SLOW | (gpu or {})), pool("gpu", HBM, **word), software).minimum_ps


@pytest.mark.parametrize("warps", [1, 2, 4])
@pytest.mark.parametrize("in_flight", [1, 2])
def test_waits_of_resident_warps_bound_a_gather(warps: int, in_flight: int) -> None:
    """rows x 4 warps x latency / (multiprocessors x warps x rows in flight): 4 B a thread."""
    own = written(resident_warps=warps, rows_in_flight=in_flight, thread_bytes=4)
    bound = LOOKUPS * 4 * 5_000_000 / (SMS * warps * in_flight)
    assert time_ps(own) == pytest.approx(bound, rel=1e-6)
    wide = written(resident_warps=warps, rows_in_flight=in_flight, thread_bytes=16)
    assert time_ps(wide) == pytest.approx(bound / 4, rel=1e-6), "a warp reads 512 B at once"


def test_hits_wait_for_l2_alone() -> None:
    own = written(resident_warps=1, rows_in_flight=1)
    half = LOOKUPS * (0.5 * 5_000_000 + 0.5 * 2_000_000) / SMS
    assert time_ps(own, hit_share=0.5) == pytest.approx(half, rel=1e-6)


def test_more_warps_are_never_slower_and_gain_nothing_once_hbm_is_the_bound() -> None:
    near = {"dependent_access": 500_000}
    one: dict[str, Any] = {"rows_in_flight": 1, "thread_bytes": 4}
    times = [time_ps(written(resident_warps=warps, **one), near) for warps in range(1, 65)]
    assert times == sorted(times, reverse=True)
    assert times[-1] == times[-2] == time_ps(written(**one), near)
    assert times[0] > 10 * times[-1]


def test_more_than_a_multiprocessor_has_threads_for_are_not_resident() -> None:
    gpu = {"threads_per_sm": 64}
    two, many = (time_ps(written(resident_warps=warps, rows_in_flight=1), gpu) for warps in (2, 64))
    assert two == many


def test_a_bag_shorter_than_the_rows_in_flight_has_fewer_under_way() -> None:
    """One row a bag: whatever is unrolled, each warp waits for it alone."""
    word: dict[str, Any] = {"into": buffer(HBM, LOOKUPS * DIM), "pooling": 1}
    each = [time_ps(written(resident_warps=1, rows_in_flight=rows), **word) for rows in (1, 4, 16)]
    assert each[0] == each[1] == each[2] == pytest.approx(LOOKUPS * 5_000_000 / SMS, rel=1e-6)


def test_a_gather_whose_rows_are_all_pinned_reads_none_of_them_from_hbm() -> None:
    machine, own = bench(), written(pinned_rows=1000, pinning="beforehand")
    demand = price(machine, pool("gpu", HBM, hit_share=1.0), own)
    assert demand.services[HBM].bytes == LOOKUPS * 4 + POOLED
    slow = price(bench(gpu={"l2_bandwidth": 10**11}), pool("gpu", HBM, hit_share=1.0), own)
    through = LOOKUPS * (DIM + 4) + POOLED
    assert slow.minimum_ps == pytest.approx(through * 10, rel=1e-6), "bound by L2: 10 ps a byte"


def test_pinning_is_paid_for_before_each_kernel() -> None:
    """60,000 rows of 512 B for each of eight tables: 30.7 MB at 1000 GB/s and a kernel each."""
    machine, keys = bench(gpu={"l2_cache": 40_000_000}), {"pinned_rows": 60_000}
    paid = price(machine, pool("gpu", HBM), unfused(**keys))
    free = price(machine, pool("gpu", HBM), unfused(**keys, pinning="beforehand"))
    plain = price(machine, pool("gpu", HBM), unfused())
    assert free == plain
    more = paid.services[HBM].bytes - free.services[HBM].bytes
    assert more == 8 * 60_000 * 512
    gap = 8 * H200.kernel_latency
    assert paid.minimum_ps - free.minimum_ps == pytest.approx(more + gap, rel=1e-6)


def test_rows_that_l2_does_not_hold_cannot_be_pinned() -> None:
    machine = bench(gpu={"l2_cache": 512 * 10})
    price(machine, pool("gpu", HBM), written(pinned_rows=10))
    message = r"pinned_rows is 11: L2 of gpu holds 10 rows of 512 B"
    with pytest.raises(ConfigError, match=message):
        price(machine, pool("gpu", HBM), written(pinned_rows=11))


def columns(count: int, samples: int, software: OperatorProfile) -> tuple[int, int]:
    """Time of the GPU and of the host for `count` columns of 8 elements, one lookup a sample."""
    word = pool("gpu", HBM)
    reads = dataclasses.replace(word.reads, row_bytes=32, tables=count)
    rows, into = Flow(count * samples, 1), buffer(HBM, count * samples * 32)
    word = dataclasses.replace(word, reads=reads, rows=rows, into=into, pooling=1)
    demand = price(bench(), word, software)
    host = demand.submit_ps + demand.submit_more_ps
    return demand.latency_ps + demand.minimum_ps, host


def test_chains_of_kernels_a_column_are_linear_in_columns_and_flat_in_samples() -> None:
    """60 kernels a column of 1,000: bytes do not matter before there are many."""
    chains = unfused(kernels=60)
    few, many = columns(500, 32, chains), columns(1000, 32, chains)
    assert many[1] == 2 * few[1]
    assert many[0] == pytest.approx(2 * few[0], rel=1e-3)
    assert many[0] == pytest.approx(60_000 * H200.kernel_latency, rel=1e-3)
    assert columns(1000, 2048, chains)[0] == pytest.approx(many[0], rel=1e-2)
    fused = written()
    assert columns(1000, 32, fused)[1] == TUNED.gpu.submission + H200.launch
    assert columns(1000, 32, fused)[0] < 0.001 * many[0]


def test_one_column_is_the_same_fused_or_not() -> None:
    assert columns(1, 256, written()) == columns(1, 256, unfused())


# on a CPU


def gather(**keys: Any) -> OperatorProfile:
    own: CpuOperator = TUNED.gather_reduce.model_copy(
        update={"row_time": 0, "line_time": 0, "overlap": 0.15, **keys}
    )
    return TUNED.model_copy(update={"gather_reduce": own})


def on_cpu(software: OperatorProfile, threads: int = 1, **cpu: Any) -> int:
    keys = {"miss_buffers": 10, "memory_latency": 90_000} | cpu
    word = pool("cpu", DRAM, into=buffer(DRAM, DIM))
    return price(bench(threads, cpu=keys), word, software).minimum_ps


@pytest.mark.parametrize(("ahead", "lines"), [(0, 1.5), (1, 8), (2, 10), (4, 10)])
def test_a_row_waits_for_as_many_lines_as_are_prefetched(ahead: int, lines: float) -> None:
    """Eight lines of 90 ns with 10 miss buffers: 72 ns a row once two rows are ahead."""
    row_ps = 8 * 90_000 / lines
    assert on_cpu(gather(prefetch_rows=ahead)) == pytest.approx(LOOKUPS * row_ps, rel=0.02)
    assert on_cpu(gather(prefetch_rows=ahead)) >= LOOKUPS * row_ps


def test_prefetch_gains_nothing_where_all_cores_wait_for_dram() -> None:
    keys = {"miss_buffers": 10, "memory_latency": 900}
    plain, ahead = (on_cpu(gather(prefetch_rows=rows), XEON.cores, **keys) for rows in (0, 4))
    assert plain == pytest.approx(ahead, rel=0.01)


def test_prefetch_asks_for_no_fewer_lines_than_the_code_without() -> None:
    assert on_cpu(gather(overlap=0.9, prefetch_rows=1)) == on_cpu(gather(overlap=0.9))
