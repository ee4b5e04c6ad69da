"""What tiers must come to: DRAM's numbers give DRAM's times, and bytes go where rows lie."""

from __future__ import annotations

from typing import Any

import pytest
from tiered import FAST_CORES, FREE_LINK, HOST, SYSTEMS, device, host_bytes, simulated, stage_us

from simulator.hardware.catalogue import load_part
from simulator.hardware.devices.dram import Dram
from simulator.hardware.dram import sustained

ROW = 512
MANY = {"lookups_per_table": 80, "batch_size": 512}
"""Lookups that make ids and pooled vectors small beside rows (3 % of the bytes)."""
SERVER = {"mapping": "server", "controller": "server", "capacity": "128 GB"}
AS_DRAM: dict[str, Any] = {
    "cpu": FAST_CORES,
    "cxl": {
        "part": "cxl_vistara",
        "memory": {"organization": {"channels": 2}},
        "controller_latency": "0 ns",
        "controller_power": "0 W",
    },
    "cxl_link": FREE_LINK,
}
"""A device of two channels of the DRAM that the server has four of, behind nothing."""


def wide(channels: int) -> dict[str, Any]:
    """The server with more channels."""
    return {"cpu": {**FAST_CORES, "memory": {"organization": {"channels": channels}}}}


@pytest.mark.parametrize("trace", [{"kind": "uniform"}, {"kind": "zipf", "alpha": 0.9}])
def test_a_cxl_tier_with_the_numbers_of_dram_equals_two_more_channels(trace: Any) -> None:
    """Two thirds of the rows on four channels, a third on two: busy as long as six are.
    An operation takes longer by ids, pooled vectors and page tables, which stay there."""
    shares = {"tier": {"dram": 2 / 3, "cxl": 1 / 3}, "order": "hash"}
    change = {"trace": trace, "model": MANY}
    split = simulated("hybrid", host=AS_DRAM, tables=shares, **change)["hybrid"]
    six = simulated("hybrid", host=wide(6), **change)["hybrid"]
    four = simulated("hybrid", host=wide(4), **change)["hybrid"]
    channels = 4 * device(split, "cpu.dram")["busy_us"] + 2 * device(split, "cxl.dram")["busy_us"]
    assert channels == pytest.approx(6 * device(six, "cpu.dram")["busy_us"], rel=0.02)
    pooled = [stage_us(result, "gather_reduce") for result in (split, six, four)]
    assert pooled[1] <= pooled[0] <= 1.12 * pooled[1]
    assert pooled[2] == pytest.approx(1.5 * pooled[1], rel=0.02)


def test_a_drive_with_the_numbers_of_dram_and_pages_of_a_row_equals_dram() -> None:
    """Rows at what DRAM sustains of them; ids, pooled vectors and page tables go beside: both
    together are busy as long as DRAM was, but for what it lost between reads and writes."""
    change = {"trace": {"kind": "uniform"}, "model": MANY}
    plain = simulated("hybrid", host=wide(4), **change)["hybrid"]
    memory = plain.point.platform.socket("cpu").part.memory  # type: ignore[union-attr]
    rates = [sustained(memory, kind, ROW).bytes_per_s for kind in ("gather", "scatter")]
    drive = {
        "part": "micron_9400",
        "page": f"{ROW} B",
        "read_latency": "100 ns",
        "write_latency": "100 ns",
        "read_iops": 10**9,
        "write_iops": 10**9,
        "queue_depth": 65_535,
        "read_bandwidth": f"{rates[0]:.0f} B/s",
        "write_bandwidth": f"{rates[1]:.0f} B/s",
        "request_time": "0 ns",
    }
    link = {
        "part": "pcie4_x4",
        "raw_bandwidth": "1000 TB/s",
        "outstanding_reads": 10**6,
        "read_latency": "1 ns",
        "join": ["cpu", "ssd"],
    }
    host = {"cpu": FAST_CORES, "ssd": drive, "ssd_link": link}
    tier = simulated("hybrid", host=host, tables={"tier": "ssd"}, **change)["hybrid"]
    pooled = [stage_us(result, "gather_reduce") for result in (tier, plain)]
    assert 0.9 * pooled[1] <= pooled[0] <= pooled[1]
    busy = device(tier, "cpu.dram")["busy_us"] + device(tier, "ssd.flash")["busy_us"]
    assert busy == pytest.approx(device(plain, "cpu.dram")["busy_us"], rel=0.03)
    assert device(tier, "ssd.flash")["written_gb_per_day"] > 0


