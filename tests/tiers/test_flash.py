"""A flash array by hand: what its dies, its channels and its interface bind, and as a tier."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiered import SYSTEMS, device, simulated

from simulator.errors import ConfigError
from simulator.hardware.access import Access
from simulator.hardware.catalogue import load_part
from simulator.hardware.devices.computational_ssd import ComputationalSsd
from simulator.hardware.devices.flash import FlashArray, FlashTiming
from simulator.units import PS_PER_S

PIECES = 100_000
US = 10**6


def array(name: str = "simplessd_sample", **changes: object) -> FlashTiming:
    return FlashTiming(load_part(name, changes, FlashArray))


def rate(timing: FlashTiming, size: int, *, write: bool = False, random: bool = True) -> float:
    """Pieces of `size` bytes a second."""
    access = Access("m", PIECES, size, write=write, random=random)
    return PIECES * PS_PER_S / timing.stream_ps(access)


@pytest.mark.parametrize(
    ("name", "channels", "dies"),
    [("simplessd_sample", 8 * 400e6 / 4096, 64 / 65e-6), ("mqsim_sample", 650_391, 853_333)],
)
def test_reads_of_blocks_are_bound_by_channels_or_by_dies(
    name: str, channels: float, dies: float
) -> None:
    """SimpleSSD's sample: 781 thousand blocks a second over its channels, 985 thousand of its dies;
    MQSim's: 650 and 853 thousand."""
    assert rate(array(name), 4096) == pytest.approx(min(channels, dies), rel=1e-3)
    fast_channels = array(name, channel_bandwidth="100 GB/s")
    assert rate(fast_channels, 4096) == pytest.approx(dies, rel=1e-3)
    fast_dies = array(name, read_time="1 ns")
    assert rate(fast_dies, 4096) == pytest.approx(channels, rel=1e-3)


def test_vectors_out_of_the_register_leave_the_channels_free() -> None:
    """512 B in place of a page of 16 KiB: 32 times as many before the channels are full."""
    page, vector = (
        array(transfer="16 KiB", read_time="1 ns"),
        array(transfer="64 B", read_time="1 ns"),
    )
    assert rate(vector, 512) / rate(page, 512) == pytest.approx(32)
    assert rate(array(transfer="64 B"), 512) == pytest.approx(64 / 65e-6, rel=1e-3)


def test_a_whole_page_is_a_plain_read_however_little_may_leave() -> None:
    plain, vectors = array(transfer="16 KiB"), array(transfer="64 B")
    assert rate(plain, 16384) == rate(vectors, 16384)
    assert plain.latency_ps(16384) == vectors.latency_ps(16384)


def test_rows_longer_than_a_page_read_several() -> None:
    fast = array(channel_bandwidth="1 TB/s")
    assert rate(fast, 32 * 1024) == pytest.approx(rate(fast, 16 * 1024) / 2)


@pytest.mark.parametrize(("packs", "seconds"), [(True, 0.104), (False, 3.3)])
def test_rows_that_share_pages_are_programmed_32_at_a_time(packs: bool, seconds: float) -> None:
    """327,680 rows of 512 B on 128 planes, 1.3 ms a page: 104 ms, or 3.3 s with a page a row."""
    timing = array(packs_writes=packs)
    ps = timing.stream_ps(Access("m", 327_680, 512, write=True))
    assert ps / PS_PER_S == pytest.approx(seconds, rel=0.01)


def test_in_order_all_planes_of_a_die_read_at_once() -> None:
    fast = array(channel_bandwidth="1 TB/s")
    assert rate(fast, 16384, random=False) == pytest.approx(2 * rate(fast, 16384))


def test_what_the_interface_passes_is_all_that_comes_out() -> None:
    narrow = array(interface="1 GB/s")
    assert rate(narrow, 4096) == pytest.approx(1e9 / 4096)
    assert narrow.peak_bandwidth == 10**9


