"""Random rows on a GPU fall unevenly on the channels of its HBM: by how much, by hand."""

from __future__ import annotations

from typing import Any

import pytest
from benches import H200, HBM, bench, price
from machines import FLAT_RATE

from simulator.hardware.access import Access
from simulator.hardware.demand import Service
from simulator.hardware.devices.gpu import GpuKernels

MANY = 10**12
"""Rows of which the fullest channel has hardly more than the mean."""
PS_PER_BYTE = 10**12 / FLAT_RATE


def of_channels(channels: int, pseudo: int = 1) -> Any:
    organization = H200.memory.organization.model_copy(
        update={"channels": channels, "pseudo_channels": pseudo}
    )
    return H200.memory.model_copy(update={"organization": organization})


def hbm(*accesses: Access, channels: int, pseudo: int = 1, **gpu: Any) -> Service:
    """What these ask of a HBM with so many channels."""
    machine = bench(gpu={"memory": of_channels(channels, pseudo)} | gpu)
    return price(machine, GpuKernels("x", "gpu", 1, accesses)).services[HBM]


def unevenness(rows: int, channels: int, pseudo: int = 1, warps: int = 10**9) -> float:
    """Time of `rows` over their bytes at the rate of the memory; `warps` on one multiprocessor."""
    resident = {"sms": 1, "threads_per_sm": 32 * warps}
    rows_of_512 = Access(HBM, rows, 512)
    service = hbm(rows_of_512, channels=channels, pseudo=pseudo, **resident)
    assert service.bytes == rows_of_512.bytes, "it takes time, and moves no more"
    return service.read_ps / (rows_of_512.bytes * PS_PER_BYTE)


@pytest.mark.parametrize("rows", [1, 100, MANY])
@pytest.mark.parametrize("warps", [1, 10**9])
def test_on_one_channel_nothing_is_uneven(rows: int, warps: int) -> None:
    assert unevenness(rows, channels=1, warps=warps) == 1.0


def test_many_rows_of_many_warps_are_even() -> None:
    """A billion warps leave none of 64 channels idle; deviations are 1 / sqrt(rows) of the mean."""
    assert unevenness(MANY, channels=64) == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize(
    ("warps", "channels", "factor"), [(1, 2, 2.0), (63, 64, 2.0), (7, 8, 2.0), (630, 64, 1.1)]
)
def test_few_warps_leave_channels_idle(warps: int, channels: int, factor: float) -> None:
    """W rows in flight keep W / (W + N - 1) of N channels busy."""
    assert unevenness(MANY, channels, warps=warps) == pytest.approx(factor, abs=1e-4)


@pytest.mark.parametrize(("rows", "factor"), [(1, 6.768), (8, 3.039), (100, 1.5768), (800, 1.2039)])
def test_of_few_rows_the_fullest_channel_has_more_than_its_share(rows: int, factor: float) -> None:
    """Eight channels: sqrt(2 ln 8) = 2.0393 standard deviations sqrt(rows / 8) above rows / 8."""
    assert unevenness(rows, channels=8) == pytest.approx(factor, abs=1e-3)


def test_both_reasons_multiply() -> None:
    """7 warps on 8 channels: twice; 8 rows: 3.039 times."""
    assert unevenness(8, channels=8, warps=7) == pytest.approx(2 * 3.039, abs=2e-3)


def test_pseudo_channels_are_channels() -> None:
    assert unevenness(100, channels=4, pseudo=2) == unevenness(100, channels=8)


def test_all_rows_of_a_kernel_are_spread_together() -> None:
    """50 that are read and 50 that are written are 100: 1.5768, those that hit L2 left out."""
    half = Access(HBM, 100, 512, hit_share=0.5)
    written = Access(HBM, 50, 512, write=True)
    resident = {"sms": 1, "threads_per_sm": 32 * 10**9}
    service = hbm(half, written, channels=8, **resident)
    each = 50 * 512 * PS_PER_BYTE * 1.5768
    assert (service.read_ps, service.write_ps) == (
        pytest.approx(each, rel=1e-3),
        pytest.approx(each, rel=1e-3),
    )


def test_bytes_in_order_and_rows_of_other_memories_are_not() -> None:
    stream = Access(HBM, 1, 512_000, random=False)
    assert hbm(stream, channels=64).read_ps == 512_000 * PS_PER_BYTE
    rows, nothing = Access(HBM, 100, 512), Access(HBM, 0, 512)
    both = hbm(rows, stream, channels=64).read_ps
    assert both == pytest.approx(hbm(rows, channels=64).read_ps + 512_000 * PS_PER_BYTE)
    assert hbm(nothing, channels=64).read_ps == 0.0


def test_energy_is_of_the_rows_alone() -> None:
    """2 pJ a byte, however uneven."""
    assert hbm(Access(HBM, 10, 512), channels=64).energy_pj == 2.0 * 10 * 512
