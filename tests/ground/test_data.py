"""Data files are found from a source checkout and from a wheel, wherever the simulator runs."""

from __future__ import annotations

import subprocess
import sys
import tomllib
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


def test_the_package_runs_as_a_module() -> None:
    command = [sys.executable, "-m", "simulator", "--version"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
