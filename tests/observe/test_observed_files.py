"""`observed.json` is checked before anything is made of it."""

import copy
import json
import shutil
from pathlib import Path

import pytest

from simulator.errors import UsageError
from simulator.observe.record import read_observed

SHIPPED = Path(__file__).parents[2] / "experiments" / "validation"
RUNS = sorted(file.parent for file in SHIPPED.glob("*/*/observed.json"))


@pytest.mark.parametrize("folder", RUNS, ids=lambda folder: f"{folder.parent.name}-{folder.name}")
def test_what_is_shipped_is_whole(folder):
    assert read_observed(folder)["points"]


def removed(*path):
    def change(data):
        for key in path[:-1]:
            data = data[key]
        del data[path[-1]]

    return change


def changed(value, *path):
    def change(data):
        for key in path[:-1]:
            data = data[key]
        data[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (removed("points"), "points: Field required"),
        (removed("points", 0, "label"), "points.0.label: Field required"),
        (removed("points", 0, "repeats_us"), "points.0: Value error, repeats_us is missing"),
        (changed("x", "points", 0, "iteration_us"), "points.0.iteration_us: "),
        (changed(-1.0, "points", 0, "iteration_us"), "points.0.iteration_us: "),
        (changed(float("nan"), "points", 0, "stages_us"), "points.0.stages_us: "),
        (changed({"load": float("inf")}, "points", 0, "stages_us"), "points.0.stages_us.load: "),
        (changed([], "experiment"), "experiment: "),
        (changed(None, "threads"), "threads: "),
        (changed("x", "points"), "points: "),
    ],
)
def test_what_is_damaged_is_told_with_its_place(tmp_path, change, words):
    data = copy.deepcopy(json.loads((RUNS[0] / "observed.json").read_text()))
    change(data)
    (tmp_path / "observed.json").write_text(json.dumps(data))
    with pytest.raises(UsageError) as caught:
        read_observed(tmp_path)
    assert f"observed.json is damaged: {words}" in str(caught.value)
    assert str(caught.value).endswith("; observe the experiment again")


@pytest.mark.parametrize("text", ["", "[]", "3", "{", '"x"', "[" * 100_000])
def test_what_is_no_observation_is_told(tmp_path, text):
    shutil.copytree(RUNS[0], tmp_path / "run")
    (tmp_path / "run" / "observed.json").write_text(text)
    with pytest.raises(UsageError, match=r"observed\.json"):
        read_observed(tmp_path / "run")


def test_a_damaged_table_beside_it_is_told(tmp_path):
    from simulator.validation.machines import with_stage_repeats

    folder = next(run for run in RUNS if (run / "stages.parquet").is_file())
    shutil.copytree(folder, tmp_path / "run")
    table = tmp_path / "run" / "stages.parquet"
    table.write_bytes(table.read_bytes()[:100])
    with pytest.raises(UsageError, match=r"stages\.parquet is damaged"):
        with_stage_repeats((tmp_path / "run", read_observed(tmp_path / "run")))
