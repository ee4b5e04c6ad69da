"""Data files are found from a source checkout and from a wheel, wherever the simulator runs."""

from __future__ import annotations

import subprocess
import sys
import tomllib
import zipfile
from importlib import resources
from pathlib import Path

import pytest

import simulator
from simulator import data
from simulator.config import catalogue

REPOSITORY = Path(simulator.__file__).parents[1]
KINDS = ("configs", "experiments", "traces")


def test_a_checkout_has_them_beside_the_package() -> None:
    for kind in KINDS:
        assert data.path(kind) == REPOSITORY / kind
        assert data.path(kind).is_dir()


def test_a_package_that_brings_its_own_files_looks_nowhere_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "simulator"
    (package / "_data" / "configs").mkdir(parents=True)
    (tmp_path / "configs").mkdir()  # of something else that is installed
    monkeypatch.setattr(resources, "files", lambda name: package)
    assert catalogue.directory("models") == package / "_data" / "configs" / "models"
    file = str(package / "_data" / "configs" / "models" / "mine.yaml")
    assert catalogue.portable(file) == "configs/models/mine.yaml"


def test_the_wheel_is_told_of_every_folder() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    packed = project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    assert packed == {kind: f"simulator/_data/{kind}" for kind in KINDS}


def test_a_wheel_runs_from_an_empty_folder(tmp_path: Path) -> None:
    pytest.importorskip("hatchling", reason="hatchling is not installed")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=REPOSITORY, check=True, capture_output=True, timeout=120)
    (wheel,) = tmp_path.glob("*.whl")
    target, empty = tmp_path / "target", tmp_path / "empty"
    empty.mkdir()
    with zipfile.ZipFile(wheel) as archive:
        assert "simulator/py.typed" in archive.namelist()
        archive.extractall(target)
    code = (
        "from simulator.hardware.catalogue import part_names\n"
        "from simulator.studies.base import study_names\n"
        "from simulator.traces.curves import shipped\n"
        "print(len(study_names()), len(part_names('memories')), shipped('popularity_curves.csv'))\n"
    )

    def output(*arguments: str) -> str:
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=empty,
            env={"PYTHONPATH": str(target), "HOME": str(empty)},
            check=True,
            capture_output=True,
            text=True,
            timeout=120,
        ).stdout

    assert "mlperf_dlrm" in output("-m", "simulator", "list", "models")
    studies, memories, file = output("-c", code).split()
    assert int(studies) >= 10
    assert int(memories) >= 8
    assert Path(file) == target / "simulator" / "_data" / "traces" / "popularity_curves.csv"


def test_the_package_runs_as_a_module() -> None:
    command = [sys.executable, "-m", "simulator", "--version"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
