"""Training needs PyTorch: without it these tests are skipped, and say so."""

from __future__ import annotations

import importlib.util
import shutil
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"


@pytest.fixture(scope="session")
def torch_there() -> None:
    """Skip where PyTorch is not installed (it is the extra `lab`, some gigabytes large)."""
    if importlib.util.find_spec("torch") is None:
        pytest.skip("PyTorch is not installed: pip install -e .[lab]")


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[None]:
    """The systems of the documentation's examples, as installing them would leave them."""
    names = ("five_stages", "own_replay")
    for name in names:
        shutil.copy(EXAMPLES / name / f"{name}.py", tmp_path)
        text = (EXAMPLES / name / "pyproject.toml").read_text(encoding="utf-8")
        points = tomllib.loads(text)["project"]["entry-points"]["scratchpipe.systems"]
        folder = tmp_path / f"{name}-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0")
        lines = "".join(f"{key} = {value}\n" for key, value in points.items())
        (folder / "entry_points.txt").write_text(f"[scratchpipe.systems]\n{lines}")
    sys.path.insert(0, str(tmp_path))
    importlib.invalidate_caches()
    yield
    sys.path.remove(str(tmp_path))
    for name in names:
        sys.modules.pop(name, None)
