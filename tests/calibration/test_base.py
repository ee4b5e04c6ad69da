"""Which machine a calibration starts from, and what it does with each file of a folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from simulator.calibration.base import base_for
from simulator.calibration.calibrate import UNUSED, Entries, Options, calibrate
from simulator.calibration.cpu_points import own_software
from simulator.calibration.facts import described, described_by
from simulator.calibration.sockets import gpu_of
from simulator.cli.app import main
from simulator.config.catalogue import load_named
from simulator.errors import UsageError
from simulator.hardware.catalogue import load_machine, machine_names

SHIPPED = Path(__file__).parents[2] / "experiments" / "validation"
MEASURED = SHIPPED / "microbenchmarks"
H100: dict[str, Any] = {"gpu": "NVIDIA H100 80GB HBM3", "cores": 56}


def run(*arguments: str) -> int:
    """Exit code of the command."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    return int(ended.value.code or 0)


def folder_with(tmp_path: Path, said: dict[str, Any] | None) -> Path:
    """Measured sorts, and what their machine says of itself."""
    (tmp_path / "micro_sort.csv").write_text((MEASURED / "micro_sort.csv").read_text())
    if said is not None:
        (tmp_path / "machine.json").write_text(json.dumps(said))
    return tmp_path


def test_the_machine_with_the_measured_gpu_is_the_base() -> None:
    assert base_for(described_by(MEASURED)).reference == "h200"
    assert base_for(described(H100, "it")).machine.name == "h100"
    assert base_for(described({"gpu": "Tesla V100-SXM2-32GB"}, "it")).machine.name == "v100_p3"


def test_the_number_of_gpus_decides_between_machines_of_one_gpu() -> None:
    eight = described({"gpu": "Tesla V100-SXM2-16GB", "gpus": 8}, "it")
    assert base_for(eight).reference == "p3_16xlarge"
    with pytest.raises(UsageError, match=r"no machine .* has 3 x NVIDIA H100 80GB HBM3"):
        base_for(described(H100 | {"gpus": 3}, "it"))


def test_cores_decide_between_machines_of_one_gpu_and_the_others_are_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    h100 = load_machine("h100")
    small = load_machine("h100", ["host.cpu.cores=16"]).model_copy(update={"name": "h100_vm"})
    machines = {"h100": h100, "h100_vm": small}
    monkeypatch.setattr("simulator.calibration.base.machine_names", lambda: tuple(machines))
    monkeypatch.setattr("simulator.calibration.base.load_machine", machines.__getitem__)
    found = base_for(described(H100 | {"cores": 20}, "it"))
    assert found.reference == "h100_vm"
    assert found.remark == "chosen by its cores; h100 has that GPU too"
    assert base_for(described(H100 | {"cores": 48}, "it")).reference == "h100"


def test_a_base_with_another_gpu_is_refused_with_the_name_to_type() -> None:
    """Else the HBM of the wrong card is fitted to, without a word."""
    with pytest.raises(UsageError, match=r"--base h200 has NVIDIA H200 .* type --base h100"):
        base_for(described(H100, "it"), "h200")
    assert base_for(described(H100, "it"), "h100").remark == ""