@pytest.mark.parametrize("by", ["row", "table"])
def test_all_rows_in_dram_is_what_no_tiers_are(by: str) -> None:
    plain = simulated(*SYSTEMS)
    tiered = simulated(*SYSTEMS, tables={"tier": {"dram": "100 %", "cxl": "0 %"}, "by": by})
    for name, result in plain.items():
        assert tiered[name].metrics["iteration_time_us"] == result.metrics["iteration_time_us"]
        assert tiered[name].metrics["energy_mj"] == result.metrics["energy_mj"]


@pytest.mark.parametrize("order", ["hottest", "hash"])
@pytest.mark.parametrize("by", ["row", "table"])
def test_bytes_are_those_of_no_tiers_wherever_rows_lie(by: str, order: str) -> None:
    """Uniform rows of 512 B are whole lines in every memory; what each loses to rounding hits is
    below a thousandth."""
    tables = {"tier": {"dram": 0.5, "cxl": "30 %", "pmem": 0.2}, "by": by, "order": order}
    plain, tiered = simulated(*SYSTEMS), simulated(*SYSTEMS, tables=tables)
    for name, result in plain.items():
        assert host_bytes(tiered[name]) == pytest.approx(host_bytes(result), rel=1e-3)
        if by == "row":
            assert all(
                device(tiered[name], f"{m}")["bytes"] > 0 for m in ("cxl.dram", "pmem.media")
            )


@pytest.mark.parametrize("name", SYSTEMS)
def test_links_carry_what_their_memory_moves(name: str) -> None:
    result = simulated(name, tables={"tier": {"cxl": "60 %", "ssd": "40 %"}})[name]
    for memory, link in (("cxl.dram", "cxl_link"), ("ssd.flash", "ssd_link")):
        ways = [device(result, f"{link}.{way}")["bytes"] for way in ("up", "down")]
        assert sum(ways) == pytest.approx(device(result, memory)["bytes"])


def test_a_hashed_tier_serves_its_share_of_uniform_rows() -> None:
    tables = {"tier": {"dram": 0.6, "cxl": 0.4}, "order": "hash"}
    change = {"trace": {"kind": "uniform"}}
    whole = simulated("straw_man", tables={"tier": "cxl"}, **change)["straw_man"]
    split = simulated("straw_man", tables=tables, **change)["straw_man"]
    moved = [device(result, "cxl.dram")["bytes"] for result in (split, whole)]
    assert moved[0] == pytest.approx(0.4 * moved[1], rel=0.02)


def test_the_hottest_rows_in_dram_leave_a_tier_less_than_its_share() -> None:
    tables = {"tier": {"dram": 0.6, "cxl": 0.4}}
    hottest = simulated("hybrid", tables=tables)["hybrid"]
    hashed = simulated("hybrid", tables={**tables, "order": "hash"})["hybrid"]
    moved = [device(result, "cxl.dram")["bytes"] for result in (hottest, hashed)]
    assert moved[0] < 0.6 * moved[1]


def test_wear_is_pages_written_over_the_time_of_an_iteration() -> None:
    """Each unique row of 512 B is written in a page of its own; the drive has 7.68 TB."""
    result = simulated("hybrid", tables={"tier": "ssd"})["hybrid"]
    flash, metrics = device(result, "ssd.flash"), result.metrics
    written = metrics["unique_rows_per_batch"] * 4096
    a_second = written / (metrics["iteration_time_us"] / 1e6)
    assert flash["written_gb_per_day"] == pytest.approx(a_second * 86_400 / 1e9)
    assert flash["fill_h"] == pytest.approx(7.68e12 / a_second / 3600)
    others = [row for row in result.devices if row["kind"] != "drive"]
    assert all(row.get("written_gb_per_day") is None for row in others)


