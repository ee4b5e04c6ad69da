"""Packages from outside of the package, as installing them would leave them."""

from __future__ import annotations

import shutil
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

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


def announce(project: Mapping[str, Any], site: Path) -> None:
    """Name the entry points of the table `project` of a `pyproject.toml` in `site`."""
    folder = site / f"{project['name'].replace('-', '_')}-1.0.dist-info"
    folder.mkdir(parents=True)
    lines = ["Metadata-Version: 2.1", f"Name: {project['name']}", "Version: 1.0"]
    (folder / "METADATA").write_text("\n".join(lines), encoding="utf-8")
    text = "".join(
        f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in entries.items())
        for group, entries in project["entry-points"].items()
    )
    (folder / "entry_points.txt").write_text(text, encoding="utf-8")
