"""The experiments that ship to be observed can be, on a machine with 16 cores and enough GPUs."""

from __future__ import annotations

from pathlib import Path

import pytest

from simulator.config.expand import expand
from simulator.engine import load_experiment
from simulator.observe import refusals

pytestmark = pytest.mark.usefixtures("torch_there")

FOLDER = Path(__file__).parents[2] / "experiments" / "validation"
FILES = sorted(
    file.name
    for file in FOLDER.glob("*.yaml")
    if file.read_text(encoding="utf-8").find("\nconfig_version:") >= 0
)
NEW = {"adagrad.yaml", "precision.yaml", "stock.yaml", "threads.yaml", "two_gpus.yaml"}
NEW |= {"two_gpus_locality.yaml", "two_gpus_cache.yaml"}


def test_the_files_are_found() -> None:
    assert {"batch.yaml", "cache.yaml", "dim.yaml", "locality.yaml", "lookups.yaml"} | NEW <= {
        *FILES
    }


@pytest.mark.parametrize("name", FILES)
def test_every_point_is_implemented(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refusals, "most_threads", lambda: 16)
    points = expand(load_experiment(FOLDER / name, []))
    for point in points:
        assert refusals.program_of(point) is not None, "it does not fit its machine"
        refusals.require_trainable(point, "cpu")
    systems = {point.system.name for point in points}
    assert len(points) >= 3
    if name in NEW:
        assert "scratchpipe" in systems
