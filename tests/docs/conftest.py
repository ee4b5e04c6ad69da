"""Packages from outside: the examples, as installing them would leave them."""

from __future__ import annotations

import importlib
import shutil
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from simulator.hardware.devices import part_kinds

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "docs" / "examples"
NAMES = tuple(sorted(path.parent.name for path in EXAMPLES.glob("*/pyproject.toml")))


def install(project: Path, site: Path) -> None:
    """What `pip install PROJECT` leaves in the folder `site`: modules and entry points."""
    site.mkdir(exist_ok=True)
    for module in project.glob("*.py"):
        shutil.copy(module, site)
    text = (project / "pyproject.toml").read_text(encoding="utf-8")
    announce(tomllib.loads(text)["project"], site)


def announce(project: dict, site: Path) -> None:
    """Name the entry points of the table `project` of a `pyproject.toml` in `site`."""
    name = str(project["name"]).replace("-", "_")
    folder = site / f"{name}-1.0.dist-info"
    folder.mkdir(parents=True)
    lines = ["Metadata-Version: 2.1", f"Name: {project['name']}", "Version: 1.0"]
    (folder / "METADATA").write_text("\n".join(lines), encoding="utf-8")
    groups = project["entry-points"].items()
    text = "\n".join(
        f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in entries.items())
        for group, entries in groups
    )
    (folder / "entry_points.txt").write_text(text, encoding="utf-8")


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder outside of the package with a copy of every example, all of them installed."""
    folder = tmp_path_factory.mktemp("outside")
    site = folder / "site"
    for name in NAMES:
        shutil.copytree(EXAMPLES / name, folder / name)
        install(folder / name, site)
    sys.path.insert(0, str(site))
    importlib.invalidate_caches()
    part_kinds.cache_clear()
    yield folder
    sys.path.remove(str(site))
    part_kinds.cache_clear()
    for name in NAMES:
        sys.modules.pop(name, None)