@given(
    st.sampled_from(["channels", "dies", "channel_bandwidth", "read_time", "program_time"]),
    st.integers(2, 1000),
    st.sampled_from([64, 512, 4096, 16384, 65536]),
    st.booleans(),
)
def test_no_number_makes_it_faster_by_being_worse(
    key: str, factor: int, size: int, write: bool
) -> None:
    part = load_part("simplessd_sample", {}, FlashArray)
    value = getattr(part, key)
    worse = value * factor if key.endswith("time") else max(1, value // factor)
    slower = FlashTiming(part.model_copy(update={key: worse}))
    access = Access("m", 1000, size, write=write)
    assert slower.stream_ps(access) >= FlashTiming(part).stream_ps(access)


def test_more_than_a_page_cannot_leave_a_register() -> None:
    with pytest.raises(ConfigError, match="no more than a page"):
        array(transfer="32 KiB")


@pytest.mark.parametrize("system", ["hybrid", "static_cache", "straw_man", "scratchpipe"])
def test_it_is_a_tier_as_a_drive_of_the_same_rates_is(system: str) -> None:
    """Reads: 781 thousand blocks a second; writes: 128 planes, a page of four blocks in 1.3 ms."""
    drive = {
        "part": "micron_9400", "read_iops": 781_250, "write_iops": 393_846,
        "read_bandwidth": "1 TB/s", "write_bandwidth": "1 TB/s", "queue_depth": 10**6,
        "read_latency": "75240 ns", "write_latency": "75240 ns",
    }  # fmt: skip
    (flash,) = simulated(system, tables={"tier": "ssd"}, host={"ssd": "simplessd_sample"}).values()
    (other,) = simulated(system, tables={"tier": "ssd"}, host={"ssd": drive}).values()
    times = [r.metrics["iteration_time_us"] for r in (flash, other)]
    assert times[0] == pytest.approx(times[1], rel=1e-3)
    row = next(r for r in flash.devices if r["resource"] == "ssd.flash")
    assert row["written_gb_per_day"] > 0


DRIVE = {"ssd": "ndrec_ssd"}


def tier_of(place: str, **changes: Any) -> float:
    (result,) = simulated("hybrid", tables={"tier": place}, **changes).values()
    return float(result.metrics["iteration_time_us"])


def test_the_array_of_a_computational_ssd_is_the_same_tier_as_alone() -> None:
    """By its own name, and by that of the drive alone."""
    alone = tier_of("ssd", host={"ssd": "simplessd_sample"})
    assert tier_of("ssd.flash", host=DRIVE) == tier_of("ssd", host=DRIVE) == alone


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_smartssd_takes_its_share_of_the_tables_of_any_system(system: str) -> None:
    """Two fifths of uniform rows, hashed, in pages: two fifths of those of all rows."""
    host = {"ssd": "smartssd", "ssd_link": {"part": "pcie3_x4", "join": ["cpu", "ssd"]}}
    change = {"host": host, "trace": {"kind": "uniform"}}
    shares = {"tier": {"dram": "60 %", "ssd": "40 %"}, "order": "hash"}
    (split,) = simulated(system, tables=shares, **change).values()
    (whole,) = simulated(system, tables={"tier": "ssd"}, **change).values()
    rows = [device(result, "ssd.flash") for result in (split, whole)]
    assert rows[0]["bytes"] == pytest.approx(0.4 * rows[1]["bytes"], rel=0.05)
    assert all(row["written_gb_per_day"] > 0 and row["fill_h"] > 0 for row in rows)


def test_a_smartssd_gives_its_host_what_fio_measured() -> None:
    """4-KiB pages: 766 thousand reads a second, 683 thousand writes; alone one takes 82 us."""
    timing = FlashTiming(load_part("smartssd", None, ComputationalSsd).flash)
    for write, rate in ((False, 766e3), (True, 683e3)):
        access = Access("m", 10**6, 4096, write=write)
        assert 10**6 / timing.stream_ps(access) * PS_PER_S == pytest.approx(rate, rel=2e-3)
    assert timing.latency_ps(4096) == pytest.approx(82e6, rel=2e-3)


def test_what_of_a_device_with_logic_is_no_tier_is_told() -> None:
    """DRAM behind a link without loads, static memory."""
    for place, said in (
        ("ssd.dram", "cannot load from ssd.dram, ssd_link carries copies and stores alone"),
        ("ssd.buffers", "holds vectors and gradients on their way, no tables"),
    ):
        with pytest.raises(ConfigError, match=said):
            tier_of(place, host=DRIVE)
