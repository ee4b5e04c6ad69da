"""Finished points stay until somebody says that they may go."""

import json

import pytest

from simulator.engine import parse_experiment
from simulator.errors import UsageError
from simulator.sweep import work
from simulator.sweep.ownership import require_owned
from simulator.sweep.run_directory import run_experiment

DATA = {
    "config_version": 1,
    "name": "small",
    "platform": "v100_p3",
    "model": {"base": "default", "tables": 1, "rows_per_table": 2000, "batch_size": 16},
    "trace": {"kind": "zipf", "alpha": 1.05},
    "systems": ["hybrid"],
    "cache": {"fraction": 1.0},
    "run": {"batches": 4, "warmup_batches": 2},
    "sweep": {"trace.alpha": [0.4, 0.8, 1.2]},
}


def experiment(**changes):
    return parse_experiment(DATA | changes)


def points(folder):
    return {file.name: file.read_bytes() for file in (folder / "points").glob("*.json")}


@pytest.fixture
def finished(tmp_path):
    folder = tmp_path / "run"
    run_experiment(experiment(), folder)
    return folder


@pytest.mark.parametrize(
    ("changes", "others"),
    [
        ({"sweep": {"trace.alpha": [0.8]}}, 2),
        ({"sweep": {"trace.alpha": [0.8, 0.9]}}, 2),
        ({"sweep": {"model.batch_size": [16, 32]}}, 3),
        ({"sweep": {}, "trace": {"kind": "zipf", "alpha": 0.8}}, 2),
        ({"systems": ["static_cache"]}, 3),
        ({"systems": ["hybrid", "static_cache"]}, 0),
        ({"description": "Once more."}, 0),
    ],
    ids=["narrower", "wider", "other", "one of them", "other systems", "more systems", "described"],
)
def test_another_sweep_of_the_same_experiment_keeps_all_points(finished, changes, others):
    before = points(finished)
    again = run_experiment(experiment(**changes), finished)
    assert again.others == others
    assert before.items() <= points(finished).items()
    assert run_experiment(experiment(), finished).sweep.reused == 3, "nothing is simulated twice"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"run": {"batches": 5, "warmup_batches": 2}}, "run.batches is 4 there, 5 here"),
        ({"name": "other"}, "name is small there, other here"),
        ({"platform": "h200"}, "platform is v100_p3 there, h200 here"),
        ({"sweep": {}, "trace": {"kind": "uniform"}}, "trace.kind is zipf there, uniform here"),
    ],
)
def test_another_experiment_is_refused_with_the_key_and_the_remedies(finished, changes, words):
    before = points(finished), (finished / "metrics.csv").read_bytes()
    with pytest.raises(UsageError) as caught:
        run_experiment(experiment(**changes), finished)
    assert words in str(caught.value)
    assert "3 finished points" in str(caught.value)
    assert "choose another --out, or --replace to lose them" in str(caught.value)
    assert (points(finished), (finished / "metrics.csv").read_bytes()) == before


def test_an_interrupted_sweep_is_refused_with_one_key_changed(tmp_path, monkeypatch):
    folder = tmp_path / "run"
    real, calls = work.simulate_each, []

    def two_then_stop(*arguments, **options):
        for outcome in real(*arguments, **options):
            calls.append(outcome)
            yield outcome
        if len(calls) > 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(work, "simulate_each", two_then_stop)
    with pytest.raises(KeyboardInterrupt):
        run_experiment(experiment(), folder)
    monkeypatch.undo()
    before = points(folder)
    assert before
    assert not (folder / "manifest.json").exists()
    with pytest.raises(UsageError, match=r"run\.seed is 0 there, 7 here"):
        require_owned(folder, experiment(run=DATA["run"] | {"seed": 7}))
    assert run_experiment(experiment(), folder).sweep.reused == len(before)
    assert before.items() <= points(folder).items()


def test_replace_removes_what_was_there(finished):
    before = points(finished)
    other = run_experiment(experiment(name="other"), finished, replace=True)
    assert (other.sweep.reused, other.others) == (0, 0)
    assert len(points(finished)) == 3
    assert json.loads((finished / "manifest.json").read_text())["name"] == "other"
    run_experiment(experiment(sweep={"trace.alpha": [0.5]}), finished, replace=True)
    assert not before.keys() & points(finished).keys()


def test_points_that_are_simulated_again_stay_until_they_are_there_anew(finished):
    before = points(finished)
    again = run_experiment(experiment(sweep={"trace.alpha": [0.4]}), finished, resume=False)
    assert (again.sweep.reused, again.others) == (0, 2)
    assert before.keys() == points(finished).keys()


def test_a_manifest_that_cannot_be_read_owns_nothing_and_loses_nothing(finished):
    before = points(finished)
    (finished / "manifest.json").write_text("{")
    assert run_experiment(experiment(), finished).sweep.reused == 3
    assert points(finished) == before


def test_a_link_to_a_folder_is_followed(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "run").symlink_to(tmp_path / "disk")
    run_experiment(experiment(), tmp_path / "run")
    assert (tmp_path / "disk" / "manifest.json").is_file()
    assert (tmp_path / "run").is_symlink()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["disk", "run"]
