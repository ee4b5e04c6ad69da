"""The examples of the documentation, installed in a folder of their own."""

from __future__ import annotations

import importlib
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from outside import EXAMPLES, NAMES, install

from simulator.hardware.devices import part_kinds


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
