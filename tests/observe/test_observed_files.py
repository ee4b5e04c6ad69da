"""`observed.json` is checked before anything is made of it."""

import shutil
from pathlib import Path

import pytest

from simulator.errors import UsageError
from simulator.observe.reading import read_observed

SHIPPED = Path(__file__).parents[2] / "experiments" / "validation"
RUNS = sorted(file.parent for file in SHIPPED.glob("*/*/observed.json"))


@pytest.mark.parametrize("folder", RUNS, ids=lambda folder: f"{folder.parent.name}-{folder.name}")
def test_what_is_shipped_is_whole(folder):
    assert read_observed(folder)["points"]


@pytest.mark.parametrize("text", ["", "[]", "3", "{", '"x"', "[" * 100_000])
def test_what_is_no_observation_is_told(tmp_path, text):
    shutil.copytree(RUNS[0], tmp_path / "run")
    (tmp_path / "run" / "observed.json").write_text(text)
    with pytest.raises(UsageError, match=r"observed\.json"):
        read_observed(tmp_path / "run")
