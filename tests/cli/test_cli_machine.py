"""`scratchpipe machine show`: what a machine is made of, with numbers and sources."""

from __future__ import annotations

import json

import pytest
from typed import ran

from simulator.config.listing import numbers_of, parts_of, sourced_numbers
from simulator.hardware.catalogue import load_machine, load_part
from simulator.units import format_quantity


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error."""
    return ran(capsys, "machine", *arguments)


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")


def test_parts_counts_and_joins_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    code, text, _ = run(capsys, "show", "p3_16xlarge")
    lines = [line.split("│")[2:7] for line in text.splitlines() if line.startswith("│")][:4]
    assert code == 0
    assert [[cell.strip() for cell in line] for line in lines] == [
        ["cpu", "1", "cpu", "2 x Intel Xeon E5-2686 v4", ""],
        ["gpu", "8", "gpu", "NVIDIA V100 SXM2", ""],
        ["pcie", "", "pcie", "PCIe 3.0 x16", "cpu, gpu, 1 to a link"],
        ["nvlink", "", "mesh", "NVLink 2.0 hybrid cube mesh", "gpu"],
    ]
    assert "24.48 USD an hour" in text


def test_resources_and_routes_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    _, text, _ = run(capsys, "show", "p3_16xlarge")
    rows = [[c.strip() for c in line.strip("│").split("│")] for line in text.splitlines()]
    assert ["gpu0..gpu7 HBM", "gpu0.hbm ... gpu7.hbm", "896 GB/s"] in rows
    assert ["cpu.dram", "gpu0.hbm", "pcie0"] in rows
    assert ["gpu0.hbm", "gpu1.hbm", "nvlink"] in rows


def test_rates_have_units_and_sources(capsys: pytest.CaptureFixture[str]) -> None:
    _, text, _ = run(capsys, "show", "v100_p3")
    rows = [[c.strip() for c in line.strip("│").split("│")] for line in text.splitlines()]
    assert ["raw_bandwidth", "15.754 GB/s"] in [row[:2] for row in rows]
    assert ["peak bandwidth", "76.8 GB/s", "derived"] in rows
    assert ["peak.fp32", "15.7 TFLOP/s", "NVIDIA V100 data sheet"] in rows
    assert not any(row[0] == "timing.rp" for row in rows)


def test_all_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    _, text, _ = run(capsys, "show", "v100_p3", "--all")
    assert "timing.rp" in text
    assert "controller.read_queue" in text


def test_json_is_the_resolved_machine(capsys: pytest.CaptureFixture[str]) -> None:
    _, text, _ = run(capsys, "show", "gh200", "--json")
    assert json.loads(text) == load_machine("gh200").model_dump(mode="json")


def test_a_change_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    lines = ("--set", "host.gpu.count=8", "--set", "platform.host.gpu.part=a100_sxm4_80gb")
    _, text, _ = run(capsys, "show", "h200", *lines, "--json")
    gpu = json.loads(text)["hosts"][0]["sockets"]["gpu"]
    assert (gpu["count"], gpu["part"]["name"]) == (8, "NVIDIA A100 SXM4 80 GB")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("h20",), 'error: h20: platform: is "h20": not in the catalogue of platforms'),
        (("h200", "--set", "host.gpu.count=0"), "error: --set host.gpu.count: platform.host.gpu.c"),
        (("h200", "--set", "host.gpu"), "error: --set host.gpu: is not path=value"),
    ],
)
def test_a_mistake_has_its_place(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], words: str
) -> None:
    code, _, error = run(capsys, "show", *arguments)
    assert code == 2
    assert words in error


def test_a_number_without_a_source_says_so() -> None:
    part = load_part("pcie3_x16", {"latency": "3 us"})
    rows = {key: (value, source) for key, value, source in numbers_of(part, False)}
    assert rows["latency"] == ("3 us", "not given")
    assert rows["max_payload"][0] == "128 B"


def test_a_source_of_several_numbers_has_no_value() -> None:
    rows = {key: value for key, value, _ in sourced_numbers(load_part("v100_sxm2_32gb"))}
    assert (rows["peak"], rows["l2_cache"]) == ("", "6 MB")


def test_equal_parts_are_listed_once() -> None:
    paths = [path for path, _ in parts_of(load_machine("v100_p3"))]
    assert paths == ["cpu", "cpu.memory", "gpu", "gpu.memory", "pcie"]
    twice = load_machine(
        "v100_p3", ["host.spare={part: xeon_e5_2698v4}", "host.pcie.join=[cpu,gpu,spare]"]
    )
    assert [path for path, _ in parts_of(twice)] == paths


@pytest.mark.parametrize(
    ("kept", "shown"),
    [
        ("63015000000 B/s", "63.015 GB/s"),
        ("523986010112 B", "488 GiB"),
        ("6000000 B", "6 MB"),
        ("250000 ps", "250 ns"),
        ("0 ps", "0 ps"),
        ("135.0 W", "135 W"),
        ("0.033 W", "33 mW"),
        ("DDR4", "DDR4"),
        ("16", "16"),
    ],
)
def test_quantities_as_people_write_them(kept: str, shown: str) -> None:
    assert format_quantity(kept) == shown


def test_a_platform_that_is_listed_by_name_shows_its_data_sheet(
    capsys: pytest.CaptureFixture[str],
) -> None:
    _, sheet, _ = run(capsys, "show", "h200")
    assert ran(capsys, "list", "platforms", "h200") == (0, sheet, "")
    assert "GB/s" in sheet
    code, _, error = ran(capsys, "list", "systems", "hybrid")
    assert code == 2
    assert "a platform alone has a data sheet; `scratchpipe explain hybrid`" in error