def test_short_rows_are_read_before_they_are_written_back() -> None:
    """The straw-man scatters victims: their pages are read and written, missed ones read."""
    result = simulated("straw_man", tables={"tier": "ssd"})["straw_man"]
    missed, back = (result.metrics[k] for k in ("misses_per_batch", "dirty_victims_per_batch"))
    assert device(result, "ssd.flash")["bytes"] == pytest.approx((missed + 2 * back) * 4096)
    page = {**HOST["ssd"], "page": f"{ROW} B"}
    whole = simulated("straw_man", host={"ssd": page}, tables={"tier": "ssd"})["straw_man"]
    assert device(whole, "ssd.flash")["bytes"] == pytest.approx((missed + back) * ROW)


@pytest.mark.parametrize("name", SYSTEMS)
@pytest.mark.parametrize(
    ("tier", "socket", "worse"),
    [
        ("cxl", "cxl", {"controller_latency": "2 us"}),
        ("cxl", "cxl_link", {"raw_bandwidth": "3 GB/s"}),
        ("pmem", "pmem", {"write_bandwidth": "100 MB/s"}),
        ("ssd", "ssd", {"read_iops": 100_000}),
        ("ssd", "ssd", {"queue_depth": 1}),
        ("ssd", "ssd", {"request_time": "50 us"}),
    ],
)
def test_a_worse_tier_is_never_faster(name: str, tier: str, socket: str, worse: Any) -> None:
    tables = {"tier": {"dram": 0.5, tier: 0.5}, "order": "hash"}
    good = simulated(name, tables=tables)[name].metrics["iteration_time_us"]
    bad = simulated(name, host={socket: {**HOST[socket], **worse}}, tables=tables)[name]
    worst = bad.metrics["iteration_time_us"]
    assert worst >= good if name == "scratchpipe" else worst > good  # which hides it


def test_every_access_simulated_is_near_the_table_of_bandwidths() -> None:
    tables = {"tier": {"dram": 0.5, "cxl": 0.5}, "order": "hash"}
    change = {"tables": tables, "model": {"batch_size": 64}}
    table = simulated("straw_man", **change)["straw_man"]
    run = {"batches": 4, "warmup_batches": 4, "memory_fidelity": "exact"}
    exact = simulated("straw_man", run=run, **change)["straw_man"]
    for memory in ("cpu.dram", "cxl.dram"):
        rows = [device(result, memory) for result in (exact, table)]
        assert rows[0]["bytes"] == pytest.approx(rows[1]["bytes"], rel=1e-3)
        assert rows[0]["busy_us"] == pytest.approx(rows[1]["busy_us"], rel=0.3)


def test_scratchpads_of_two_gpus_share_the_tiers() -> None:
    change = {"tables": {"tier": {"dram": 0.5, "cxl": 0.5}, "order": "hash"}}
    host = {"gpu": {"part": "v100_sxm2_32gb", "count": 2}, "nvlink": "nvlink2_v100"}
    host["nvlink"] = {"part": "nvlink2_v100", "join": ["gpu"], "by": "switch"}  # type: ignore[assignment]
    one = simulated("straw_man", **change)["straw_man"]
    two = simulated({"name": "straw_man", "gpus": 2}, host=host, **change)["straw_man"]
    rows = [device(result, "cxl.dram")["bytes"] for result in (one, two)]
    assert rows[0] == pytest.approx(rows[1], rel=1e-3)


def test_the_memory_of_the_study_has_four_channels() -> None:
    memory = load_part("ddr4_2400", {"organization.channels": 4}, Dram)
    assert memory.peak_bytes_per_s == 76_800_000_000
