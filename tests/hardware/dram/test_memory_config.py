"""Presets, overrides and their mistakes; the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from simulator.cli.memory import app
from simulator.config.parts import part_files
from simulator.errors import ConfigError, UsageError
from simulator.hardware import dram
from simulator.hardware.catalogue import load_part, part_names
from simulator.hardware.devices.dram import Dram
from simulator.hardware.dram import measure

PEAK_GBPS = {
    "ddr4_2133": 17.07, "ddr4_2400": 19.2, "ddr4_2666": 21.33, "ddr4_3200": 25.6,
    "ddr5_4800": 19.2, "ddr5_5600": 22.4, "ddr5_6400": 25.6, "hbm2_pc64": 16.0,
    "hbm2_2x64": 32.0, "hbm3_2x32": 51.2, "hbm2_v100": 900.0, "hbm2e_a100": 2039.0,
    "hbm3_h100": 3350.0, "hbm3e_h200": 4800.0, "lpddr5x_grace": 546.0, "gddr6": 672.0,
}  # fmt: skip


def test_public_names_exist_once() -> None:
    assert len(set(dram.__all__)) == len(dram.__all__)
    assert all(hasattr(dram, name) for name in dram.__all__)


def test_every_preset_has_its_data_sheet_bandwidth_and_sources() -> None:
    assert set(part_names("memories")) == set(PEAK_GBPS)
    for name, peak in PEAK_GBPS.items():
        config = load_part(name)
        assert config.name == name
        assert config.peak_bytes_per_s / 1e9 == pytest.approx(peak, rel=0.005)
        assert {"clock", "organization", "timing", "mapping", "controller", "energy"} <= set(
            config.sources
        )
        assert all(len(source) > 10 for source in config.sources.values())
        assert hash(config) == hash(load_part(name))


def test_what_a_cache_gathers_waits_as_in_a_longer_write_queue() -> None:
    """32 KiB are 1,024 bursts of 32 B."""
    gathers = load_part("hbm3_h100", {"controller": {"base": "gpu", "write_queue": 64}}, Dram)
    queues = {"base": "gpu", "write_queue": 64 + 1024, "write_back_cache": None}
    longer = load_part("hbm3_h100", {"controller": queues}, Dram)
    assert gathers.write_entries == longer.write_entries == longer.controller.write_queue == 1088
    ticks = [
        measure(memory, "mixed", 256, 20_000, channels=1).elapsed_ticks
        for memory in (gathers, longer)
    ]
    assert ticks[0] == ticks[1]


def test_controller_presets() -> None:
    config = load_part("ddr4_2400", {"controller": "dramsim3", "read_queue": 8})
    assert (config.controller.scheduler, config.controller.read_queue) == ("per-bank", 8)


@pytest.mark.parametrize(
    ("overrides", "hint"),
    [
        ({"tpr": 3}, "rtp"),
        ({"timing.rf": 3}, "did you mean 'rfc'"),
        ({"timing": {"nope": 1}}, "timing.nope: unknown key"),
        ({"banks": 3}, "names no key of ddr4_2400"),
        ({"controller": "ramulater"}, "ramulator"),
    ],
)
def test_an_override_that_names_nothing_is_an_error(
    overrides: dict[str, object], hint: str
) -> None:
    with pytest.raises(ConfigError, match=hint):
        load_part("ddr4_2400", overrides)


@pytest.mark.parametrize(
    "overrides",
    [
        {"timing.rp": "seventeen"},
        {"timing.rp": -1},
        {"bank_groups": 3},
        {"clock": 1200},
        {"timing.refi": 300},
        {"interleave": "48B"},
        {"order": "diagonal"},
        {"simulated_channels": 9},
    ],
)
def test_values_that_do_not_fit_are_errors(overrides: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        load_part("ddr4_2400", overrides)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            {"rrd_s": 10**9},
            "timing.rrd_s: is 1000000000: must be at most 100,000: these are clocks",
        ),
        ({"rcd_rd": 3000}, "timing.rcd_rd: is 3,000 of the 8,940 clocks between two refreshes"),
        ({"refi": 500}, "timing.refi: must leave time between refreshes"),
        ({"burst_clocks": 10**6}, "burst_clocks: is 1000000: must be at most 1,024"),
        ({"energy.activate": "nan pJ"}, "energy.activate: 'nan pJ' is not a number with a unit"),
        ({"command_length.activate": 10**6}, "command_length.activate: is 1000000: must be at mo"),
        ({"read_queue": 10**9}, "controller.read_queue: is 1000000000: must be at most 16,384"),
        ({"drain_low": 0.0}, "controller.drain_low: is 0.0: must be greater than 0"),
        ({"drain_low": 0.9}, "controller.drain_low: must be below drain_high"),
        (
            {"write_back_cache": "50 MB"},
            'controller.write_back_cache: is "50 MB": must be at most 1,048,576',
        ),
        ({"ranks": 128}, "organization.ranks: is 128: must be at most 64: ranks share the buses"),
        ({"channels": 10**9}, "organization.channels: is 1000000000: must be at most 4,096"),
        ({"bank_groups": 3}, "organization.bank_groups: is 3: must be a power of two"),
        ({"banks_per_group": 64}, "organization: a rank of 256 banks in 1 pseudo-channels"),
        ({"rows_per_bank": 2**30}, "organization.rows_per_bank: is 1073741824: must be at most"),
        ({"interleave": "48 B"}, "mapping.interleave: must be a multiple of burst_bytes"),
        ({"scheduler": "per-bank", "ranks": 2}, "controller.scheduler: per-bank drives one"),
        (
            {"controller.refresh": "per_bank"},
            "timing.rfc_pb: is needed by controller.refresh",
        ),
        (
            {"controller.refresh": "per_bank", "timing.rfc_pb": 200},
            "timing.rrefd: is needed by controller.refresh",
        ),
        (
            {"controller.refresh": "per_bank", "timing.rfc_pb": 200, "timing.rrefd": 600},
            "timing.rrefd: must fit 16 times, once a bank, into refi",
        ),
        (
            {"scheduler": "per-bank", "controller.refresh": "per_bank"},
            "controller.refresh: per_bank needs the scheduler frfcfs or frfcfs-rowhit",
        ),
    ],
)
def test_what_no_memory_can_have_is_refused_before_it_is_simulated(
    overrides: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load_part("ddr4_2400", overrides)
    found = [f"{problem.key}: {problem.message}" for problem in caught.value.problems]
    assert len(found) == 1
    assert found[0].startswith(message)


def test_a_mistake_in_a_file_has_its_line(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("base: ddr4_2400\nname: mine\ntiming:\n  rrd_s: 1000000000\n  rpp: 3\n")
    with pytest.raises(ConfigError) as caught:
        load_part(path)
    assert [p.where.partition("mine.yaml:")[2] for p in caught.value.problems] == ["4:10", "5:3"]


def test_unknown_memory_says_what_it_could_be() -> None:
    with pytest.raises(ConfigError, match="hbm2_2x64"):
        load_part("hbm2_2x65")


def test_a_file_is_a_memory_too(tmp_path: Path) -> None:
    text = part_files()["ddr4_2400"].read_text(encoding="utf-8")
    path = tmp_path / "mine.yaml"
    path.write_text(text.replace("name: ddr4_2400", "name: mine"), encoding="utf-8")
    assert load_part(path).name == "mine"
    path.write_text("- just a list", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"mine.yaml:1:1: .* an entry is a mapping"):
        load_part(path)
    with pytest.raises(ConfigError, match="there is no file"):
        load_part(tmp_path / "missing.yaml")


@pytest.mark.parametrize(
    "arguments",
    [
        {"pattern": "random"},
        {"requests": 0},
        {"row_bytes": 0},
        {"load": 1.5},
        {"channels": 0},
        {"mapping": "row,bank"},
        {"write_fraction": 2.0},
    ],
)
def test_measure_refuses_nonsense(arguments: dict[str, object]) -> None:
    call: dict[str, object] = {"pattern": "gather", "row_bytes": 64, "requests": 10} | arguments
    with pytest.raises(UsageError):
        measure(load_part("ddr4_2400"), **call)  # type: ignore[arg-type]


def test_a_map_may_be_spelled_out() -> None:
    order = "column_low,bank_group,column,bank,stack_id,rank,row"
    config = load_part("ddr4_2400")
    assert measure(config, "seq", 64, 500, mapping=order).elapsed_ticks == (
        measure(config, "seq", 64, 500, mapping="bgi").elapsed_ticks
    )


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == 0, result.output
    return result.stdout


def test_measure_prints_one_json_document() -> None:
    document = json.loads(
        run(
            "measure", "--memory", "ddr4_2400", "--pattern", "gather", "--row-bytes", "256",
            "--requests", "5000", "--map", "row", "--load", "0.5", "--seed", "1",
            "--set", "timing.rp=20", "--json",
        )
    )  # fmt: skip
    keys = {
        "efficiency", "bandwidth_gbps", "mean_latency_ns", "row_hit_rate", "activates",
        "requests", "wall_s", "requests_per_s", "limiter", "energy_pj",
    }  # fmt: skip
    assert keys <= set(document)
    assert document["efficiency"] == pytest.approx(0.5, rel=0.02)


def test_tables_have_units() -> None:
    text = run("measure", "--memory", "hbm2_2x64", "--pattern", "mixed", "--requests", "2000")
    assert "GB/s" in text
    assert "ns" in text
    assert "ddr4_2400" in run("list")
    assert len(json.loads(run("list", "--json"))) == len(PEAK_GBPS)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--memory", "ddr9", "--pattern", "seq"],
        ["--memory", "ddr4_2400", "--pattern", "seq", "--load", "lots"],
        ["--memory", "ddr4_2400", "--pattern", "seq", "--set", "rp"],
        ["--memory", "ddr4_2400", "--pattern", "seq", "--set", "rp=["],
        ["--memory", "pcie3_x16", "--pattern", "seq"],
        ["--memory", "ddr4_2400", "--pattern", "seq", "--scheduler", "fifo"],
    ],
)
def test_mistakes_are_errors_with_a_sentence(arguments: list[str]) -> None:
    result = CliRunner().invoke(app, ["measure", *arguments])
    assert isinstance(result.exception, ConfigError | UsageError)
    assert str(result.exception)


@pytest.mark.parametrize(("dimms", "buses", "peak"), [(1, 2, 38.4), (12, 24, 460.8)])
def test_a_ddr5_channel_has_two_buses(dimms: int, buses: int, peak: float) -> None:
    """12 x 4800 MT/s x 8 B = 460.8 GB/s."""
    memory = load_part("ddr5_4800", {"organization.dimm_channels": dimms}, Dram)
    assert memory.channels == buses
    assert memory.peak_bytes_per_s == pytest.approx(peak * 1e9)
    assert memory.derived()["channels"] == f"{buses} ({dimms} of DDR5, two sub-channels each)"
    assert Dram.model_validate(memory.model_dump(mode="json")) == memory


@pytest.mark.parametrize(
    ("part", "changes", "message"),
    [
        ("ddr5_4800", {"channels": 16}, "write organization.dimm_channels"),
        ("ddr5_4800", {"channels": 8, "dimm_channels": 8}, "write organization.dimm_channels"),
        ("ddr4_2400", {"dimm_channels": 4}, "write organization.channels of DDR4"),
        ("ddr5_4800", {"dimm_channels": 0}, "dimm_channels"),
        ("ddr5_4800", {"dimm_channels": "many"}, "dimm_channels"),
        ("ddr5_4800", {"dimm_channels": 10**9}, "at most 4,096"),
    ],
)
def test_channels_are_counted_as_data_sheets_count_them(
    part: str, changes: dict[str, object], message: str
) -> None:
    keys = {f"organization.{key}": value for key, value in changes.items()}
    with pytest.raises(ConfigError, match=message):
        load_part(part, keys, Dram)
