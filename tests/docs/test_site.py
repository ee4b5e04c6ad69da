"""The documentation site is built without a warning, and has a page for everything."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from outside import ROOT

from simulator import systems
from simulator.hardware.catalogue import machine_names
from simulator.studies import find_studies

BUILD = ROOT / "docs" / "site" / "build.py"


def built(script: Path, out: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(script), str(out)]
    return subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("site")
    done = built(BUILD, out)
    assert done.returncode == 0, done.stdout + done.stderr
    return out


def text(site: Path, page: str) -> str:
    return (site / f"{page}.html").read_text(encoding="utf-8")


def test_every_page_of_the_repository_is_there(site: Path) -> None:
    for page in (ROOT / "docs").glob("*.md"):
        assert (site / f"{page.stem}.html").is_file()
    for study in (ROOT / "experiments").glob("[0-9]*/README.md"):
        assert "scratchpipe reproduce" in text(site, f"studies/{study.parent.name}")


def test_the_gallery_has_every_study_and_the_picture_that_ships(site: Path) -> None:
    page = text(site, "gallery")
    for study in find_studies(["all"]):
        assert f"scratchpipe reproduce {study.name} --out figures" in page
    assert "breakdown.png" in page


def test_every_system_and_platform_has_a_page(site: Path) -> None:
    for name in systems.names():
        assert f"$ scratchpipe explain {name}" in text(site, f"systems/{name}")
    for name in machine_names():
        sheet = text(site, f"platforms/{name}")
        assert "peak of each" in sheet
        assert "GB/s" in sheet


@pytest.mark.parametrize(
    ("page", "words"),
    [
        ("reference/experiment", ("prefill", "cpu_pool", "memory_fidelity", "window_past")),
        ("reference/platform", ("raw_bandwidth", "miss_buffers", "launch")),
        ("reference/trace", ("Kind <code", "Format npz", "popularity curve")),
        ("reference/simulator_caches", ("Policy", "int64", "Source:")),
        ("reference/simulator_errors", ("CapacityError", "exit code")),
    ],
)
def test_the_reference_is_that_of_the_code(site: Path, page: str, words: tuple[str, ...]) -> None:
    for word in words:
        assert word in text(site, page), word


def test_a_link_that_leads_nowhere_fails(tmp_path: Path) -> None:
    """In a copy whose first page has one; the code is that of the checkout."""
    for name in ("docs", "experiments"):
        shutil.copytree(ROOT / name, tmp_path / name)
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    (tmp_path / "README.md").write_text(f"[gone](gone.md)\n{page}", encoding="utf-8")
    done = built(tmp_path / "docs" / "site" / "build.py", tmp_path / "out")
    assert done.returncode
    assert "README.md: links to gone.md, which is not there" in done.stderr


def test_an_anchor_that_is_not_there_fails(tmp_path: Path) -> None:
    """Of the settings alone: two pages."""
    shutil.copy(BUILD.parent / "conf.py", tmp_path)
    (tmp_path / "index.md").write_text("# One\n\n[two](index.md#three)\n", encoding="utf-8")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", str(tmp_path), str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode
    assert "three" in done.stderr
