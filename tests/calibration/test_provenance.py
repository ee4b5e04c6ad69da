"""What came out of a calibration says so, and stops saying so when somebody changes it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from simulator.calibration.provenance import calibrated_of, with_calibrated
from simulator.config.expand import expand
from simulator.config.machine import MachineConfig
from simulator.engine import parse_experiment
from simulator.hardware.catalogue import load_machine

FITTED = "base: v100_p3\nname: mine\nhost:\n  cpu:\n    page_fault: 1 us\n"


def machine(host: dict[str, Any], base: str = "h200") -> MachineConfig:
    platform = {"base": base, "host": host}
    data = {"config_version": 1, "platform": platform, "model": "default", "systems": ["hybrid"]}
    return expand(parse_experiment({**data, "trace": {"kind": "uniform"}}))[0].platform


def test_parts_of_which_a_number_was_found_are_calibrated(tmp_path: Path) -> None:
    """The CPU alone was measured: GPU and link are those of the base, so the machine is partly."""
    folder = tmp_path / "micro"
    folder.mkdir()
    said = {"cpu": "a Xeon", "gpu": "a GPU", "date": "2026-11-25"}
    (folder / "machine.json").write_text(json.dumps(said))
    expected = {"machine": "a Xeon, a GPU", "date": "2026-11", "measured": "micro"}
    assert calibrated_of(folder) == expected
    out = tmp_path / "mine.yaml"
    found = ["platform.host.cpu.page_fault", "operators.sort.row_time"]
    out.write_text(with_calibrated({out: FITTED}, found, folder)[out])
    mine = load_machine(str(out))
    (_, cpu), (_, gpu) = *mine.parts("cpu"), *mine.parts("gpu")
    assert cpu.calibrated.model_dump() == expected
    assert gpu.calibrated is None
    assert mine.calibrated == "partly"


def test_files_of_parts_say_it_themselves_and_profiles_do_not(tmp_path: Path) -> None:
    part, profile = tmp_path / "parts" / "cpus" / "a.yaml", tmp_path / "operators" / "b.yaml"
    texts = {
        part: "kind: cpu # kept\ncalibrated: {machine: old, measured: old}\nsources: {cores: x}\n",
        profile: "name: b\nsort: {row_time: 2 ns}\n",
    }
    found = ["platform.host.cpu.page_fault", "operators.sort.row_time"]
    changed = with_calibrated(texts, found, tmp_path / "micro")
    assert changed[profile] == texts[profile]
    assert "kind: cpu # kept" in changed[part]
    assert "machine: not said" in changed[part]
    assert "old" not in changed[part]


def test_a_machine_that_does_not_say_what_it_is(tmp_path: Path) -> None:
    assert calibrated_of(tmp_path) == {"machine": "not said", "measured": tmp_path.name}


@pytest.mark.parametrize(
    ("base", "level"),
    [
        *(("h200", "yes"), ("h100_vm", "yes")),
        *(("h100", "partly"), ("h100_x2", "partly")),
        *(("v100_p3", "no"), ("p3_16xlarge", "no")),
    ],
)
def test_machines_of_the_catalogue_say_whether_they_are_calibrated(base: str, level: str) -> None:
    assert load_machine(base).calibrated == level


@pytest.mark.parametrize(
    "host",
    [
        {"cpu": {"idle_power": "30 W"}},
        {"cpu": {"memory": {"capacity": "256 GiB"}}},
        {"pcie": {"part": "pcie4_x16"}},
        {"gpu": "a100_sxm4_80gb"},
    ],
)
def test_a_changed_part_is_not_calibrated_any_more(host: dict[str, Any]) -> None:
    assert machine(host).calibrated == "partly"


def test_what_changes_no_number_leaves_it() -> None:
    assert machine({"cpu": {"name": "my own"}}).calibrated == "yes"
    assert machine({"gpu": {"count": 1}}).calibrated == "yes"


def test_a_part_of_another_machine_brings_its_calibration() -> None:
    assert machine({"gpu": "h200_sxm5_141gb"}, base="v100_p3").calibrated == "partly"
    assert machine({"gpu": "h200_sxm5_141gb"}, base="h100_vm").calibrated == "yes"
