"""A catalogue of made-up parts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from made_up_parts import FILES

from simulator.config import catalogue


@pytest.fixture
def made_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], Path]:
    """A catalogue of `FILES`; the function adds a file below `configs/`."""
    monkeypatch.setattr(catalogue, "data_path", lambda kind: tmp_path / kind)
    (tmp_path / "configs" / "platforms").mkdir(parents=True)

    def add(name: str, text: str) -> Path:
        file = tmp_path / "configs" / f"{name}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        return file

    for name, text in FILES.items():
        add(f"parts/{name}", text)
    return add
