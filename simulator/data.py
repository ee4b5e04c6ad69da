"""Where the data files that come with the simulator lie.

A source checkout has them in top-level folders beside the package, a wheel in `simulator/_data`
(`pyproject.toml`), with the same folders inside, so that paths between them hold in both.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Literal

__all__ = ["path"]


def path(kind: Literal["configs", "experiments", "traces"]) -> Path:
    """The folder of the catalogue, of the studies, or of published traces and curves."""
    package = Path(str(resources.files("simulator")))
    packed = package / "_data" / kind
    return packed if packed.is_dir() else package.parent / kind
