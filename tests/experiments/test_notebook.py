"""The cells of the notebook run as they stand."""

from __future__ import annotations

import json
from pathlib import Path

import matplotlib as mpl
import pytest

FOLDER = Path(__file__).parents[2] / "experiments/notebook"


def test_the_cells_run_from_top_to_bottom(monkeypatch: pytest.MonkeyPatch) -> None:
    mpl.use("Agg")
    monkeypatch.chdir(FOLDER)
    notebook = json.loads((FOLDER / "first_look.ipynb").read_text(encoding="utf-8"))
    space: dict[str, object] = {}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            lines = [line for line in "".join(cell["source"]).splitlines() if line[:1] != "%"]
            exec("\n".join(lines), space)
            assert cell["outputs"] or "quickstart =" in "".join(cell["source"])
    assert set(space["stages"]["system"]) >= {"hybrid", "scratchpipe"}
