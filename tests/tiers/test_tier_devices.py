"""Memories below DRAM by hand: a CXL link in slots, granules of PMEM, requests of drives."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.hardware.access import Access
from simulator.hardware.catalogue import load_part
from simulator.hardware.demand import Turnaround
from simulator.hardware.devices.base import Setup
from simulator.hardware.devices.cxl import Cxl, CxlMemory
from simulator.hardware.devices.nvme import DriveTiming, NvmeDrive
from simulator.hardware.devices.pmem import Pmem, PmemTiming
from simulator.hardware.timing import TableTiming
from simulator.units import PS_PER_S

GB = 1e9
LINES = 1_000_000


def rows(count: int, size: int, *, write: bool = False, in_place: bool = False) -> Access:
    return Access("m", count, size, write=write, in_place=in_place)


# CXL


def test_a_link_carries_a_line_in_four_slots_and_a_header() -> None:
    """A flit of 68 B has four slots: 64 B of data take 5 x 17 B of 31.508 GB/s."""
    link = load_part("cxl2_x8", None, Cxl)
    assert link.rate() == pytest.approx(31.508 * GB * 64 / 85)
    assert link.rate(0.0) == link.rate(1.0)
    device = link.device("l", Setup(lambda _: None), ("cpu", "cxl"))  # type: ignore[arg-type]
    carried = device.carry("cxl", "cpu", 64 * LINES, by="cpu")
    assert carried.services is not None
    assert carried.services["l.up"].ps == pytest.approx(64 * LINES / link.rate() * PS_PER_S)
    assert carried.services["l.up"].bytes == 64 * LINES
    assert carried.services["l.down"].ps == pytest.approx(carried.services["l.up"].ps / 5)


def test_reads_and_writes_share_a_link_better_than_either_alone() -> None:
    """Two reads a write: 10.5 slots up for three lines, 33.9 GB/s; a vendor gives 36."""
    rate = load_part("cxl2_x8", None, Cxl).rate(2 / 3)
    assert rate == pytest.approx(31.508 * GB * 3 * 64 / (10.5 * 17))
    assert rate == pytest.approx(36 * GB, rel=0.06)


def test_a_device_of_asic_and_two_channels_is_bound_by_its_link_as_measured() -> None:
    """Vistara: 48 GB/s of two devices, 62 % of the pins of their DRAM."""
    memory = load_part("cxl_vistara", None, CxlMemory).memory
    link = load_part("cxl2_x8", None, Cxl)
    dram = TableTiming(memory, 64)
    sustained = 64 * LINES * PS_PER_S / dram.stream_ps(rows(LINES, 64))
    assert sustained > link.rate()
    assert 2 * link.rate() == pytest.approx(48 * GB, rel=0.02)
    assert 2 * link.rate() / (2 * memory.peak_bytes_per_s) == pytest.approx(0.62, abs=0.01)


@pytest.mark.parametrize(
    ("name", "share", "pins"), [("cxl_a", 0.46, 38.4), ("cxl_b", 0.47, 38.4), ("cxl_c", 0.2, 25.6)]
)
def test_a_controller_serves_no_more_than_was_seen(name: str, share: float, pins: float) -> None:
    part = load_part(name, None, CxlMemory)
    assert part.memory.peak_bytes_per_s == pytest.approx(pins * GB)
    device = part.device("c", Setup(lambda memory: TableTiming(memory, 64)), ())  # type: ignore[arg-type]
    memory = device.memories[0]
    moved_ps = memory.service([rows(LINES, 64), rows(LINES, 64, write=True)]).ps
    assert 2 * 64 * LINES / moved_ps * PS_PER_S == pytest.approx(share * pins * GB, rel=1e-3)
    assert memory.turnaround == Turnaround()


def test_idle_latency_of_a_device_is_what_was_measured() -> None:
    """Vistara: 250 ns where DRAM of the server takes 130."""
    device, link = load_part("cxl_vistara", None, CxlMemory), load_part("cxl2_x8", None, Cxl)
    assert 130_000 + device.controller_latency + link.load_latency == 250_000


# persistent memory


def test_a_line_moves_its_granule_and_is_read_before_it_is_written() -> None:
    """256 B of 6 x 6.6 GB/s, and of 6 x 2.3 GB/s to write."""
    timing = PmemTiming(load_part("optane_100_x6", None, Pmem))
    read, write = 256 * LINES / (39.6 * GB) * PS_PER_S, 256 * LINES / (13.8 * GB) * PS_PER_S
    assert timing.stream_ps(rows(LINES, 64)) == pytest.approx(read)
    assert timing.stream_ps(rows(LINES, 256)) == pytest.approx(read)
    assert timing.stream_ps(rows(LINES, 512)) == pytest.approx(2 * read)
    assert timing.stream_ps(rows(LINES, 512, write=True)) == pytest.approx(2 * write)
    assert timing.stream_ps(rows(LINES, 64, write=True)) == pytest.approx(read + write)
    assert timing.stream_ps(rows(LINES, 64, write=True, in_place=True)) == pytest.approx(write)


def test_write_back_at_random_is_near_what_was_measured() -> None:
    """38 GB/s of reads, 3 GB/s of lines written back on six modules (Hirofuchi and Takano)."""
    timing = PmemTiming(load_part("optane_100_x6", None, Pmem))
    written = 64 * LINES * PS_PER_S / timing.stream_ps(rows(LINES, 64, write=True))
    assert written == pytest.approx(3 * GB, rel=0.15)
    read = 256 * LINES * PS_PER_S / timing.stream_ps(rows(LINES, 256))
    assert read == pytest.approx(38 * GB, rel=0.05)


def test_write_then_read_costs_most_one_to_one() -> None:
    turnaround = PmemTiming(load_part("optane_100_x6", None, Pmem)).turnaround
    assert turnaround.factor(1.0, 1.0) == pytest.approx(1.2)
    assert turnaround.factor(1.0, 0.0) == turnaround.factor(0.0, 1.0) == 1.0


def test_relative_bandwidths_are_those_of_dram() -> None:
    part = load_part("pmem_training_cxl", None, Pmem)
    dram = load_part("ddr4_2400").channel_peak_bytes_per_s  # type: ignore[attr-defined]
    assert part.read_bandwidth == pytest.approx(0.6 * dram)
    assert part.write_bandwidth == pytest.approx(0.1 * dram)


# drives


def reads_a_second(name: str, depth: int) -> float:
    part = load_part(name, {"queue_depth": depth}, NvmeDrive)
    return LINES * PS_PER_S / DriveTiming(part).stream_ps(rows(LINES, 4096))


@pytest.mark.parametrize(
    ("name", "depth", "measured", "within"),
    [
        ("optane_p4800x", 1, 108_000, 0.05),
        ("optane_p4800x", 16, 585_000, 0.01),
        ("intel_p3700", 1, 12_800, 0.01),
        ("intel_p3700", 16, 167_000, 0.25),
        ("micron_9100", 16, 136_000, 0.10),
        ("micron_9200", 256, 840_000, 0.02),
        ("micron_9400", 512, 1_600_000, 0.01),
        ("micron_9550", 512, 3_300_000, 0.01),
    ],
)
def test_reads_a_second_by_latency_or_by_iops(
    name: str, depth: int, measured: float, within: float
) -> None:
    """Queue depth over latency, at most the drive's own."""
    assert reads_a_second(name, depth) == pytest.approx(measured, rel=within)