def test_a_gpu_that_the_catalogue_lacks_needs_a_base_and_says_whose_peaks_it_gets() -> None:
    other = described({"gpu": "NVIDIA B200"}, "it")
    with pytest.raises(UsageError, match=r"reports 'NVIDIA B200': add it to `reported_as`"):
        base_for(other)
    remark = base_for(other, "h200").remark
    assert remark == "peaks and HBM are those of NVIDIA H200 SXM5 141 GB, not of NVIDIA B200"


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (None, r"no machine\.json"),
        ({"cores": 4}, "names no GPU"),
        ({"gpu": "x", "gpus": 0}, "gpus"),
    ],
)
def test_nothing_that_leads_to_a_machine_is_an_error(
    tmp_path: Path, said: dict[str, Any] | None, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        base_for(described_by(folder_with(tmp_path, said)))


def test_every_gpu_of_the_catalogue_is_recognised_by_what_it_reports() -> None:
    for name in machine_names():
        machine = load_machine(name)
        for _, part in machine.parts("gpu"):
            assert part.reported_as, f"{name}: nothing says what its driver calls {part.name}"
            count = machine.socket("gpu").count
            said = {"gpu": part.reported_as[0], "gpus": count}
            assert base_for(described(said, "it"), name).machine == machine
            found = base_for(described(said, "it")).machine
            assert gpu_of(found).name == part.name


def test_the_command_refuses_the_wrong_card(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(folder_with(tmp_path, H100))
    out = str(tmp_path / "x.yaml")
    assert run("calibrate", "--from", folder, "--out", out, "--base", "h200") == 2
    assert "type --base h100" in capsys.readouterr().err
    assert run("calibrate", "--from", folder, "--out", out) == 0
    told = capsys.readouterr()
    assert "base: h100" in told.err
    assert "micro_sort.csv: 30 points" in told.out
    made = load_machine(out)
    assert gpu_of(made).memory == gpu_of(load_machine("h100")).memory
    assert gpu_of(made).name == "NVIDIA H100 SXM5 80 GB"


@pytest.mark.parametrize(
    ("note", "arguments", "profile"),
    [
        ("compiled with numba; ring of 8", (), "observed"),
        ("C++, 16 threads", (), "tuned"),
        ("compiled with numba; ring of 8", ("--profile", "tuned"), ""),
    ],
)
def test_the_software_that_was_measured_is_the_profile(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    note: str,
    arguments: tuple[str, ...],
    profile: str,
) -> None:
    """One gather decides nothing, so that all keeps; who made it says which kernels they were."""
    folder = folder_with(tmp_path, H100)
    row = f'gather,own nt-store,128,1,327680,uniform,9.1,"{note}"'
    (folder / "micro_cpu.csv").write_text(f"op,impl,dim,threads,n_rows,dist,ms,note\n{row}\n")
    out, software = str(tmp_path / "x.yaml"), tmp_path / "software.yaml"
    start = ("calibrate", "--from", str(folder), "--out", out, "--operators", str(software))
    start += ("--keep-undecided",)
    assert run(*start, *arguments) == 0
    told = capsys.readouterr().err
    assert (f"profile: {profile}" in told) if profile else ("profile:" not in told)
    ids = {"observed": 8, "tuned": 4}[profile or "tuned"]
    assert load_named("operators", str(software)).id_bytes == ids


def test_measurements_that_ship_say_whose_software_it_was() -> None:
    """Folders of this program's own measurements are called `*_micro`."""
    folders = {file.parent for file in SHIPPED.glob("*/micro_cpu.csv")}
    own = {folder.name for folder in folders if own_software(folder)}
    assert own == {folder.name for folder in folders if folder.name.endswith("_micro")}
    assert {"h100_micro", "h200_micro"} <= own


def test_every_file_of_the_folder_is_told_as_used_or_not(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, H100)
    (folder / "micro_network.csv").write_text("op,ms\nping,1\n")
    (folder / "micro_plan.csv").write_text("slots,n_lookups,misses,ms\n")
    launch = "empty kernel via ctypes, back to back (per launch)"
    (folder / "micro_launch.csv").write_text(f'what,us\n"{launch}",4\n')
    base = load_machine("h100")
    entries = Entries(base, load_named("operators", "tuned"), load_named("models", "default"))
    assert calibrate(folder, entries).files == {
        "machine.json": "what was measured",
        "micro_launch.csv": "launch as measured",
        "micro_network.csv": UNUSED,
        "micro_plan.csv": f"{UNUSED}: no row of it is of use",
        "micro_sort.csv": "30 points",
    }


def test_a_catalogue_machine_with_other_cores_is_no_base_to_write_into(tmp_path: Path) -> None:
    base = load_machine("h100")
    entries = Entries(base, load_named("operators", "tuned"), load_named("models", "default"))
    folder = folder_with(tmp_path, H100 | {"cores": 16, "gpu_l2_cache_bytes": 50 << 20})
    with pytest.raises(UsageError, match=r"cpu\.cores is 56 in the catalogue, 16 says the machine"):
        calibrate(folder, entries, Options(own_facts=False))
    folder_with(tmp_path, H100 | {"gpu_l2_cache_bytes": 50 << 20})  # 5 % above 50 MB: the same
    assert calibrate(folder, entries, Options(own_facts=False)).facts == {}