def test_large_requests_are_bound_by_bytes() -> None:
    part = load_part("micron_9400", None, NvmeDrive)
    ps = DriveTiming(part).stream_ps(rows(1000, 1 << 20))
    assert 1000 * (1 << 20) * PS_PER_S / ps == pytest.approx(7 * GB)


@given(
    st.sampled_from(["read_latency", "read_iops", "read_bandwidth", "queue_depth"]),
    st.integers(1, 100_000),
    st.sampled_from([512, 4096, 65_536]),
)
def test_no_limit_of_a_drive_makes_it_faster(key: str, factor: int, size: int) -> None:
    part = load_part("micron_9400", None, NvmeDrive)
    value = getattr(part, key)
    worse = value * factor if key == "read_latency" else max(1, value // factor)
    slower = part.model_copy(update={key: worse})
    access = rows(1000, size)
    assert DriveTiming(slower).stream_ps(access) >= DriveTiming(part).stream_ps(access)


def test_energy_of_a_drive_is_its_active_power_while_it_serves() -> None:
    part = load_part("optane_p4800x", None, NvmeDrive)
    timing, access = DriveTiming(part), rows(585_000, 4096)
    assert timing.stream_ps(access) == pytest.approx(PS_PER_S, rel=1e-3)
    assert timing.stream_pj(access) == pytest.approx(5e12, rel=1e-3)
    assert timing.stream_pj(replace(access, count=0)) == 0
